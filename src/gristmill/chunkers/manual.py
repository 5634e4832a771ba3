"""The method ``manual``: one chunk for each section of a handbook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from gristmill.chunkers.contents import without_contents
from gristmill.chunkers.levels import Group, Line, grouped, levelled, most_frequent
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import ParsedDocument

_FEW = 32  # tokens of a section that goes with the next


class ManualChunker(SectionChunker):
    """A section begins at each heading of the level that most headings have, or of one above it.

    Its tables and pictures stay in it. A section of fewer than 32 tokens goes with the next below the same
    headings. A table of contents is a chunk of its own. One that is too large is cut,
    its heading above each piece.
    """

    name: ClassVar[str] = "manual"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        contents, lines = without_contents(levelled(document.blocks))
        yield from contents.among(_sections(lines, settings, count))


def _sections(lines: Sequence[Line], settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
    held: Group | None = None
    for group in grouped(lines, most_frequent(lines)):
        if held is not None and held.own and len(group.above) < len(held.above):
            yield _section(held)
        elif held is not None:
            group = Group([*held.blocks, *group.blocks], held.above, held.own)
        held = group
        if sum(count(block.text) for block in group.blocks) >= min(_FEW, settings.chunk_token_num):
            yield _section(group)
            held = None
    if held is not None:
        yield _section(held)


def _section(group: Group) -> Section:
    return Section(group.blocks, group.above, again="\n".join(group.own), together=True)
