"""The method ``laws``: one chunk for each article, below its chapter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gristmill.chunkers.levels import depths, grouped, levelled, without_contents
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import ParsedDocument


class LawsChunker(SectionChunker):
    """A chunk for each unit of the second level of numbering (articles below chapters), with all that is below it.

    The titles above it are repeated in its text. What goes before the first number, and what stands between a title and
    its first unit, are chunks of their own. A unit that is too large is cut, its own title above each piece. Without any
    numbering, chunks are those of ``naive``.
    """

    name: ClassVar[str] = "laws"
    version: ClassVar[int] = 1

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        contents, lines = without_contents(levelled(document.blocks, numbered=True))
        if contents:
            yield Section(contents)
        found = depths(lines)
        if not found:
            yield Section([line.block for line in lines])
            return
        for group in grouped(lines, found[min(1, len(found) - 1)]):
            yield Section(group.blocks, group.above, above="\n".join(group.above), again="\n".join(group.own))
