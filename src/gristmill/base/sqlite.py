"""Which SQLite we use, and how each connection to it is set up."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from gristmill.base.logs import get_logger
from gristmill.base.registry import imported

log = get_logger(__name__)

# The WAL-reset bug: two connections may corrupt a database between 3.7.0 and these releases of each line.
_FIXED_LINES = ((3, 44, 6), (3, 50, 7), (3, 51, 3))

_TRIES = 500  # of a pragma that finds the database locked
_PAUSE = 0.01  # seconds between them

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA busy_timeout=30000",
    "PRAGMA cache_size=-16384",
    "PRAGMA foreign_keys=ON",
    "PRAGMA mmap_size=0",
)


def affected(version: tuple[int, ...]) -> bool:
    """Whether this release of SQLite has the WAL-reset bug."""
    if version < (3, 7, 0) or version >= (3, 51, 3):
        return False
    return not any(version[:2] == fixed[:2] and version >= fixed for fixed in _FIXED_LINES)


@cache
def driver() -> Any:
    """The DB-API module: pysqlite3, which brings a fixed SQLite, or the standard library's where it has no wheel."""
    try:
        module: Any = importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        module = imported("sqlite3")
    if affected(module.sqlite_version_info):
        log.warning("this SQLite may corrupt a database under load; install pysqlite3", version=module.sqlite_version)
    return module


def prepare(connection: Any) -> None:
    """Set a fresh connection up: WAL, no implicit transactions, our pragmas."""
    connection.isolation_level = None
    for pragma in PRAGMAS:
        _execute(connection, pragma)


def _execute(connection: Any, pragma: str) -> None:
    """Of several that open a new file, one switches it to WAL; SQLite refuses the others at once instead of waiting."""
    for _ in range(_TRIES):
        try:
            connection.execute(pragma).close()
        except driver().OperationalError as exc:
            if "locked" not in str(exc):
                raise
            threading.Event().wait(_PAUSE)
        else:
            return
    connection.execute(pragma).close()


def connect(path: Path) -> Any:
    """A raw connection, usable from any thread (one at a time)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = driver().connect(str(path), check_same_thread=False, timeout=30.0)
    prepare(connection)
    return connection


@contextmanager
def writing(connection: Any) -> Iterator[Any]:
    """A transaction that holds the write lock from its beginning: it waits for the lock, but never fails half-way for it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
