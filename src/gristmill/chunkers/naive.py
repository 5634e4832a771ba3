"""The method ``naive``: as much as fits, along the document's own structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import msgspec

from gristmill.chunkers.cuts import after, quoted
from gristmill.chunkers.sections import SHEETS, Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument

_WHOLE = ("code", "table")
_HEADINGS = ("title", "heading")


class NaiveChunker(SectionChunker):
    """As much as fits into ``chunk_token_num``, in reading order.

    A heading begins a chunk when the one before is half full, stays with what follows it, and is part of the text; the
    headings above a chunk are its ``path``. Tables and code stay whole where they fit; a larger table is cut by rows, its
    header repeated. Where the delimiter has quoted words, a chunk ends at each of them. Only a single character or table
    cell can make a chunk larger than allowed.
    """

    name: ClassVar[str] = "naive"
    version: ClassVar[int] = 3

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        html = document.format in SHEETS
        words = quoted(settings.delimiter)
        if not words:
            yield Section(document.blocks, html=html)
            return
        chain: list[Block] = []
        for blocks in _parted(document.blocks, words):
            yield Section(blocks, [block.text.strip() for block in chain], html=html)
            for heading in (block for block in blocks if block.kind in _HEADINGS):
                chain = [*(one for one in chain if one.level < heading.level), heading]


def _parted(blocks: Sequence[Block], words: str) -> Iterator[list[Block]]:
    """The blocks up to each of these words, which stays at the end."""
    run: list[Block] = []
    for block in blocks:
        texts = [block.text] if block.kind in _WHOLE else after(block.text, words)
        for n, text in enumerate(texts):
            run.append(
                block
                if len(texts) == 1
                else msgspec.structs.replace(block, text=text, marker="" if n else block.marker)
            )
            if block.kind not in _WHOLE and any(text.endswith(word) for word in words.strip("`").split("``")):
                yield run
                run = []
    yield run
