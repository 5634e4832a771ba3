"""The method ``tag``: a dictionary of texts with their tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from gristmill.chunkers.rows import Pair, blocks_of_lines, by_tables, caption_of, pairs_of, said_as, separator_of
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.chunkers.signs import TAGS
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument, Table

_COMMA = re.compile(r"[,，、;；]")


class TagChunker(SectionChunker):
    """A chunk for each text, with its tags: the first two values of a table's row, or of a line that a tab or comma parts.

    Tags are parted by commas and kept as they are written. Lines that are no pair belong to the text that follows them;
    what has no tags at all is cut as ``naive`` does.
    """

    name: ClassVar[str] = "tag"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        for run, block in by_tables(document.blocks):
            yield from _of_text(run)
            if block is not None:
                yield from _of_table(block)


def _of_table(block: Block) -> Iterator[Section]:
    assert block.table is not None
    path = caption_of(block.table)
    pairs = list(pairs_of(block.table, skip=int(_names_tags(block.table))))
    if path and not pairs:
        yield Section([said_as(block, path[0])])
    for found in pairs:
        if isinstance(found, Pair):
            yield Section([said_as(block, found.first)], path, tags=_tags([found.second, *found.rest]))
        else:
            yield Section([said_as(block, "\n".join(found))], path)


def _names_tags(table: Table) -> bool:
    """Whether the first row says that the second column is tags."""
    return table.rows > 1 and [value.strip().lower() in TAGS for value in table.grid()[0][:2]] == [False, True]


def _of_text(blocks: Sequence[Block]) -> Iterator[Section]:
    separator = separator_of([block.text for block in blocks if block.kind == "text"])
    if not separator:
        yield Section(blocks)
        return
    waiting: list[Block] = []
    for line in blocks_of_lines(blocks):
        content, sign, tags = line.text.rpartition(separator)
        if line.kind == "text" and sign and separator not in content and content.strip() and tags.strip():
            yield Section([*waiting, said_as(line, f"{line.marker} {content.strip()}".strip())], tags=_tags([tags]))
            waiting = []
        else:
            waiting.append(line)
    yield Section(waiting)


def _tags(texts: Sequence[str]) -> list[str]:
    found = (tag.strip() for text in texts for tag in _COMMA.split(text))
    return list(dict.fromkeys(tag for tag in found if tag))
