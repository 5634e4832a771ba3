"""What the rows of a sheet are: titles above tables, the heads of tables, and what stands below them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

Row = tuple[int, list[str]]  # its number on the sheet, from 0, and its values; only rows that hold one are told
Merged = Sequence[tuple[tuple[int, int], tuple[int, int]]]  # first and last cell, rows and columns from 0
_NUMBER = re.compile(r"[-+]?[\d.,]+%?")
_MOST_TITLES, _MOST_HEADS = 3, 4
_AHEAD = _MOST_TITLES + _MOST_HEADS + 1


@dataclass(eq=False)
class Section:
    """A table with its head, or the lines above one. The rows of the head are the first of the table."""

    heads: list[Row] = field(default_factory=list)
    title: bool = False


def is_header(row: Sequence[str]) -> bool:
    """Whether a row names columns: text only, no number."""
    names = [value.strip() for value in row if value.strip()]
    return len(names) > 1 and not any(_NUMBER.fullmatch(name) for name in names)


def sections(rows: Iterator[Row], merged: Merged) -> Iterator[tuple[Section, Row]]:
    """Each row with the section that it belongs to. Only the next few rows are looked at before one is given away.

    A table ends where, after an empty row, names of columns follow that can't be one of its rows: they stand in other
    columns, or are words where numbers stood.
    """
    merged_rows = _merged_rows(merged)
    ahead: deque[Row] = deque()
    section: Section | None = None
    last: Row | None = None
    while True:
        ahead.extend(islice(rows, _AHEAD - len(ahead)))
        if not ahead:
            return
        if section is None or last is None or ahead[0][0] > last[0] + 1:
            titles, heads = _head(ahead, merged_rows)
            if section is None or last is None or (heads and _is_other(section, last, heads)):
                for _ in range(titles):
                    yield Section(title=True), ahead.popleft()
                section = Section(heads)
        last = ahead.popleft()
        yield section, last


def _merged_rows(merged: Merged) -> dict[int, int]:
    """Rows that cells begin in that go over several, by columns or rows: how far down these go."""
    found: dict[int, int] = {}
    for low, high in merged:
        if high > low:
            found[low[0]] = max(found.get(low[0], 0), high[0])
    return found


def _head(ahead: deque[Row], merged_rows: dict[int, int]) -> tuple[int, list[Row]]:
    """How many of the next rows are titles, and which after them are the head of a table."""
    rows = list(ahead)
    titles = 0
    while titles < min(_MOST_TITLES, len(rows)) and _values(rows[titles][1]) == 1:
        titles += 1
    heads = _names(rows[titles:], merged_rows)
    return (titles, heads) if heads else (0, _names(rows, merged_rows))


def _names(rows: Sequence[Row], merged_rows: dict[int, int]) -> list[Row]:
    """The rows that name the columns of what follows: the first, and what is below names of several columns."""
    if len(rows) < 2 or not is_header(rows[0][1]):
        return []
    heads = 1
    while heads < min(_MOST_HEADS, len(rows) - 1):
        above, (number, values) = rows[heads - 1][0], rows[heads]
        if above not in merged_rows or number > above + 1 or any(map(_NUMBER.fullmatch, values)):
            break
        heads += 1
    return list(rows[:heads])


def _is_other(section: Section, last: Row, heads: Sequence[Row]) -> bool:
    """Whether these names are no row of this table, whose last row is known."""
    names = heads[-1][1]
    usual = section.heads[-1][1] if section.heads else last[1]
    if _extent(names) != _extent(usual):
        return True
    return any(name and _NUMBER.fullmatch(value) for name, value in zip(names, last[1], strict=False))


def _extent(values: Sequence[str]) -> tuple[int, int]:
    filled = [column for column, value in enumerate(values) if value]
    return filled[0], filled[-1]


def _values(values: Sequence[str]) -> int:
    return sum(1 for value in values if value)
