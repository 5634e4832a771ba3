"""The method ``naive``: as much as fits, along the document's own structure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gristmill.chunkers.sections import SHEETS, Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import ParsedDocument


class NaiveChunker(SectionChunker):
    """As much as fits into ``chunk_token_num``, in reading order.

    A heading begins a chunk when the one before is half full, stays with what follows it, and is part of the text; the
    headings above a chunk are its ``path``. Tables and code stay whole where they fit; a larger table is cut by rows, its
    header repeated. Only a single character or table cell can make a chunk larger than allowed.
    """

    name: ClassVar[str] = "naive"
    version: ClassVar[int] = 3

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        yield Section(document.blocks, html=document.format in SHEETS)
