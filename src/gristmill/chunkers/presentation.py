"""The method ``presentation``: one chunk for each slide or page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import ClassVar

import msgspec

from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument

_DEEPEST = 8  # levels of bullets


class PresentationChunker(SectionChunker):
    """All of a slide or page together, its tables and notes included.

    One that is too large is cut, its title above each piece.
    """

    name: ClassVar[str] = "presentation"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        for _, blocks in groupby(
            document.blocks, key=lambda block: block.page or (block.boxes and block.boxes[0].page)
        ):
            slide = list(map(_indented, blocks))
            title = next((block.text for block in slide if block.kind in ("heading", "title")), "")
            yield Section(slide, again=title, together=True)


def _indented(block: Block) -> Block:
    """A bullet, two blanks further in for each level."""
    if block.kind != "list_item" or block.level < 1:
        return block
    return msgspec.structs.replace(block, text="  " * min(block.level, _DEEPEST) + block.text)
