"""The method ``table``: one chunk for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from gristmill.chunkers.columns import Columns
from gristmill.chunkers.rows import by_tables, caption_of, header_of, heads_of, values_of
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument

_HEADINGS = ("title", "heading")


class TableChunker(SectionChunker):
    """A chunk for each row, a line ``- header: value`` for each of its values, below its headings, sheet or caption.

    Header rows are joined by a dash, columns without a name are ``Column_1`` and so on, a name that is there twice gets a
    number. A value that spans cells stands in each of them. A row that is too large is cut, its first line above each
    piece. What is not in a table is cut as ``naive`` does. The values are fields of the chunk, too, of the type that most
    values of their column have; ``table_column_roles`` says which columns are text only or a field only.
    """

    name: ClassVar[str] = "table"
    version: ClassVar[int] = 3

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        chain: list[Block] = []
        for run, block in by_tables(document.blocks):
            for heading in (one for one in run if one.kind in _HEADINGS):
                chain = [*(one for one in chain if _depth(one) < _depth(heading)), heading]
            while block is not None and run and run[-1] in chain:
                run.pop()  # it is said in the path of the rows
            yield Section(run)
            if block is not None:
                yield from _of_table(
                    block,
                    [f"{heading.marker} {heading.text}".strip() for heading in chain],
                    settings.table_column_roles,
                )


def _depth(heading: Block) -> int:
    return 0 if heading.kind == "title" else heading.level or 1


def _of_table(block: Block, above: Sequence[str], roles: Mapping[str, str]) -> Iterator[Section]:
    table = block.table
    assert table is not None
    rows = values_of(table)
    heads = heads_of(table, rows)
    names = header_of(rows, heads)
    path = [*above, *caption_of(table)]
    if not any(value for row in rows[heads:] for value in row):  # nothing but a header
        yield Section([_with(block, "\n".join([*path, *(" | ".join(filter(None, row)) for row in rows)]))], path)
        return
    columns = Columns(names, rows[heads:], roles)
    said = [n for n in range(len(names)) if columns.said(n)]
    unused = {n for n in said if any(row[n] for row in rows[:heads]) and not any(row[n] for row in rows[heads:])}
    for row in rows[heads:]:
        lines = [f"- {names[n]}: {row[n]}".rstrip() for n in said if row[n] or n in unused]
        if any(row[n] for n in said):
            unused = set()  # a column without any value is named once
            text, fields = _with(block, "\n".join(lines)), columns.fields(row)
            yield Section([text], path, again=lines[0], kind="table", together=True, fields=fields)


def _with(block: Block, text: str) -> Block:
    return msgspec.structs.replace(block, kind="table", text=text, table=None, marker="")
