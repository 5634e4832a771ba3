"""ObjectStore: bytes under keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path


class ObjectStore(ABC):
    """Keeps objects. Keys are ``/``-separated words of ``[A-Za-z0-9._-]``; anything else is refused with ValueError.

    A put is atomic: readers see the whole object or none, also after a crash. Every failure raises: BlobMissing where
    there is no such object, StoreUnavailable where the store did not answer.
    """

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store the object; an existing one is replaced."""

    @abstractmethod
    def put_file(self, key: str, path: Path) -> None:
        """Store a file's content without reading it whole into memory."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The object's bytes."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; a missing one is no error."""

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, in any order."""

    def close(self) -> None:  # noqa: B027  most stores hold nothing
        """Give up connections."""
