"""OLE containers: what Word 97, PowerPoint 97 and Outlook store their streams in."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import olefile

from gristmill.base.errors import DamagedDocument
from gristmill.parsers.bounds import check_size
from gristmill.parsers.charset import decode
from gristmill.ports.parser import ParseLimits, Source

_LONGEST_NAME = 1024

# What olefile, and code that reads records out of its streams, raises on bytes that no program wrote.
ERRORS = (
    OSError, struct.error, IndexError, ValueError, KeyError, TypeError, AttributeError, OverflowError,
    RecursionError,  # a storage that lies in itself
)  # fmt: skip


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


def native(stream: bytes) -> tuple[str, bytes] | None:
    """The name and the bytes of a file that was put into a document by the packager of Windows; None for no such thing."""
    if len(stream) < 8:
        return None
    at = 6
    names = []
    for _ in range(2):
        end = stream.find(b"\0", at, at + _LONGEST_NAME)
        if end < 0:
            return None
        names.append(stream[at:end])
        at = end + 1
    (longest,) = struct.unpack_from("<I", stream, at + 4)
    at += 8 + longest
    (size,) = struct.unpack_from("<I", stream, at)
    name = decode(names[0] or names[1])[0].replace("\\", "/").rpartition("/")[2]
    return name or "attachment", stream[at + 4 : at + 4 + size]


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
