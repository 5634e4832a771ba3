"""Gristmill turns documents into search and never loses work.

These names are the public ones. Each is imported when it is first asked for, so that ``import gristmill`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gristmill.base.errors import (
        BlobMissing,
        BrokerUnavailable,
        Conflict,
        DamagedDocument,
        DocumentError,
        DocumentTooLarge,
        EmbedderChanged,
        EmptyDocument,
        EncryptedDocument,
        EngineError,
        FetchError,
        FetchFailed,
        FetchRefused,
        GenerationClosed,
        GristmillError,
        HardTimeLimitExceeded,
        InputRefused,
        LeaseLost,
        LimitExceeded,
        LoopBlocked,
        MemoryLimitExceeded,
        ModelError,
        ModelRefused,
        ModelUnavailable,
        NotFound,
        PluginError,
        QueryError,
        ResultTimeout,
        Retry,
        RunnerCrashed,
        SettingsError,
        SoftTimeLimitExceeded,
        StoreError,
        StoreUnavailable,
        TaskCancelled,
        TaskDead,
        TaskError,
        TaskFailed,
        UnknownTask,
        UnsupportedDocument,
    )
    from gristmill.base.settings import Settings, load_settings
    from gristmill.brokers import open_broker
    from gristmill.engine.broker import Broker
    from gristmill.engine.client import AsyncResult, Client, TaskHandle
    from gristmill.engine.context import TaskContext, current
    from gristmill.engine.isolate import RunnerLimits
    from gristmill.engine.message import Message, TaskRecord
    from gristmill.engine.state import TaskState
    from gristmill.engine.task import App, Policy, Task
    from gristmill.engine.worker import Worker
    from gristmill.ports.chunker import Chunker, ChunkSettings
    from gristmill.ports.docstore import DocStore
    from gristmill.ports.document import Block, Chunk, Page, ParsedDocument, Range
    from gristmill.ports.model import Chat, Described, Describer, Embedder, Sound, Spoken, Transcriber
    from gristmill.ports.parser import PageParser, ParseLimits, Parser, Reading, RowParser, Source
    from gristmill.ports.storage import ObjectStore
    from gristmill.search.query import SearchRequest
    from gristmill.search.service import SearchHit, SearchService

__all__ = [
    "App",
    "AsyncResult",
    "BlobMissing",
    "Block",
    "Broker",
    "BrokerUnavailable",
    "Chat",
    "Chunk",
    "ChunkSettings",
    "Chunker",
    "Client",
    "Conflict",
    "DamagedDocument",
    "Described",
    "Describer",
    "DocStore",
    "DocumentError",
    "DocumentTooLarge",
    "Embedder",
    "EmbedderChanged",
    "EmptyDocument",
    "EncryptedDocument",
    "EngineError",
    "FetchError",
    "FetchFailed",
    "FetchRefused",
    "GenerationClosed",
    "GristmillError",
    "HardTimeLimitExceeded",
    "InputRefused",
    "LeaseLost",
    "LimitExceeded",
    "LoopBlocked",
    "MemoryLimitExceeded",
    "Message",
    "ModelError",
    "ModelRefused",
    "ModelUnavailable",
    "NotFound",
    "ObjectStore",
    "Page",
    "PageParser",
    "ParseLimits",
    "ParsedDocument",
    "Parser",
    "PluginError",
    "Policy",
    "QueryError",
    "Range",
    "Reading",
    "ResultTimeout",
    "Retry",
    "RowParser",
    "RunnerCrashed",
    "RunnerLimits",
    "SearchHit",
    "SearchRequest",
    "SearchService",
    "Settings",
    "SettingsError",
    "SoftTimeLimitExceeded",
    "Sound",
    "Source",
    "Spoken",
    "StoreError",
    "StoreUnavailable",
    "Task",
    "TaskCancelled",
    "TaskContext",
    "TaskDead",
    "TaskError",
    "TaskFailed",
    "TaskHandle",
    "TaskRecord",
    "TaskState",
    "Transcriber",
    "UnknownTask",
    "UnsupportedDocument",
    "Worker",
    "current",
    "load_settings",
    "open_broker",
]

_HOMES = {  # of those that are no errors
    "gristmill.base.settings": "Settings load_settings",
    "gristmill.brokers": "open_broker",
    "gristmill.engine.broker": "Broker",
    "gristmill.engine.client": "AsyncResult Client TaskHandle",
    "gristmill.engine.context": "TaskContext current",
    "gristmill.engine.isolate": "RunnerLimits",
    "gristmill.engine.message": "Message TaskRecord",
    "gristmill.engine.state": "TaskState",
    "gristmill.engine.task": "App Policy Task",
    "gristmill.engine.worker": "Worker",
    "gristmill.ports.chunker": "ChunkSettings Chunker",
    "gristmill.ports.docstore": "DocStore",
    "gristmill.ports.document": "Block Chunk Page ParsedDocument Range",
    "gristmill.ports.model": "Chat Described Describer Embedder Sound Spoken Transcriber",
    "gristmill.ports.parser": "PageParser ParseLimits Parser Reading RowParser Source",
    "gristmill.ports.storage": "ObjectStore",
    "gristmill.search.query": "SearchRequest",
    "gristmill.search.service": "SearchHit SearchService",
}
_MODULES = dict.fromkeys(__all__, "gristmill.base.errors")
_MODULES |= {name: module for module, names in _HOMES.items() for name in names.split()}

if not TYPE_CHECKING:  # checkers read the imports above, so that they find a wrong name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return import_module("importlib.metadata").version("gristmill")
        if name not in _MODULES:
            raise AttributeError(f"module 'gristmill' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
