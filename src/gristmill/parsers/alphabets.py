"""Which encoding of one byte a character a text is in: the one that makes words of a known alphabet of it."""

from __future__ import annotations

import re

_MARKS = frozenset("‘’‚“”„–—…•€£«»‹›\xa0¿¡")
_SIGNS = frozenset("§©®°±·½¼¾²³ºª´™†µ")
_OPENING = frozenset("‚„‘“«‹¿¡")  # marks that never follow a letter
# The letters beyond ASCII that a language writes, small ones; by the encodings that the language is stored in.
_WESTERN = ("äöüß", "àâæçèéêëîïôœùûüÿ", "áéíñóúüª", "áâãàçéêíóôõú", "àèéìíòóùú", "åäöéü", "æøåéöäóòü", "áéíóúýþðæö", "éëïóèüáö",
            "àèéíïòóúüç·", "äöüõšž")  # fmt: skip
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ")
_LANGUAGES: tuple[tuple[str, tuple[str, ...]], ...] = (  # the likelier ones first: of equals the first is taken
    ("cp1252", _WESTERN),
    ("cp1250", _CENTRAL),
    ("iso8859_2", _CENTRAL),
    ("cp1254", ("çğıöşüâîûİ",)),
    ("cp1257", ("ąčęėįšųūž", "āčēģīķļņšūž", "äöüõšž")),
    ("mac_roman", _WESTERN),
    ("cp850", _WESTERN),
)
_CYRILLIC, _GREEK = frozenset("оеаинтсрвлкмдпуяыьгзбчійёєї"), frozenset("αοιετσνηυρπκμλωςήάίόέύώγδθ")
_ARABIC = frozenset("االيمنرتوبةعدسهكحفقجأىشخصطذ")
_SCRIPTS = {  # the commonest small letters of what is not Latin
    "cp1251": _CYRILLIC, "koi8_u": _CYRILLIC, "cp866": _CYRILLIC, "iso8859_5": _CYRILLIC, "mac_cyrillic": _CYRILLIC,
    "cp1253": _GREEK, "iso8859_7": _GREEK, "cp1255": frozenset("יוהלארתבמשנדעפחקכםטןגצ"), "cp1256": _ARABIC,
    "iso8859_6": _ARABIC, "cp874": frozenset("านรกอยเงลมดทวคตสแบจป่้ิีัะุูข็"),
}  # fmt: skip
_MOST_ACCENTED = 0.4  # the share of letters outside of ASCII in a Latin script, generously
_FEWEST_LETTERS = 5
_PLACES = re.compile(rb"[\x00-\x7f]?[\x80-\xff]+")
_MOST_PLACES = 3_000
_FITS = 0.9


def encoding_of(sample: bytes) -> str:
    """The encoding whose letters these are; empty where they fit none well."""
    places = _PLACES.findall(sample)[:_MOST_PLACES]
    high = sum(len(place) - (place[0] < 0x80) for place in places)
    letters = sum(bytes((code,)).isalpha() for code in sample) + sum(code > 0x7F for code in sample)
    if high >= _FEWEST_LETTERS and sum(code > 0x7F for code in sample) > _MOST_ACCENTED * letters:
        name = max(_SCRIPTS, key=lambda one: _common(places, one))
        if _common(places, name) > 0.5:
            return name
    return _latin(places, high)


def _latin(places: list[bytes], high: int) -> str:
    best, best_fit = "", _FITS * high
    for name, alphabets in _LANGUAGES:
        text = "\n".join(place.decode(name, "replace") for place in places)
        for alphabet in alphabets:
            fit = _fit(text, frozenset(alphabet))
            if fit > best_fit + 0.001 or (not best and fit >= best_fit):
                best, best_fit = name, fit
    return best


def _fit(text: str, alphabet: frozenset[str]) -> float:
    """How many characters beyond ASCII are of this alphabet: a capital or an opening mark inside a word hardly counts."""
    found, before = 0.0, " "
    for char in text:
        if char > "\x7f":
            if char in alphabet:
                found += 1
            elif char in _MARKS:
                found += 0.5 if before.isalpha() and char in _OPENING else 1
            elif char in _SIGNS:
                found += 0.9
            elif char.lower() in alphabet and not before.islower():
                found += 0.99
        before = char
    return found


def _common(places: list[bytes], name: str) -> float:
    """The share of the commonest letters of this encoding's script among all that is not ASCII, small ones preferred."""
    high = [char for char in b"".join(places).decode(name, "replace") if char > "\u007f"]
    common = _SCRIPTS[name]
    return sum((char in common) + 0.9 * (char not in common and char.lower() in common) for char in high) / max(
        1, len(high)
    )
