"""Rows: tables as values, and lines that are rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from gristmill.ports.document import Block, Table

_PAIR = 2
_NUMBER = re.compile(r"[-+]?[\d.,]+%?")


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
    """The header rows: as the parser knows them, else the first if it names a column whose other values are numbers."""
    if table.header_rows or len(rows) < _PAIR:
        return min(table.header_rows, len(rows))
    if any(_NUMBER.fullmatch(value) for value in rows[0]):
        return 0
    columns = ([row[col] for row in rows[1:] if row[col]] for col, name in enumerate(rows[0]) if name)
    return int(any(column and all(map(_NUMBER.fullmatch, column)) for column in columns))


def by_tables(
    blocks: Iterable[Block], own: Callable[[Table], bool] = lambda _: True, *, captioned: bool = False
) -> Iterator[tuple[list[Block], Block | None]]:
    """Each table that is a method's ``own``, with the run of blocks before it; what is left goes with none.

    ``captioned``: a table's caption is the last block of that run.
    """
    run: list[Block] = []
    for block in blocks:
        if block.table is None or not own(block.table):
            run.append(block)
            continue
        if captioned and block.table.caption:
            run.append(Block("caption", block.table.caption, page=block.page, boxes=block.boxes))
        yield run, block
        run = []
    yield run, None


def said_as(block: Block, text: str) -> Block:
    """The block with this as its plain text: what a table's row or a line comes to."""
    return msgspec.structs.replace(block, kind="text", text=text, table=None, marker="")


def pairs_of(table: Table, skip: int = 0) -> Iterator[Pair | list[str]]:
    """The first two values of each row from ``skip`` on; a row that has no two, as it is."""
    for row in values_of(table)[skip:]:
        values = list(dict.fromkeys(value for value in row if value)) if _spanned(table) else [v for v in row if v]
        if len(values) >= _PAIR:
            yield Pair(values[0], values[1], values[2:])
        elif values:
            yield values


def _spanned(table: Table) -> bool:
    return any(cell.rowspan > 1 or cell.colspan > 1 for cell in table.cells)


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
