"""Bytes to text, whatever they were encoded with."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from gristmill.parsers.alphabets import encoding_of

_BOMS = (  # the longer ones first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 64 * 1024
_STRAY = 0.02  # UTF-8 with at most this share of wrong bytes is UTF-8 that was damaged, not something else
_ALIASES = {"gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "936": "gb18030", "ks_c_5601-1987": "cp949",
            "euc-kr": "cp949", "shift_jis": "cp932", "x-sjis": "cp932", "iso-8859-1": "cp1252", "us-ascii": "utf-8",
            "ascii": "utf-8", "big5": "big5hkscs", "unicode": "utf-16"}  # fmt: skip
_ASCII = re.compile("[\x00-\x7f]+")
_ODD = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff]")
_CJK = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]")
_HALVES = re.compile(rb"[\x00-\x09\x0e]")  # the row of a character of two bytes in the scripts of Europe and India
_ISO_2022_JP = (b"\x1b$B", b"\x1b$@", b"\x1b(J")
_ONE_BYTE = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874",
             "koi8_r", "mac_roman", "iso8859_2"]  # fmt: skip
# The commonest characters of running text; a wrong guess among East Asian encodings gives rare ones instead.
_FREQUENT = {
    "gb18030": "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运，。、：；（）《》“”",
    "big5hkscs": "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加西斯月話合回特代內信表化老給世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活爾更別打女變四神總何電數安少報才結反受目太量再感建務做接必場件計管期市直德資命山金指克許統區保至隊形社便空決治展馬科司五基眼書非則聽白卻界達光放強即像難且權，。、：；（）「」",
    "cp932": "のにはをたがでてとしれさあいうるもなかくこすりらだまんきよつえせちそけわろやめっアイウエオカキクケコサシスセソタチツテトナニヌノハヒフヘホマミムメモヤユヨラリルレロワンー、。「」日本人年月会",
    "euc_jp": "のにはをたがでてとしれさあいうるもなかくこすりらだまんきよつえせちそけわろやめっアイウエオカキクケコサシスセソタチツテトナニヌノハヒフヘホマミムメモヤユヨラリルレロワンー、。「」日本人年月会",
    "cp949": "이다의는에을를가고하은로지한도서기사어인나자리시대으전있스그정해일만라부과제아여수거들니것보공게적개상",
}
_FREQUENT_SETS = {name: frozenset(characters) for name, characters in _FREQUENT.items()}
_FREQUENT_SETS |= dict.fromkeys(("utf-16-le", "utf-16-be"), frozenset().union(*_FREQUENT_SETS.values()))


def decode(data: bytes, *, declared: str = "") -> tuple[str, str]:
    """The text, and the name of the encoding that gave it.

    A byte order mark decides; then strict UTF-8 (and what NUL bytes say about UTF-16 and UTF-32); then the ``declared``
    encoding; then a guess from the bytes. Never fails: what cannot be decoded becomes U+FFFD.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace"), name
    wide = _wide(data)
    if wide:
        return data.decode(wide, "replace"), wide
    escaped = _escaped(data)
    if escaped:
        return data.decode(escaped, "replace"), escaped.removesuffix("_2")
    if _decodes(data, "utf-8"):
        return data.decode(), "utf-8"
    name = _known(declared)
    if name and name != "utf-8":
        return data.decode(name, "replace"), name
    mended = _mend(data)
    if mended is not None:
        return mended, "utf-8"
    name = _guess(data)
    return data.decode(name, "replace"), name


def odd_share(text: str) -> float:
    """The share of characters that no text has: controls, undecodable, private use. 1.0 for no text."""
    return len(_ODD.findall(text)) / len(text) if text else 1.0


def _escaped(data: bytes) -> str:
    """An encoding of seven bits that says in the text itself when its characters begin."""
    sample = data[:_SAMPLE]
    if not sample.isascii():
        return ""
    if b"\x1b$)C" in sample:
        return "iso2022_kr"
    if any(mark in data for mark in _ISO_2022_JP):
        return "iso2022_jp_2"
    if b"~{" in sample and b"~}" in sample:
        text = sample.decode("hz", "replace")
        wide = [char for char in text if char > "\u007f"]
        if wide and sum(char in _FREQUENT_SETS["gb18030"] for char in wide) > 0.3 * len(wide):
            return "hz"
    return ""


def _wide(data: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: NUL bytes, and a text without them whose characters are of few scripts."""
    sample = data[:_SAMPLE]
    if b"\0" not in sample:
        return ""
    halves = max(len(_HALVES.findall(sample[first::2])) for first in (0, 1))
    if sample.isascii() and 2 * halves < 0.7 * len(sample):
        return ""  # plain text with some NUL bytes in it
    fitting = {}
    for name, width in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        text = _as_wide(sample, name, width) if len(data) % width == 0 else ""
        if text and odd_share(text) < 0.001 and _usual(text) > 0.7:
            fitting[name] = len({ord(char) >> 8 for char in text}) + sum(
                char > "\u007f" and not ord(char) & 0xFF for char in text
            )
    return min(fitting, key=lambda name: fitting[name]) if fitting else ""


def _as_wide(sample: bytes, name: str, width: int) -> str:
    try:
        return sample[: len(sample) - len(sample) % width].decode(name)
    except UnicodeDecodeError as exc:
        return sample[: exc.start].decode(name) if exc.start >= len(sample) - width else ""


def _usual(text: str) -> float:
    """The share of characters of the scripts that documents are written in."""
    usual = sum(1 for char in text if char < "\u1200" or "\u1e00" <= char <= "\u206f" or "\u20a0" <= char <= "\u22ff"
                or "\u3000" <= char <= "\u30ff" or "\u4e00" <= char <= "\u9fff"
                or "\uac00" <= char <= "\ud7a3" or "\uff00" <= char <= "\uffef")  # fmt: skip
    return usual / len(text)


def _known(declared: str) -> str:
    """The codec for a declared name; empty where there is none."""
    name = declared.strip(" \t'\";").lower()
    name = _ALIASES.get(name, name)
    if not name:
        return ""
    try:
        return name if codecs.lookup(name)._is_text_encoding else ""
    except (LookupError, ValueError):
        return ""


def _guess(data: bytes) -> str:
    sample = _cut(data)
    return _east_asian(sample) or _western(sample)


def _cut(data: bytes) -> bytes:
    """The beginning of the data, up to the end of a line where there is one."""
    if len(data) <= _SAMPLE:
        return data
    end = data.rfind(b"\n", 0, _SAMPLE)
    return data[: end + 1] if end > _SAMPLE // 2 else data[:_SAMPLE]


def _east_asian(sample: bytes) -> str:
    """The East Asian encoding whose commonest characters fill the text, if one does."""
    best, best_share = "", 0.15
    for name, frequent in _FREQUENT_SETS.items():
        text = sample.decode(name, "replace")
        wide = [char for char in text if char > "\u007f"]
        if not wide or text.count("\ufffd") > 0.01 * len(wide) + 1:
            continue
        if len(_CJK.findall(text)) < 0.8 * len(wide):
            continue
        share = sum(char in frequent for char in wide) / len(wide)
        if share > best_share:
            best, best_share = name, share
    return best


def _western(sample: bytes) -> str:
    """What is left: an encoding of one byte a character, cp1252 where nothing speaks for another."""
    name = encoding_of(sample)
    if name:
        return name
    found = from_bytes(sample, cp_isolation=_ONE_BYTE).best()
    return found.encoding if found is not None else "cp1252"


def _mend(data: bytes) -> str | None:
    """Text that is UTF-8 but for some places: those are decoded by themselves. None when it is not UTF-8 at all."""
    lines = data.splitlines(keepends=True)
    good = sum(_decodes(line, "utf-8") and not line.isascii() for line in lines)
    bad = [line for line in lines if not _decodes(line, "utf-8")]
    if good >= len(bad):
        other = _guess(b"".join(bad)[:_SAMPLE])
        return "".join(line.decode("utf-8" if _decodes(line, "utf-8") else other, "replace") for line in lines)
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    right = len(text) - sum(map(len, _ASCII.findall(text))) - wrong
    return text if wrong <= min(right, _STRAY * len(data)) else None


def _decodes(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True
