"""Storages: adapters of ``ports.storage.ObjectStore``."""

from __future__ import annotations

from gristmill.base.registry import Registry
from gristmill.ports.storage import ObjectStore

STORAGES: Registry[ObjectStore] = Registry(
    "gristmill.storages",
    {"files": "gristmill.storages.files:FileStore", "memory": "gristmill.storages.memory:MemoryStore"},
)
