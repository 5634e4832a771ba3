"""What differs between databases for the SQL broker: opening, locking a claim, telling that something changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gristmill.base import sqlite
from gristmill.base.errors import SettingsError
from gristmill.brokers.sql.presence import Presence
from gristmill.brokers.sql.tables import task
from gristmill.engine.state import FINAL, LEGAL, TaskState


def _guards() -> Iterator[str]:
    """Triggers: the store itself keeps the table of legal steps (P2, P3), whatever writes to it."""
    for state in TaskState:
        steps = ", ".join(f"'{other}'" for other in sorted({state, *LEGAL[state]}))
        yield f"""
            CREATE TRIGGER IF NOT EXISTS task_from_{state} BEFORE UPDATE OF state ON task
            WHEN OLD.state = '{state}' AND NEW.state NOT IN ({steps})
            BEGIN SELECT RAISE(ABORT, 'no step of a task'); END"""
    final = ", ".join(f"'{state}'" for state in sorted(FINAL))
    kept = ", ".join(column.name for column in task.columns if column.name != "key")  # a replay moves the key
    yield f"""
        CREATE TRIGGER IF NOT EXISTS task_ended_stays BEFORE UPDATE OF {kept} ON task
        WHEN OLD.state IN ({final}) BEGIN SELECT RAISE(ABORT, 'the task has ended'); END"""
    yield f"""
        CREATE TRIGGER IF NOT EXISTS task_is_kept BEFORE DELETE ON task
        WHEN OLD.state NOT IN ({final}) BEGIN SELECT RAISE(ABORT, 'the task has not ended'); END"""
    yield """
        CREATE TRIGGER IF NOT EXISTS task_begins BEFORE INSERT ON task
        WHEN NEW.state <> 'queued' BEGIN SELECT RAISE(ABORT, 'a task begins queued'); END"""
    yield """
        CREATE TRIGGER IF NOT EXISTS task_claim BEFORE UPDATE OF state ON task
        WHEN OLD.state = 'queued' AND NEW.state = 'running' AND NEW.token <= OLD.token
        BEGIN SELECT RAISE(ABORT, 'a claim needs a new token'); END"""


class SqliteDialect:
    """SQLite: one writer at a time, so a claim needs no row locks; changes show in ``PRAGMA data_version``."""

    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:":
            raise SettingsError("engine.broker: the SQLite broker needs a file: sqlite:///path/to/file")
        self.where = url.database
        self.errors: tuple[type[Exception], ...] = (
            sqlite.driver().Error,
            OSError,
        )  # of connections that are not SQLAlchemy's
        self._path = Path(url.database)

    def presence(self) -> Presence:
        """By which the processes that share the file know of each other's end."""
        return Presence(Path(f"{self._path}-holders"))

    def engine(self) -> sa.Engine:
        """Connections whose transactions take the write lock when they begin."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(
            f"sqlite:///{self._path}",
            module=sqlite.driver(),
            poolclass=sa.NullPool,
            connect_args={"check_same_thread": False, "timeout": 30.0},
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def create(self, connection: sa.Connection, metadata: sa.MetaData) -> None:
        """Make what is missing; several processes may do it at once."""
        metadata.create_all(connection)
        for guard in _guards():
            connection.execute(sa.text(guard))

    def changes(self, connection: Any) -> int:
        """A number that changes whenever another connection has committed."""
        row = connection.execute("PRAGMA data_version").fetchone()
        return int(row[0])

    def watch(self) -> Any:
        """A raw connection for ``changes``."""
        return sqlite.connect(self._path)


def dialect_for(url: str) -> SqliteDialect:
    """The dialect of a database URL."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise SettingsError(
            f"engine.broker: {parsed.get_backend_name()} is not read by this release; use sqlite:///path"
        )
    return SqliteDialect(parsed)


def _prepare(connection: Any, _record: object) -> None:
    sqlite.prepare(connection)


def _begin(connection: sa.Connection) -> None:
    """Writers take the lock when they begin; a reader in autocommit takes none at all."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
