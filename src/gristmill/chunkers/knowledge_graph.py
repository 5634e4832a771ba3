"""The method ``knowledge_graph``: the chunks that a graph is drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import ParsedDocument


class KnowledgeGraphChunker(SectionChunker):
    """The chunks of ``naive``, from the document as a whole: no part of it ends within a sentence that relates two things."""

    name: ClassVar[str] = "knowledge_graph"
    version: ClassVar[int] = 2
    whole: ClassVar[bool] = True

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        yield Section(document.blocks)
