"""What decides the outcome of an ingestion, besides the bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from gristmill.base.ids import digest
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.parser import ReadSettings


class ModelIds(msgspec.Struct, frozen=True, omit_defaults=True):
    """The models that read documents, by their ids; empty where none is set."""

    transcriber: str = ""
    describer: str = ""
    chat: str = ""


class IngestSettings(msgspec.Struct, frozen=True):
    """What decides the outcome of an ingestion, besides the bytes. Kept with the run.

    ``chunks_per_part``: a piece with more chunks is embedded by several tasks (0: never), so that one long document keeps
    every core busy when embedding is slow. ``pages_per_part``: None is what the method wants; the outcome is the same.
    """

    method: str = "naive"
    chunk: ChunkSettings = ChunkSettings()
    read: ReadSettings = ReadSettings()
    embedder: str = ""
    models: ModelIds = ModelIds()
    pages_per_part: int | None = None
    chunks_per_part: int = 0

    def digest(self) -> str:
        """Two settings with one digest give the same chunks and vectors: how the work is cut up is not part of it."""
        read = [] if self.read == ReadSettings() else [msgspec.json.encode(self.read)]
        models = [] if self.models == ModelIds() else [msgspec.json.encode(self.models)]
        return digest("ingest/1", self.method, msgspec.json.encode(self.chunk), self.embedder, *read, *models)

    def dump(self) -> dict[str, Any]:
        """As plain JSON values."""
        dumped: dict[str, Any] = msgspec.to_builtins(self)
        return dumped


def load_settings(raw: dict[str, Any]) -> IngestSettings:
    """The settings of a run."""
    return msgspec.convert(raw, IngestSettings)
