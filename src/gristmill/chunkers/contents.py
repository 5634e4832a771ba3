"""Tables of contents: what announces chapters is not one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from gristmill.chunkers.levels import Line
from gristmill.chunkers.sections import Section
from gristmill.chunkers.signs import is_contents
from gristmill.ports.document import Block

_FEWEST = 2  # entries
_LOOK = 128  # entries of a table of contents that are looked at
_LONGEST = 200  # characters of an entry
_ENTRY = re.compile(r".*?(?:\.{3,}|…|\s|·{3,})\s*(?:[0-9]{1,4}|[ivxlc]{1,6})")  # a title, and the page that it is on


@dataclass(frozen=True, slots=True)
class Contents:
    """A table of contents, and how many blocks (a title) go before it."""

    blocks: Sequence[Block] = ()
    before: int = 0

    def among(self, sections: Iterator[Section]) -> Iterator[Section]:
        """The sections with that of the contents in its place: behind the first if that goes before it, else before all."""
        if not self.blocks:
            yield from sections
            return
        first = list(islice(sections, 1))
        placed = (
            [*first, Section(self.blocks)]
            if first and len(first[0].blocks) <= self.before
            else [Section(self.blocks), *first]
        )
        yield from placed
        yield from sections


def without_contents(lines: Sequence[Line]) -> tuple[Contents, list[Line]]:
    """A table of contents, and the lines without it. What it announces is not there twice.

    Its entries are tables, lines that end with a page's number, or what comes before its first entry is said again.
    """
    for first, line in enumerate(lines):
        if is_contents(line.block.text):
            end = _end(lines, first + 1)
            if end > first + 1:
                blocks = [one.block for one in lines[first:end]]
                return Contents(blocks, before=first), [*lines[:first], *lines[end:]]
    return Contents(), list(lines)


def _end(lines: Sequence[Line], first: int) -> int:
    """Behind the last entry; ``first`` where there are none."""
    listed = first
    while listed < len(lines) and listed - first < _LOOK and _is_entry(lines[listed].block):
        listed += 1
    if sum(1 for line in lines[first:listed] for _ in _said(line.block)) < _FEWEST:
        listed = first
    again = _again(lines, first)
    return min(again, listed) if again > first and listed > first else max(again, listed)


def _again(lines: Sequence[Line], first: int) -> int:
    """Where the first entry is said again; ``first`` if it is not."""
    near = range(first, min(first + _LOOK, len(lines)))
    entry = next((n for n in near if lines[n].block.text.strip()), first)
    begin = _beginning(lines[entry].block.text) if near else ""
    return next((n for n in near if n > entry and begin and _beginning(lines[n].block.text) == begin), first)


def _is_entry(block: Block) -> bool:
    if block.kind in ("title", "heading"):
        return False
    return block.table is not None or all(len(line) <= _LONGEST and _ENTRY.fullmatch(line) for line in _said(block))


def _said(block: Block) -> Iterator[str]:
    if block.table is not None:
        yield from ("\t".join(row) for row in block.table.grid())
    yield from (line.strip() for line in block.text.split("\n") if line.strip())


def _beginning(text: str) -> str:
    """By what an entry is known: its first two words, or three signs where there are no words."""
    words = text.split()
    return " ".join(words[:2]).lower() if words and words[0].isascii() else text.strip()[:3]
