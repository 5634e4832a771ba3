"""Objects in memory: for tests and notebooks, gone with the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gristmill.base.errors import BlobMissing
from gristmill.ports.storage import ObjectStore
from gristmill.storages.keys import checked


class MemoryStore(ObjectStore):
    """Safe for several threads: each step is one operation on a dict."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self._objects[checked(key)] = bytes(data)

    def put_file(self, key: str, path: Path) -> None:
        self._objects[checked(key)] = path.read_bytes()

    def get(self, key: str) -> bytes:
        found = self._objects.get(checked(key))
        if found is None:
            raise BlobMissing(f"there is no object {key!r}")
        return found

    def exists(self, key: str) -> bool:
        return checked(key) in self._objects

    def delete(self, key: str) -> None:
        self._objects.pop(checked(key), None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key in list(self._objects) if key.startswith(prefix)])
