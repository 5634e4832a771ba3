"""Rows: tables as values, and lines that are rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from gristmill.ports.document import Block, Table

_PAIR = 2
_NUMBER = re.compile(r"[*†]{0,3}[-–−+(]?\s?[$€£¥]?\s?[\d.,]+\s?%?\)?[*†]{0,3}")
_MOST_HEADS = 4
_LONG = 9  # digits of what names no column
_YEARS = range(1800, 2100)


@dataclass(slots=True)
class Pair:
    """Two values that belong together (a question and its answer), and what else stands in their row."""

    first: str
    second: str
    rest: list[str]


def values_of(table: Table) -> list[list[str]]:
    """The values by row and column; one that spans rows or columns stands in each of them."""
    grid = [[" ".join(value.split()) for value in row] for row in table.grid()]
    for cell in table.cells:
        if cell.rowspan > 1 or cell.colspan > 1:
            for row in range(cell.row, min(cell.row + cell.rowspan, table.rows)):
                for col in range(cell.col, min(cell.col + cell.colspan, table.cols)):
                    grid[row][col] = grid[row][col] or grid[cell.row][cell.col]
    return grid


def header_of(rows: Sequence[Sequence[str]], heads: int) -> list[str]:
    """A name for each column: the header's rows joined by a dash, numbers where they say nothing or the same again."""
    width = max(map(len, rows), default=0)
    names: list[str] = []
    seen: dict[str, int] = {}
    for col in range(width):
        said = dict.fromkeys(row[col] for row in rows[:heads] if col < len(row) and row[col])
        name = "-".join(said) or f"Column_{col + 1}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


def heads_of(table: Table, rows: Sequence[Sequence[str]]) -> int:
    """The header rows: as the parser knows them, else those above the numbers.

    These are the rows before the first one of numbers, where most that follow are such, or the first row if it names a column
    whose other values are numbers.
    """
    if table.header_rows or len(rows) < _PAIR:
        return min(max(table.header_rows, _spanned_heads(table, rows)), len(rows))
    first = next(
        (n for n, row in enumerate(rows[: _MOST_HEADS + 1]) if _has_numbers(row) and not _names_columns(row, n)), 0
    )
    if first and sum(map(_has_numbers, rows[first:])) * 2 > len(rows) - first:
        return _above(rows, first)
    if any(_NUMBER.fullmatch(value) for value in rows[0]):
        return 0
    columns = ([row[col] for row in rows[1:] if row[col]] for col, name in enumerate(rows[0]) if name)
    return int(any(column and all(map(_NUMBER.fullmatch, column)) for column in columns))


def _spanned_heads(table: Table, rows: Sequence[Sequence[str]]) -> int:
    """How many rows the header has by the cells of its first: as many as the deepest spans, two where one is wide."""
    top = [cell for cell in table.cells if cell.row == 0 and cell.text.strip()]
    deepest = max((cell.rowspan for cell in top), default=0)
    wide = len(top) > 1 and any(1 < cell.colspan < table.cols for cell in top)
    named = len(rows) > _PAIR and not any(_NUMBER.fullmatch(value) for value in rows[1]) and _has_numbers(rows[2])
    deepest = max(deepest, _PAIR if wide and named else 0)
    return deepest if deepest <= _MOST_HEADS and deepest < len(rows) else 0


def _above(rows: Sequence[Sequence[str]], first: int) -> int:
    """The header above the row ``first``, without a line of one value that parts the rows."""
    while first > 1 and len(rows[first]) > _PAIR and sum(map(bool, rows[first - 1])) == 1:
        first -= 1
    return first


def _has_numbers(row: Sequence[str]) -> bool:
    """Whether half of a row's values are numbers."""
    said = [value for value in row if value]
    return 0 < len(said) <= 2 * sum(1 for value in said if _NUMBER.fullmatch(value))


def _names_columns(row: Sequence[str], n: int) -> bool:
    """Whether numbers go up after a word: years, or at least three others one after the other, that are names of columns."""
    numbers = [int(value) for value in row if value.isdecimal() and len(value) < _LONG]
    words = not row[0] or any(value and not _NUMBER.fullmatch(value) for value in row)
    steps = {b - a for a, b in pairwise(numbers)}
    years = all(number in _YEARS for number in numbers)
    if not words or not steps:
        return False
    return steps == {1} if years and n else min(steps) > 0 if years else steps == {1} and len(numbers) > _PAIR


def by_tables(
    blocks: Iterable[Block], own: Callable[[Table], bool] = lambda _: True
) -> Iterator[tuple[list[Block], Block | None]]:
    """Each table that is a method's ``own``, with the run of blocks before it; what is left goes with none."""
    run: list[Block] = []
    for block in blocks:
        if block.table is None or not own(block.table):
            run.append(block)
            continue
        yield run, block
        run = []
    yield run, None


def caption_of(table: Table) -> list[str]:
    """The path of what a table says: its caption, if it has one."""
    return [table.caption] if table.caption else []


def said_as(block: Block, text: str) -> Block:
    """The block with this as its plain text: what a table's row or a line comes to."""
    return msgspec.structs.replace(block, kind="text", text=text, table=None, marker="")


def pairs_of(table: Table, skip: int = 0) -> Iterator[Pair | list[str]]:
    """The first two values of each row from ``skip`` on; a row that has no two, as it is."""
    spanned = any(cell.rowspan > 1 or cell.colspan > 1 for cell in table.cells)
    for row in values_of(table)[skip:]:
        values = [value for value in row if value]
        values = list(dict.fromkeys(values)) if spanned else values
        if len(values) >= _PAIR:
            yield Pair(values[0], values[1], values[2:])
        elif values:
            yield values


def separator_of(texts: Sequence[str]) -> str:
    """The tab or comma that parts most lines in two; "" where neither does."""
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    tabs = sum(1 for line in lines if line.count("\t") == 1)
    commas = sum(1 for line in lines if line.count(",") == 1)
    found, sign = (tabs, "\t") if tabs >= commas else (commas, ",")
    return sign if found * 2 > len(lines) else ""


def blocks_of_lines(blocks: Sequence[Block]) -> Iterator[Block]:
    """Texts line by line, the marker with the first one; every other block as it is."""
    for block in blocks:
        if block.kind == "text" and "\n" in block.text.strip():
            marker = block.marker
            for line in filter(str.strip, block.text.split("\n")):
                yield msgspec.structs.replace(block, text=line, marker=marker)
                marker = ""
        else:
            yield block
