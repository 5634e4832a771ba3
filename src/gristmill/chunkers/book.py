"""The method ``book``: paragraphs below the headings that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from gristmill.chunkers.captions import announces
from gristmill.chunkers.contents import without_contents
from gristmill.chunkers.levels import BODY, Group, Line, grouped, levelled
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument

_PACKED = 218  # tokens up to which paragraphs of one heading share a chunk
_PLAIN = 256  # tokens of a chunk where there are no headings


class BookChunker(SectionChunker):
    """Paragraphs of one heading together, up to 218 tokens; a longer one alone. All headings above are in the text.

    A table of contents is a chunk of its own and opens no chapters. Without headings, chunks have up to 256 tokens.
    """

    name: ClassVar[str] = "book"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        contents, lines = without_contents(levelled(document.blocks))
        yield from contents.among(self._chapters(lines, settings, count))

    def _chapters(self, lines: Sequence[Line], settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        if all(line.level == BODY for line in lines):
            yield Section([line.block for line in lines], limit=min(_PLAIN, settings.chunk_token_num))
            return
        for group in grouped(lines, BODY - 1):
            yield from _packed(group, settings, count)


def _packed(group: Group, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
    """The paragraphs of a heading in as few sections as their size allows."""
    taken: list[Block] = []
    size, first = 0, True
    bound = min(_PACKED, settings.chunk_token_num)
    for n, block in enumerate(group.blocks):
        tokens = 0 if block.table is not None else count(block.text)
        of_table = block.table is not None and not (taken and announces(taken[-1], block))
        closed = of_table or (bool(taken) and taken[-1].table is not None)
        if n > len(group.own) and taken and (closed or size + tokens > bound):
            yield _section(group, taken, first=first)
            taken, size, first = [], 0, False
        taken.append(block)
        size += tokens
    if taken:
        yield _section(group, taken, first=first)


def _section(group: Group, blocks: Sequence[Block], *, first: bool) -> Section:
    above, own = "\n".join(group.above), "\n".join(group.own)
    if first:
        return Section(blocks, group.above, above=above, again=own)
    return Section(blocks, [*group.above, *group.own], above="\n".join(filter(None, (above, own))))
