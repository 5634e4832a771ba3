"""The method ``one``: the whole document is one chunk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gristmill.chunkers.sections import SHEETS, Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import ParsedDocument

MOST_TOKENS = 32_768


class OneChunker(SectionChunker):
    """The whole document in its order, however long: ``chunk_token_num`` does not hold here, only a bound of 32,768 tokens.

    Attachments are chunked as ``naive`` does. How much of a long chunk a model reads is the model's affair.
    """

    name: ClassVar[str] = "one"
    version: ClassVar[int] = 2
    whole: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        yield Section(document.blocks, html=document.format in SHEETS, limit=MOST_TOKENS, together=True, kind="text")
