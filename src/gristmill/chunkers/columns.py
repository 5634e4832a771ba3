"""Columns: what type the values of each have, and the values as fields of their row. Pure.

The type is that of most values; of two that are as frequent, the one that loses less: text, date, number, whole number,
yes and no. A value of another type than its column's stays what it is, a text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal

Value = int | float | str
Role = Literal["indexing", "metadata", "both"]

LONGEST = 256  # characters of a text that is a field: what is longer, nobody compares with
_TYPED = 40  # characters of a value that is anything but text
_MONTHS_OF_YEAR = 12
_LARGEST = 2**63 - 1
_LONG = len(str(_LARGEST))

_WHOLE = re.compile(r"[-+]?(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?")
_MONEY = re.compile(r"([-+]?)\s?[$€£¥￥₹]\s?(?=[\d.])")
_YES = frozenset(("true", "yes", "是", "✓", "✔", "☑", "✅", "√"))
_NO = frozenset(("false", "no", "否", "⍻", "×", "✗", "✘"))
_TIME = r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d{1,9})?)?(?:Z|\+00:?00)?)?"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMED = r"(?P<name>jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]{0,6}\.?"
_DATES = tuple(
    re.compile(shape + _TIME, re.IGNORECASE)
    for shape in (
        r"(?P<year>\d{4})(?P<sign>[-/.])(?P<month>\d{1,2})(?P=sign)(?P<day>\d{1,2})",
        r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})",
        r"(?P<first>\d{1,2})/(?P<other>\d{1,2})/(?P<year>\d{4})",
        r"(?P<year>\d{4})\s?年\s?(?P<month>\d{1,2})\s?月\s?(?P<day>\d{1,2})\s?日",
        rf"(?P<day>\d{{1,2}})(?:\.|st|nd|rd|th)?[ -]{_NAMED}[ -](?P<year>\d{{4}})",
        rf"{_NAMED} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})",
    )
)
_DIGIT = re.compile(r"\d")
_YEAR = re.compile(r"\d{4}")
_DAY_FIRST = re.compile(r"\s*(?:1[3-9]|[23]\d)/\d{1,2}/\d{4}")


class Columns:
    """The columns of one table: their names, their types by all values of its rows, and what each is for."""

    def __init__(self, names: Sequence[str], rows: Iterable[Sequence[str]], roles: Mapping[str, str]) -> None:
        self.names = names
        self.roles = [roles.get(name, "both") for name in names]
        kept = [n for n, role in enumerate(self.roles) if role != "indexing"]
        columns: dict[int, list[str]] = {n: [] for n in kept}
        for row in rows:
            for n in kept:
                if n < len(row) and row[n]:
                    columns[n].append(row[n])
        self._readers = {n: _reader(values) for n, values in columns.items()}

    def said(self, number: int) -> bool:
        """Whether the column's values are part of the text."""
        return self.roles[number] != "metadata"

    def fields(self, row: Sequence[str]) -> dict[str, Value]:
        """A row's values by name and type, see ``fields`` of ``Record``; without those that are empty or only said."""
        found: dict[str, Value] = {}
        for n, (ending, read) in self._readers.items():
            if n < len(row) and row[n]:
                value = read(row[n])
                if value is not None:
                    found[self.names[n] + ending] = value
                elif len(row[n]) <= LONGEST:
                    found[self.names[n] + "_raw"] = row[n]
        return found


def whole(text: str) -> int | None:
    """A whole number, with or without commas at the thousands; one that begins with 0 is a sign, not a number."""
    plain = _bare(text)
    return int(plain.replace(",", "")) if _WHOLE.fullmatch(plain) else None


def number(text: str) -> float | None:
    """Any number, an amount of money or a percentage, too."""
    plain = _bare(text)
    return float(plain.replace(",", "")) if _NUMBER.fullmatch(plain) else None


def moment(text: str, *, day_first: bool = False) -> str | None:
    """A date, with or without a time of day, as ``YYYY-MM-DD HH:MM:SS``. ``day_first`` is about ``3/4/2024``."""
    if not _YEAR.search(text):
        return None
    for shape in _DATES:
        match = shape.fullmatch(text.strip())
        if match:
            return _written(match.groupdict(), day_first=day_first)
    return None


def flag(text: str) -> str | None:
    """``yes`` or ``no``, by words and signs for them."""
    word = text.strip().lower()
    return "yes" if word in _YES else "no" if word in _NO else None


def _written(parts: Mapping[str, str | None], *, day_first: bool) -> str | None:
    if name := parts.get("name"):
        month, day = _MONTHS.index(name.lower()[:3]) + 1, int(parts["day"] or 0)
    elif parts.get("first"):
        month, day = int(parts["first"] or 0), int(parts["other"] or 0)
        if day_first or month > _MONTHS_OF_YEAR:
            month, day = day, month
    else:
        month, day = int(parts["month"] or 0), int(parts["day"] or 0)
    hour, minute, second = (int(parts[one] or 0) for one in ("hour", "minute", "second"))
    try:
        return datetime(int(parts["year"] or 0), month, day, hour, minute, second).isoformat(" ")
    except ValueError:
        return None


def _bare(text: str) -> str:
    if text[:1].isdigit() and text[-1:].isdigit():
        return text
    return _MONEY.sub(r"\1", text.strip(), count=1).removesuffix("%").rstrip()


# From the one that loses least to the one that loses most.
_TYPES: tuple[tuple[str, Callable[[str], Value | None]], ...] = (
    ("_raw", lambda text: text if len(text) <= LONGEST else None),
    ("_dt", moment),
    ("_flt", number),
    ("_long", whole),
    ("_kwd", flag),
)
_ORDER = {ending: n for n, (ending, _) in enumerate(_TYPES)}


def _reader(values: Sequence[str]) -> tuple[str, Callable[[str], Value | None]]:
    """The ending of the fields of a column with these values, and what makes a field of one."""
    counts = Counter(map(_type, values))
    if counts["_flt"] or any(abs(whole(one) or 0) > _LARGEST for one in values if _LONG <= len(one) <= _TYPED):
        counts["_flt"] += counts.pop("_long", 0)  # whole numbers are numbers, too
    ending = min(counts, key=lambda one: (-counts[one], _ORDER[one]), default="_raw")
    read = dict(_TYPES)[ending]
    if ending == "_dt" and any(_DAY_FIRST.match(one) for one in values):
        read = partial(moment, day_first=True)
    return ending, read if ending == "_raw" else partial(_short, read)


def _type(value: str) -> str:
    """The ending for what the value looks like by itself."""
    if len(value) > _TYPED:
        return "_raw"
    if not _DIGIT.search(value):
        return "_raw" if flag(value) is None else "_kwd"
    plain = _bare(value)
    if _WHOLE.fullmatch(plain):
        return "_long"
    if _NUMBER.fullmatch(plain):
        return "_flt"
    return "_raw" if moment(value) is None else "_dt"


def _short(read: Callable[[str], Value | None], text: str) -> Value | None:
    return read(text) if len(text) <= _TYPED else None
