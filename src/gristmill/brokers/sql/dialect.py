"""What differs between databases for the SQL broker: opening, locking a claim, telling that something changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gristmill.base import sqlite
from gristmill.base.errors import BrokerUnavailable, SettingsError

# Final states never change and running needs a token: kept by the store itself, not by Python only (P2, P3).
_SQLITE_GUARDS = (
    """
    CREATE TRIGGER IF NOT EXISTS task_final BEFORE UPDATE OF state ON task
    WHEN OLD.state IN ('succeeded', 'failed', 'cancelled', 'dead') AND NEW.state <> OLD.state
    BEGIN SELECT RAISE(ABORT, 'a final state does not change'); END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS task_claim BEFORE UPDATE OF state ON task
    WHEN OLD.state = 'queued' AND NEW.state = 'running' AND NEW.token <= OLD.token
    BEGIN SELECT RAISE(ABORT, 'a claim needs a new token'); END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS task_step BEFORE UPDATE OF state ON task
    WHEN OLD.state = 'queued' AND NEW.state IN ('succeeded', 'failed')
    BEGIN SELECT RAISE(ABORT, 'a task that nobody runs cannot end'); END
    """,
)


class SqliteDialect:
    """SQLite: one writer at a time, so a claim needs no row locks; changes show in ``PRAGMA data_version``."""

    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:":
            raise SettingsError("engine.broker: the SQLite broker needs a file: sqlite:///path/to/file")
        self.where = url.database
        self._path = Path(url.database)

    def engine(self) -> sa.Engine:
        """Connections whose transactions take the write lock when they begin."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise BrokerUnavailable(f"the broker's folder {self._path.parent} cannot be made: {exc}") from exc
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
        for guard in _SQLITE_GUARDS:
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
