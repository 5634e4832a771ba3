"""The method ``table``: one chunk for each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from gristmill.chunkers.rows import by_tables, header_of, heads_of, values_of
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument


class TableChunker(SectionChunker):
    """A chunk for each row, a line ``- header: value`` for each of its values; the sheet or caption is its path.

    Header rows are joined by a dash, columns without a name are ``Column_1`` and so on, a name that is there twice gets a
    number. A value that spans cells stands in each of them. A row that is too large is cut, its first line above each
    piece. What is not in a table is cut as ``naive`` does.
    """

    name: ClassVar[str] = "table"
    version: ClassVar[int] = 1

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        for run, block in by_tables(document.blocks):
            yield Section(run)
            if block is not None:
                yield from _of_table(block)


def _of_table(block: Block) -> Iterator[Section]:
    table = block.table
    assert table is not None
    rows = values_of(table)
    heads = heads_of(table, rows)
    names = header_of(rows, heads)
    path = [table.caption] if table.caption else []
    if not any(value for row in rows[heads:] for value in row):  # nothing but a header
        yield Section([_with(block, "\n".join([*path, *(" | ".join(filter(None, row)) for row in rows)]))], path)
        return
    unused = {
        n for n in range(len(names)) if any(row[n] for row in rows[:heads]) and not any(row[n] for row in rows[heads:])
    }
    for row in rows[heads:]:
        cells = zip(range(len(names)), names, row, strict=False)
        lines = [f"- {name}: {value}".rstrip() for n, name, value in cells if value or n in unused]
        if any(row):
            unused = set()  # a column without any value is named once
            yield Section([_with(block, "\n".join(lines))], path, again=lines[0], kind="table", together=True)


def _with(block: Block, text: str) -> Block:
    return msgspec.structs.replace(block, kind="table", text=text, table=None, marker="")
