"""The method ``paper``: the abstract apart, and one chunk for each section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from gristmill.chunkers.levels import BODY, Line, grouped, levelled, most_frequent
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.chunkers.signs import ABSTRACT
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import ParsedDocument

_KEYWORDS = ("abstract", "总结", "概括", "summary", "summarize")
_EARLY = 64  # lines among which the abstract is
_LONG = 2_400  # characters of an abstract of several paragraphs


class PaperChunker(SectionChunker):
    """Title and authors, the abstract with words by which a summary is asked for, then the sections of the paper.

    The abstract ends at the next heading, or where none is near with its first paragraph.
    A section begins at each heading of the level that most headings have, or of one above it, and is cut where it is too
    large, its heading above each piece. The paper's title finds all of them. Pages come in parts of 22, so that most papers
    are one part.
    """

    name: ClassVar[str] = "paper"
    version: ClassVar[int] = 3
    pages_per_part: ClassVar[int] = 22

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        lines = levelled(document.blocks)
        at = most_frequent(lines)
        first, last = _abstract(lines)
        title = [line.title for line in lines[:first] if line.level == 0][:1]
        for section in self._sections(lines, at, (first, last), title):
            yield replace(section, title="".join(title))

    def _sections(
        self, lines: Sequence[Line], at: int, abstract: tuple[int, int], title: Sequence[str]
    ) -> Iterator[Section]:
        first, last = abstract
        if first < last:
            yield Section([line.block for line in lines[:first]], together=True)
            words = [line.block for line in lines[first:last]]
            yield Section(words, title, again=_again(lines[first]), keywords=_KEYWORDS)
        yield from _of(lines[last:] if first < last else lines, at, title)


def _of(lines: Sequence[Line], at: int, title: Sequence[str] = ()) -> Iterator[Section]:
    for group in grouped(lines, at):
        yield Section(group.blocks, [*title, *group.above], again="\n".join(group.own))


def _again(line: Line) -> str:
    return line.title if line.level < BODY else ""


def _abstract(lines: Sequence[Line]) -> tuple[int, int]:
    """The lines of the abstract: a heading with all up to the next, or a paragraph that begins with the word."""
    for n, line in enumerate(lines[:_EARLY]):
        match = ABSTRACT.match(line.block.text)
        if not match:
            continue
        if line.block.text[match.end() :].strip() and line.level == BODY:
            return n, n + 1
        if not line.block.text[match.end() :].strip():
            return n, _end(lines, n)
    return 0, 0


def _end(lines: Sequence[Line], first: int) -> int:
    """Behind an abstract headed by the line ``first``: at the next heading, if that is near, else one paragraph on."""
    size = 0
    for n in range(first + 1, len(lines)):
        if lines[n].level < BODY:
            return n
        size += len(lines[n].block.text)
        if size > _LONG or lines[first].level == BODY:
            break
    return min(first + 2, len(lines))
