"""The method ``naive``: as much as fits, along the document's own structure."""

from __future__ import annotations

from gristmill.chunkers.naive.chunker import NaiveChunker

__all__ = ["NaiveChunker"]
