"""The method ``laws``: one chunk for each article, below its chapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from gristmill.chunkers.contents import without_contents
from gristmill.chunkers.families import is_article
from gristmill.chunkers.levels import Line, depths, grouped, levelled
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import ParsedDocument


class LawsChunker(SectionChunker):
    """A chunk for each article (section, amendment), with all that is below it, in a document that has such.

    In others for each unit of the second level of numbering. The titles above it are repeated in its text. What goes before
    the first number, and what stands between a title and its first unit, are chunks of their own. A unit that is too large
    is cut, its own title above each piece. Without any numbering, chunks are those of ``naive``.
    """

    name: ClassVar[str] = "laws"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        contents, lines = without_contents(levelled(document.blocks, numbered=True))
        yield from contents.among(_units(lines))


def _units(lines: Sequence[Line]) -> Iterator[Section]:
    found = depths(lines)
    if not found:
        yield Section([line.block for line in lines])
        return
    for group in grouped(lines, _articles(lines) or found[min(1, len(found) - 1)]):
        yield Section(group.blocks, group.above, above="\n".join(group.above), again="\n".join(group.own))


def _articles(lines: Sequence[Line]) -> int:
    """The level of articles, the lowest where a law has several that are called so (sections of articles); 0 without any."""
    return max((line.level for line in lines if line.title and is_article(line.title)), default=0)
