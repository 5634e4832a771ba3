"""What decides the outcome of an ingestion, besides the bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from gristmill.base.ids import digest
from gristmill.ports.chunker import ChunkSettings


class IngestSettings(msgspec.Struct, frozen=True):
    """What decides the outcome of an ingestion, besides the bytes. Kept with the run.

    ``chunks_per_part``: a piece with more chunks is embedded by several tasks (0: never), so that one long document keeps
    every core busy when embedding is slow. ``pages_per_part``: None is what the method wants.
    """

    method: str = "naive"
    chunk: ChunkSettings = ChunkSettings()
    embedder: str = ""
    pages_per_part: int | None = None
    rows_per_part: int = 3000
    chunks_per_part: int = 0

    def digest(self) -> str:
        """Two settings with one digest give the same chunks and vectors: how the work is cut up is not part of it."""
        return digest("ingest/1", self.method, msgspec.json.encode(self.chunk), self.embedder)

    def dump(self) -> dict[str, Any]:
        """As plain JSON values."""
        dumped: dict[str, Any] = msgspec.to_builtins(self)
        return dumped


def load_settings(raw: dict[str, Any]) -> IngestSettings:
    """The settings of a run."""
    return msgspec.convert(raw, IngestSettings)
