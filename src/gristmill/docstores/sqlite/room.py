"""One dataset's file: a connection that reads, one that writes, and its vectors in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gristmill.base.errors import Conflict, StoreUnavailable
from gristmill.base.sqlite import connect, driver, writing
from gristmill.docstores.sqlite import words
from gristmill.docstores.sqlite.layout import VERSION, create, upgrade
from gristmill.docstores.sqlite.matrix import Matrix


class Room:
    """Connections are opened when they are needed and may be given up at any time; a lock keeps each to one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: Any = None
        self._writer: Any = None
        self._matrix: Matrix | None = None
        self._reading = threading.RLock()
        self._writing = threading.RLock()

    @property
    def exists(self) -> bool:
        return self.path.is_file()

    @property
    def held(self) -> int:
        """Bytes of vectors in memory."""
        matrix = self._matrix
        return matrix.size if matrix else 0

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A consistent state of the file. Never blocked by writers."""
        with self._reading, self._named_errors():
            if self._reader is None:
                self._reader = self._open()
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.rollback()

    @contextmanager
    def inspecting(self) -> Iterator[Any]:
        """A state of the file as a newcomer sees it: a connection's own memory of the word index would mislead a check."""
        with self._named_errors():
            connection = self._open()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """One transaction, which makes the file if there is none."""
        with self._writing, self._named_errors():
            if self._writer is None:
                self._writer = self._open()
            with writing(self._writer) as connection:
                yield connection

    @contextmanager
    def alone(self) -> Iterator[Any]:
        """The writing connection without a transaction, for upkeep."""
        with self._writing, self._named_errors():
            if self._writer is None:
                self._writer = self._open()
            yield self._writer

    def matrix(self, connection: Any, dim: int) -> Matrix:
        """The vectors as of this read transaction. Call within ``reading``."""
        kept = connection.execute("SELECT value FROM meta WHERE key = 'dim'").fetchone()
        if kept is None:
            return Matrix(dim)  # nothing was written yet
        if kept[0] != dim:
            raise Conflict(f"{self.path} holds vectors of {kept[0]} numbers, not of {dim}")
        if self._matrix is None:
            self._matrix = Matrix(dim)
        self._matrix.catch_up(connection)
        return self._matrix

    def forget_vectors(self) -> None:
        """Give the memory back."""
        with self._reading:
            self._matrix = None

    def close(self) -> None:
        """Give up connections and memory; the next use opens them again."""
        with self._reading, self._writing:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = self._matrix = None

    def delete(self) -> None:
        """Remove the file."""
        with self._reading, self._writing:
            self.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _open(self) -> Any:
        connection = connect(self.path)
        try:
            if _is_old(connection):
                with writing(connection):  # another process may have been faster
                    if _version(connection) == 0:
                        create(connection)
                        words.note(connection)
                    elif _version(connection) < VERSION:
                        upgrade(connection)
                    if words.are_old(connection):
                        words.renew(connection)
            newer = _version(connection) > VERSION
        except BaseException:
            connection.close()
            raise
        if newer:
            connection.close()
            raise Conflict(f"{self.path} was written by a newer release of gristmill: install that one")
        return connection

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except driver().Error as exc:
            raise StoreUnavailable(f"the doc store file {self.path} cannot be used: {exc}") from exc


def _is_old(connection: Any) -> bool:
    return _version(connection) < VERSION or words.are_old(connection)


def _version(connection: Any) -> int:
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    return int(version)
