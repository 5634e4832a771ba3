"""Blocks to chunks, by method."""

from __future__ import annotations

from gristmill.base.registry import Registry
from gristmill.ports.chunker import Chunker

CHUNKERS: Registry[Chunker] = Registry("gristmill.chunkers", {"naive": "gristmill.chunkers.naive:NaiveChunker"})
