"""OLE containers: what Word 97, PowerPoint 97 and Outlook store their streams in."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import olefile

from gristmill.base.errors import DamagedDocument
from gristmill.parsers.bounds import check_size
from gristmill.ports.parser import ParseLimits, Source

# What olefile, and code that reads records out of its streams, raises on bytes that no program wrote.
ERRORS = (OSError, struct.error, IndexError, ValueError, KeyError, TypeError, AttributeError, OverflowError)


class Container:
    """The streams of one file, by name. No stream is larger than the file, whatever its directory says."""

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        self._file = olefile.OleFileIO(io.BytesIO(data))

    def __contains__(self, name: str) -> bool:
        return bool(self._file.exists(name))

    def stream(self, name: str) -> bytes:
        """The bytes of a stream; none where there is no such stream."""
        if name not in self or self._file.get_size(name) > self._size:
            return b""
        with self._file.openstream(name) as stream:
            return bytes(stream.read())

    def below(self, path: str) -> list[str]:
        """The names of what lies in a storage, the storages in it included, as paths from there."""
        streams = ("/".join(parts) for parts in self._file.listdir())
        return [stream[len(path) :] for stream in streams if stream.startswith(path)]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@contextmanager
def opened(source: Source, limits: ParseLimits, what: str) -> Iterator[Container]:
    """The streams of a document. Raises DamagedDocument for anything that is wrong with them, also while they are read."""
    check_size(source, limits)
    try:
        container = Container(source.data)
        try:
            yield container
        finally:
            container.close()
    except ERRORS as exc:
        raise DamagedDocument(
            f"{source.name} is a damaged {what} ({type(exc).__name__}: {exc}). Open it and save it again."
        ) from exc
