"""The SQL broker in a SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gristmill.base import sqlite
from gristmill.base.errors import SettingsError
from gristmill.brokers.sql import guards
from gristmill.brokers.sql.dialect import Counter, Verdict, cause_of
from gristmill.brokers.sql.presence import Presence


class SqliteDialect:
    """SQLite: one writer at a time, so a claim needs no row locks; changes show in ``PRAGMA data_version``."""

    server = False
    listens = False
    clock = ""

    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:":
            raise SettingsError("engine.broker: the SQLite broker needs a file: sqlite:///path/to/file")
        self.where = url.database
        self.errors: tuple[type[Exception], ...] = (sqlite.driver().Error, OSError)
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

    def hang_up(self, connection: Any) -> None:
        connection.close()

    def verdict(self, exc: Exception) -> Verdict:
        cause = cause_of(exc)
        if "no such table" in str(cause):
            return Verdict.MISSING
        refused = isinstance(exc, sa.exc.IntegrityError | sa.exc.DataError | sa.exc.ProgrammingError)
        if refused or isinstance(exc, sa.exc.NotSupportedError):
            return Verdict.REFUSED
        return Verdict.GONE if isinstance(cause, self.errors) else Verdict.OTHER

    def tell(self, c: sa.Connection) -> None:
        """Nothing has to be done: the counter shows it."""

    def exclusive(self, c: sa.Connection) -> None:
        """Nothing has to be done: its transactions are."""

    def shared(self, c: sa.Connection) -> None:
        """Nothing has to be done."""

    def guard(self, c: sa.Connection) -> None:
        for trigger in guards.sqlite():
            c.exec_driver_sql(trigger)

    def session(self, c: sa.Connection) -> Any:
        return None

    def end_session(self, c: sa.Connection, session: Any) -> None:
        """Nothing has to be done: the file's locks end with the process."""

    def listener(self) -> Any:
        raise NotImplementedError("it tells nobody; look at the counter")

    def counter(self) -> Counter:
        return _DataVersion(self._path)


class _DataVersion:
    def __init__(self, path: Path) -> None:
        self._connection = sqlite.connect(path)

    def __call__(self) -> int:
        """A number that changes whenever another connection has committed."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        self._connection.close()


def _prepare(connection: Any, _record: object) -> None:
    sqlite.prepare(connection)


def _begin(connection: sa.Connection) -> None:
    """Writers take the lock when they begin; a reader in autocommit takes none at all."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
