"""Blocks to units: the texts that a chunk is made of. A unit fits into a chunk; what does not is cut before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import msgspec

from gristmill.chunkers.captions import announces
from gristmill.chunkers.cuts import grouped, pieces
from gristmill.chunkers.markup import html_of
from gristmill.chunkers.rows import heads_of, values_of
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, Box, Table

_DIGITS = re.compile(r"\d{1,9}")
_LATEST = 8  # running heads of one pattern that the next is compared with
_HEADINGS = ("title", "heading")
_HTML_ROWS = 12
_FEW = 64  # tokens of a line that goes with what it announces


@dataclass(slots=True)
class Unit:
    """A piece of text with its place.

    ``alone``: it does not share a chunk with what stands before and after it. ``leads``: it announces what follows, as
    headings and lines that end with a colon do.
    """

    text: str
    tokens: int
    kind: str
    level: int = 0
    pages: tuple[int, ...] = ()
    boxes: tuple[Box, ...] = ()
    asset: str = ""
    alone: bool = False
    joint: str = "\n"  # what parts it from the unit before
    leads: bool = False

    def __post_init__(self) -> None:
        self.leads = self.heading or (self.tokens <= _FEW and self.text.rstrip().endswith((":", "：")))

    @property
    def heading(self) -> bool:
        return self.kind in _HEADINGS


def units(blocks: Sequence[Block], settings: ChunkSettings, count: TokenCount) -> Iterator[Unit]:
    """The units of these blocks in reading order.

    What is cut leaves room for the headings just above it, so that none of them stands alone.
    """
    limit, lead = settings.chunk_token_num, 0
    for block, after in zip_longest(blocks, blocks[1:]):
        room = lead if lead <= limit // 4 else 0
        below = msgspec.structs.replace(settings, chunk_token_num=limit - room) if room else settings
        for unit in _of_block(block, below, count):
            unit.leads = unit.leads or announces(block, after)
            lead = lead + unit.tokens + 1 if unit.leads else 0
            yield unit


def _of_block(block: Block, settings: ChunkSettings, count: TokenCount) -> Iterator[Unit]:
    if block.table is not None:
        yield from _of_table(block, block.table, settings, count)
    elif block.kind == "code":
        yield from _of_lines(block, block.text.split("\n"), settings, count)
    elif block.text:
        text = f"{block.marker} {block.text}" if block.marker else block.text
        for n, (piece, size) in enumerate(pieces(text, settings.chunk_token_num, settings.delimiter, count)):
            yield _unit(block, piece, size, joint="\n" if n == 0 else "")
    elif block.asset:
        yield _unit(block, "", 0)


def said_once(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks without the running heads and feet that say nothing new."""
    running: dict[str, list[tuple[int, list[int]]]] = {}
    for block in blocks:
        if block.kind not in ("header", "footer") or not _repeats(block, running):
            yield block


def _repeats(block: Block, running: dict[str, list[tuple[int, list[int]]]]) -> bool:
    """Whether a running head says nothing that an earlier one did not say, but for the page's number."""
    numbers = [int(digits) for digits in _DIGITS.findall(block.text)]
    earlier = running.setdefault(_DIGITS.sub("\0", block.text), [])
    for page, known in earlier[-_LATEST:]:
        counted = block.page - page
        if all(now in (then, then + counted) for now, then in zip(numbers, known, strict=True)):
            return True
    earlier.append((block.page, numbers))
    return False


def rows_of(table: Table) -> list[str]:
    """A line for each row: ``| a | b |``, or the bare value where there is one column only.

    A value that spans rows stands in each of them, so that every line says all that its row says. Columns without any
    value, and empty values at a row's end, are left out.
    """
    grid = [[" ".join(value.split()) for value in row] for row in table.grid()]
    for cell in table.cells:
        for row in range(cell.row + 1, min(cell.row + cell.rowspan, table.rows)):
            grid[row][cell.col] = grid[row][cell.col] or grid[cell.row][cell.col]
    used = sorted({column for row in grid for column, value in enumerate(row) if value})
    return [_row_line([row[column] for column in used]) for row in grid]


def _row_line(values: list[str]) -> str:
    wide = len(values) > 1
    while values and not values[-1]:
        values.pop()
    line = " | ".join(values)
    return f"| {line} |" if wide and line else line


def _of_table(block: Block, table: Table, settings: ChunkSettings, count: TokenCount) -> Iterator[Unit]:
    """A table whole where it fits; else by rows, its header above each piece."""
    if settings.html4excel:
        yield from _of_html(block, table, settings, count)
        return
    lines = rows_of(table)
    heads = heads_of(table, values_of(table))
    title = [table.caption] if table.caption else []
    text = "\n".join([*title, *(line for line in lines if line)])
    size = count(text)
    limit = settings.chunk_token_num - min(2 * settings.table_context_size, settings.chunk_token_num // 2)
    if size <= limit:
        yield _unit(block, text, size, alone=size > limit // 4)
        return
    settings = msgspec.structs.replace(settings, chunk_token_num=limit)
    if title and count(title[0]) > limit // 3:
        yield from _of_lines(block, title, settings, count)
        title = []
    head = [*title, *(line for line in lines[:heads] if line)]
    if count("\n".join(head)) > limit // 3:  # a header that long is not worth repeating
        head, heads = title, 0
    body = [line for line in lines[heads:] if line]
    yield from _of_lines(block, body, settings, count, head=head)


def _of_html(block: Block, table: Table, settings: ChunkSettings, count: TokenCount) -> Iterator[Unit]:
    """A table as HTML, twelve rows in each piece (fewer where they do not fit), its caption and header in each."""
    grid = table.grid()
    heads = heads_of(table, grid)
    head, body = grid[:heads], grid[heads:]
    parts = [body[first : first + _HTML_ROWS] for first in range(0, len(body), _HTML_ROWS)] or [[]]
    while parts:
        part = parts.pop(0)
        text = html_of(table.caption, head, part)
        size = count(text)
        if size <= settings.chunk_token_num:
            if any(value.strip() for row in (*head, *part) for value in row):
                yield _unit(block, text, size, alone=True)
        elif len(part) > 1:
            parts[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
        else:  # what is too large for its tags is said without them
            lines = [table.caption, *(" | ".join(filter(None, row)) for row in (*head, *part))]
            yield from _of_lines(block, [line for line in lines if line], settings, count)


def _of_lines(
    block: Block, lines: Sequence[str], settings: ChunkSettings, count: TokenCount, *, head: Sequence[str] = ()
) -> Iterator[Unit]:
    """Lines whole where they fit, in as few units as can be, each below the same head."""
    limit, top = settings.chunk_token_num, "\n".join(head)
    room = limit - (count(top) + 1 if top else 0)
    found = [piece for line in lines for piece in pieces(line, room, settings.delimiter, count)]
    for text, tokens in grouped(found, limit, count, joint="\n", head=top):
        if text.strip():
            yield _unit(block, text, tokens, alone=bool(top) or tokens > limit // 4)


def _unit(block: Block, text: str, tokens: int, *, alone: bool = False, joint: str = "\n") -> Unit:
    pages = tuple(sorted({box.page for box in block.boxes})) or ((block.page,) if block.page else ())
    return Unit(text, tokens, block.kind, block.level, pages, tuple(block.boxes), block.asset, alone=alone, joint=joint)
