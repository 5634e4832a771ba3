"""What writers of a script write in more than one way. Tables and pure functions on single words."""

from __future__ import annotations

import re
import unicodedata

_ARABIC = {
    **dict.fromkeys("أإآٱ", "ا"),
    **dict.fromkeys("ىئیۍې", "ي"),
    "ؤ": "و",
    "ة": "ه",
    "ک": "ك",
    "\u0640": "",  # a line that stretches a word
}
_SIGNS = (  # vowels and other signs above and below letters of Arabic and Hebrew
    *range(0x064B, 0x0660), 0x0670, *range(0x06D6, 0x06DD), *range(0x06DF, 0x06E5), 0x06E7, 0x06E8, *range(0x06EA, 0x06EE),
    *range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7,
)  # fmt: skip
_UNSEEN = "\u00ad\u2060\ufeff"  # soft hyphen, word joiner, byte order mark
_ZEROS = (  # of Arabic, Persian, N'Ko, the scripts of India, Thai, Lao, Tibetan, Myanmar, Khmer and Mongolian
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0E50, 0x0ED0, 0x0F20,
    0x1040, 0x17E0, 0x1810,
)  # fmt: skip

_NORMAL: dict[int, str] = {
    **{zero + value: str(value) for zero in _ZEROS for value in range(10)},
    **{ord(letter): normal for letter, normal in _ARABIC.items()},
    **dict.fromkeys(_SIGNS, ""),
    **{ord(letter): "" for letter in _UNSEEN},
    ord("ё"): "е",
}
_CHANGED = re.compile(f"[{re.escape(''.join(map(chr, _NORMAL)))}]")

_PLAIN = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ŋ": "n"}
_ACCENTED = (range(0xC0, 0x250), range(0x370, 0x400), range(0x1E00, 0x2000))  # Latin and Greek

# Letters without their accents.
FOLDED: dict[int, str] = {
    **{
        point: unicodedata.normalize("NFD", chr(point))[0]
        for points in _ACCENTED
        for point in points
        if len(unicodedata.normalize("NFD", chr(point))) > 1
    },
    **{ord(letter): plain for letter, plain in _PLAIN.items()},
    **dict.fromkeys(range(0x300, 0x370), ""),
}
# Letters as they are written where there is no key for them.
WRITTEN_OUT: dict[int, str] = {
    ord(letter): pair for letter, pair in zip("äöüøå", ["ae", "oe", "ue", "oe", "aa"], strict=True)
}

_ARTICLES = ("وال", "بال", "كال", "فال", "لل", "ال")
_AND = "و"
_ENDINGS = ("ها", "ان", "ات", "ون", "ين", "يه", "ه", "ي")
_LEAST = 3  # letters that are left of a word


def settled(text: str) -> str:
    """Composed and case folded text with one form of each letter and digit. Most texts come back as they are."""
    return text.translate(_NORMAL) if _CHANGED.search(text) else text


def is_arabic(word: str) -> bool:
    """Whether a word is written in Arabic letters."""
    return "\u0620" <= word[0] <= "\u06d3"


def arabic_stem(word: str) -> str:
    """A normalised word without article, conjunction and ending, where enough of it is left: those are written onto it."""
    for article in _ARTICLES:
        if word.startswith(article) and len(word) - len(article) >= _LEAST:
            word = word[len(article) :]
            break
    else:
        if word.startswith(_AND) and len(word) > _LEAST + 1:
            word = word[1:]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST:
            return word[: -len(ending)]
    return word
