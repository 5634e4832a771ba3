"""Blocks to chunks, by method."""

from __future__ import annotations

from gristmill.base.registry import Registry
from gristmill.ports.chunker import Chunker

CHUNKERS: Registry[Chunker] = Registry(
    "gristmill.chunkers",
    {
        "audio": "gristmill.chunkers.audio:AudioChunker",
        "auto": "gristmill.chunkers.auto:AutoChunker",
        "book": "gristmill.chunkers.book:BookChunker",
        "email": "gristmill.chunkers.email:EmailChunker",
        "knowledge_graph": "gristmill.chunkers.knowledge_graph:KnowledgeGraphChunker",
        "laws": "gristmill.chunkers.laws:LawsChunker",
        "manual": "gristmill.chunkers.manual:ManualChunker",
        "naive": "gristmill.chunkers.naive:NaiveChunker",
        "one": "gristmill.chunkers.one:OneChunker",
        "paper": "gristmill.chunkers.paper:PaperChunker",
        "picture": "gristmill.chunkers.picture:PictureChunker",
        "presentation": "gristmill.chunkers.presentation:PresentationChunker",
        "qa": "gristmill.chunkers.qa:QaChunker",
        "resume": "gristmill.chunkers.resume:ResumeChunker",
        "table": "gristmill.chunkers.table:TableChunker",
        "tag": "gristmill.chunkers.tag:TagChunker",
    },
)
