"""Results of stages in a SQLite file of their own: losing it costs time, never truth."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gristmill.base import sqlite
from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import StoreUnavailable
from gristmill.base.logs import get_logger
from gristmill.ports.cache import StageCache

T = TypeVar("T")
log = get_logger(__name__)

_TABLE = """
CREATE TABLE IF NOT EXISTS entry (
    kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, at REAL NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID
"""
_NAMES_AT_ONCE = 500
_EVICTED_AT_ONCE = 1000


class SqlCache(StageCache):
    """A file that is damaged is moved aside and a new one begun."""

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._connection: Any = None

    def get_many(self, kind: str, keys: Sequence[str]) -> dict[str, bytes]:
        def step(connection: Any) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for first in range(0, len(keys), _NAMES_AT_ONCE):
                batch = keys[first : first + _NAMES_AT_ONCE]
                marks = ",".join("?" * len(batch))
                query = f"SELECT key, value FROM entry WHERE kind = ? AND key IN ({marks})"  # noqa: S608  only marks
                found.update(connection.execute(query, (kind, *batch)).fetchall())
            return found

        return self._do(step)

    def put_many(self, kind: str, values: Mapping[str, bytes]) -> None:
        now = self._clock.now()
        rows = [(kind, key, value, now) for key, value in values.items()]

        def step(connection: Any) -> None:
            with sqlite.writing(connection):
                connection.executemany("INSERT OR IGNORE INTO entry (kind, key, value, at) VALUES (?, ?, ?, ?)", rows)

        if rows:
            self._do(step)

    def evict(self, *, max_bytes: int) -> int:
        gone = 0
        while self._kept() > max_bytes:
            removed = self._do(_forget_oldest)
            if not removed:
                break
            gone += removed
        return gone

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _kept(self) -> int:
        return self._do(lambda c: int(c.execute("SELECT coalesce(sum(length(value)), 0) FROM entry").fetchone()[0]))

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
            self._connection = sqlite.connect(self._path)
            self._connection.execute(_TABLE)
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


def _forget_oldest(connection: Any) -> int:
    with sqlite.writing(connection):
        done = connection.execute(
            "DELETE FROM entry WHERE (kind, key) IN (SELECT kind, key FROM entry ORDER BY at LIMIT ?)",
            (_EVICTED_AT_ONCE,),
        )
    return int(done.rowcount)
