"""Results of stages in a SQLite file of their own: losing it costs time, never truth."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gristmill.base import sqlite
from gristmill.base.errors import StoreUnavailable
from gristmill.base.logs import get_logger
from gristmill.ports.cache import StageCache

T = TypeVar("T")
log = get_logger(__name__)

# Rows by rowid: a new one goes to the end of the file, however large its value is, and the oldest have the least ids.
# What is held is counted on the way, for adding up gigabytes of values at each eviction would read them all.
_TABLES = (
    "CREATE TABLE result (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
    " UNIQUE (kind, key))",
    "CREATE TABLE held (bytes INTEGER NOT NULL)",
    "INSERT INTO held VALUES (0)",
    "CREATE TRIGGER result_new AFTER INSERT ON result BEGIN UPDATE held SET bytes = bytes + length(NEW.value); END",
    "CREATE TRIGGER result_gone AFTER DELETE ON result BEGIN UPDATE held SET bytes = bytes - length(OLD.value); END",
)
_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = 'result_gone'"
_NAMES_AT_ONCE = 500
_EVICTED_AT_ONCE = 1000


class SqlCache(StageCache):
    """A file that is damaged is moved aside and a new one begun."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: Any = None

    def get_many(self, kind: str, keys: Sequence[str]) -> dict[str, bytes]:
        def step(connection: Any) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for first in range(0, len(keys), _NAMES_AT_ONCE):
                batch = keys[first : first + _NAMES_AT_ONCE]
                marks = ",".join("?" * len(batch))
                query = f"SELECT key, value FROM result WHERE kind = ? AND key IN ({marks})"  # noqa: S608  only marks
                found.update(connection.execute(query, (kind, *batch)).fetchall())
            return found

        return self._do(step) if keys else {}

    def put_many(self, kind: str, values: Mapping[str, bytes]) -> None:
        rows = [(kind, key, value) for key, value in values.items()]

        def step(connection: Any) -> None:
            with sqlite.writing(connection):
                connection.executemany("INSERT OR IGNORE INTO result (kind, key, value) VALUES (?, ?, ?)", rows)

        if rows:
            self._do(step)

    def evict(self, *, max_bytes: int) -> int:
        gone = 0
        while self._do(_held) > max_bytes:
            removed = self._do(lambda connection: _forget_oldest(connection, max_bytes))
            if not removed:
                break
            gone += removed
        return gone

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _do(self, step: Callable[[Any], T]) -> T:
        with self._lock:
            try:
                with self._named_errors():
                    return step(self._opened())
            except _DamagedError as exc:
                self._begin_anew(exc)
                with self._named_errors():
                    return step(self._opened())

    def _opened(self) -> Any:
        if self._connection is None:
            connection = sqlite.connect(self._path)
            try:
                _make(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _begin_anew(self, why: Exception) -> None:
        aside = self._path.with_suffix(".damaged")
        log.warning("the cache is damaged and was moved aside; a new one is begun", aside=str(aside), error=str(why))
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self._path}{ending}").unlink()
        with suppress(FileNotFoundError):  # another process may have done it
            os.replace(self._path, aside)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        module = sqlite.driver()
        try:
            yield
        except module.OperationalError as exc:
            raise StoreUnavailable(f"the cache {self._path} does not answer: {exc}") from exc
        except module.DatabaseError as exc:
            raise _DamagedError(str(exc)) from exc


class _DamagedError(Exception):
    """The file is not a database any more."""


def _make(connection: Any) -> None:
    if connection.execute(_THERE).fetchone():
        return
    with sqlite.writing(connection):
        if connection.execute(_THERE).fetchone():  # another process was faster
            return
        for statement in _TABLES:
            connection.execute(statement)


def _held(connection: Any) -> int:
    [(held,)] = connection.execute("SELECT bytes FROM held").fetchall()
    return int(held)


def _forget_oldest(connection: Any, max_bytes: int) -> int:
    """Forget as many of the oldest as are too much, in one short step."""
    with sqlite.writing(connection):
        excess = _held(connection) - max_bytes
        last = gone = 0
        oldest = connection.execute("SELECT id, length(value) FROM result ORDER BY id LIMIT ?", (_EVICTED_AT_ONCE,))
        for row, size in oldest.fetchall():
            if excess <= 0:
                break
            last, gone, excess = row, gone + 1, excess - size
        connection.execute("DELETE FROM result WHERE id <= ?", (last,))
    return gone
