"""The numbers that Word puts before paragraphs: they stand in no text, only the rules to count them do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from docx.oxml.ns import qn

_PLACE = re.compile(r"%([1-9])")
_LEVELS = 9
_HIGHEST = 32_767  # of a number, as Word has it
_LONGEST = 200  # characters around a number
_ZH = "〇一二三四五六七八九"
_CIRCLED = {n: chr(0x245F + n) for n in range(1, 21)}
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


@dataclass(frozen=True)
class _Level:
    start: int = 1
    kind: str = "decimal"
    text: str = ""
    plain: bool = False  # every number in it in Arabic digits


@dataclass
class Numbering:
    """The lists of a document, and how far each has counted. Ask for the paragraphs in their order."""

    lists: dict[str, str] = field(default_factory=dict)  # a list, and the rules that it follows
    rules: dict[str, dict[int, _Level]] = field(default_factory=dict)
    begins: dict[tuple[str, int], int] = field(default_factory=dict)  # where a list begins anew, and at what number
    counted: dict[str, list[int | None]] = field(default_factory=dict)

    def number(self, name: str, level: int) -> str:
        """What is printed before the next paragraph at this level of this list; empty for bullets."""
        key = self.lists.get(name, "")
        levels = self.rules.get(key)
        if not levels or not 0 <= level < _LEVELS:
            return ""
        counted = self.counted.setdefault(key, [None] * _LEVELS)
        begins = self.begins.pop((name, level), None)
        before = counted[level]
        following = self._start(levels, level) if before is None else min(before + 1, _HIGHEST)
        counted[level] = following if begins is None else begins
        counted[level + 1 :] = [None] * (_LEVELS - level - 1)
        return self._shown(levels, counted, level)

    @staticmethod
    def _start(levels: dict[int, _Level], level: int) -> int:
        return levels.get(level, _Level()).start

    def _shown(self, levels: dict[int, _Level], counted: list[int | None], level: int) -> str:
        rule = levels.get(level, _Level())
        if rule.kind in ("bullet", "none") or not _PLACE.search(rule.text):
            return ""

        def one(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            number = counted[at] if counted[at] is not None else self._start(levels, at)
            kind = "decimal" if rule.plain else levels.get(at, _Level()).kind
            return _FORMATS.get(kind, str)(number or 0)

        return _PLACE.sub(one, rule.text).strip()


def read_numbering(root: Any) -> Numbering:
    """The rules in a document's part for numbering."""
    found = Numbering()
    for rule in root.iter(qn("w:abstractNum")):
        levels = {_int(level.get(qn("w:ilvl")), 0): _level(level) for level in rule.iterchildren(qn("w:lvl"))}
        found.rules[rule.get(qn("w:abstractNumId"), "")] = levels
    for one in root.iter(qn("w:num")):
        name = one.get(qn("w:numId"), "")
        found.lists[name] = _value(one, "w:abstractNumId")
        for changed in one.iterchildren(qn("w:lvlOverride")):
            begins = _value(changed, "w:startOverride")
            if begins:
                found.begins[name, _int(changed.get(qn("w:ilvl")), 0)] = _int(begins, 1)
    return found


def _level(level: Any) -> _Level:
    legal = level.find(qn("w:isLgl"))
    return _Level(
        _int(_value(level, "w:start"), 1),
        _value(level, "w:numFmt") or "decimal",
        _value(level, "w:lvlText")[:_LONGEST],
        legal is not None and legal.get(qn("w:val"), "1") not in ("0", "false"),
    )


def _value(element: Any, name: str) -> str:
    found = element.find(qn(name))
    return str(found.get(qn("w:val"), "")) if found is not None else ""


def _int(value: str | None, default: int) -> int:
    return min(int(value), _HIGHEST) if value and value.isascii() and value.isdigit() and len(value) < 9 else default


def _letters(number: int) -> str:
    """a to z, then aa to zz, as Word counts them."""
    return chr(ord("a") + (number - 1) % 26) * min(1 + (number - 1) // 26, 100) if number > 0 else "0"


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text


def _chinese(number: int) -> str:
    """As it is said: 十二, 二十, 一百零三."""
    if number <= 0:
        return _ZH[0]
    text, gap = "", False
    for value, unit in ((10_000, "万"), (1_000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, value)
        if digit:
            text += ("零" if gap and text else "") + _ZH[digit] + unit
        gap = not digit
    return text.removeprefix("一") if text.startswith("一十") else text


_FORMATS: dict[str, Callable[[int], str]] = {
    "decimal": str,
    "decimalZero": lambda n: f"{n:02}",
    "lowerLetter": _letters,
    "upperLetter": lambda n: _letters(n).upper(),
    "lowerRoman": _roman,
    "upperRoman": lambda n: _roman(n).upper(),
    "chineseCounting": _chinese,
    "chineseCountingThousand": _chinese,
    "japaneseCounting": _chinese,
    "taiwaneseCountingThousand": _chinese,
    "ideographDigital": lambda n: "".join(_ZH[int(digit)] for digit in str(n)),
    "taiwaneseCounting": _chinese,
    "decimalEnclosedCircle": lambda n: _CIRCLED.get(n, str(n)),
    "decimalEnclosedCircleChinese": lambda n: _CIRCLED.get(n, str(n)),
    "decimalFullWidth": lambda n: "".join(chr(ord(digit) + 0xFEE0) for digit in str(n)),
}
