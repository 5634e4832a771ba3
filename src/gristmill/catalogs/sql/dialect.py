"""What differs between databases for the catalog: opening, its clock, its locks, and writing a row that may be there."""

from __future__ import annotations

import hashlib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql as mysql_sql
from sqlalchemy.dialects import postgresql as postgresql_sql
from sqlalchemy.dialects import sqlite as sqlite_sql

from gristmill.base import sqlite
from gristmill.base.errors import PluginError, SettingsError, StoreUnavailable
from gristmill.catalogs.sql import trouble
from gristmill.catalogs.sql.trouble import Trouble

MOST_CONNECTIONS = 20  # of a process, where the URL does not say
STALE = 300  # seconds after which a connection is replaced, where the URL does not say

_CONNECT = 10  # seconds to reach a server
_ANSWER = 60  # seconds for an answer; a server that is there but silent is no server
_LOCK_WAIT = 30  # seconds for a row lock
_IDLE = 15  # seconds that a transaction may do nothing: one of a frozen process is undone, and its locks are free
_OPENING = 7_236_741_885  # PostgreSQL's lock of whoever makes or migrates the tables


class Dialect(ABC):
    """One kind of database."""

    patience = 0.0  # seconds for which a step that met no server is repeated, where nobody says otherwise

    @property
    @abstractmethod
    def place(self) -> str:
        """The database as it may be shown."""

    @abstractmethod
    def engine(self, *, writes: bool) -> sa.Engine:
        """Connections for writers, or for readers."""

    @abstractmethod
    def opening(self, connection: sa.Connection) -> Any:
        """A context in which no other process makes or changes tables."""

    def now(self, connection: sa.Connection) -> float | None:
        """The database's own clock; None where it has none."""
        return None

    def has_table(self, connection: sa.Connection, name: str) -> bool:
        """Whether a table is there."""
        return sa.inspect(connection).has_table(name)

    @abstractmethod
    def trouble(self, error: sa.exc.DBAPIError) -> Trouble:
        """What an error means."""


class SqliteDialect(Dialect):
    """SQLite: one writer at a time, who takes the lock when its transaction begins; readers take none."""

    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:":
            raise SettingsError("stores.catalog: the SQLite catalog needs a file: sqlite:///path/to/file")
        self._path = Path(url.database)

    @property
    def place(self) -> str:
        return str(self._path)

    def engine(self, *, writes: bool) -> sa.Engine:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"the catalog's folder {self._path.parent} cannot be made: {exc}") from exc
        engine = sa.create_engine(
            f"sqlite:///{self._path}",
            module=sqlite.driver(),
            poolclass=sa.QueuePool,
            pool_size=2,
            connect_args={"check_same_thread": False, "timeout": 30.0},
            isolation_level=None if writes else "AUTOCOMMIT",
        )
        sa.event.listen(engine, "connect", _prepare)
        if writes:
            sa.event.listen(engine, "begin", _begin)
        return engine

    @contextmanager
    def opening(self, connection: sa.Connection) -> Iterator[None]:
        yield  # the transaction holds the write lock

    def has_table(self, connection: sa.Connection, name: str) -> bool:
        found = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
        return found.first() is not None

    def trouble(self, error: sa.exc.DBAPIError) -> Trouble:
        return trouble.of_sqlite(error)


class ServerDialect(Dialect):
    """A server: rows are locked where a step needs it, each statement sees what is committed, the clock is the server's."""

    patience = 5.0
    scheme = ""  # SQLAlchemy's words for this kind of server and its driver
    driver = ""
    extra = ""
    _greeting = ""  # for a fresh connection
    _now = ""

    def __init__(self, url: sa.URL) -> None:
        _, plus, driver = url.drivername.partition("+")
        options = dict(url.query)
        self._most = _number(options.pop("max_connections", MOST_CONNECTIONS), "max_connections")
        self._stale = _number(options.pop("stale_timeout", STALE), "stale_timeout")
        self._own_driver = not plus or driver == self.driver
        self._arguments = self._driver_arguments(options) if self._own_driver else {}
        named = url.set(drivername=f"{self.scheme}+{driver or self.driver}", query=options)
        self._url = self._completed(named) if self._own_driver else named

    @abstractmethod
    def _driver_arguments(self, options: dict[str, Any]) -> dict[str, Any]:
        """What our driver is told on connecting; options of the URL that it does not know are taken out."""

    def _completed(self, url: sa.URL) -> sa.URL:
        return url

    @property
    def place(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def engine(self, *, writes: bool) -> sa.Engine:
        kept = min(4, self._most)
        try:
            engine = sa.create_engine(
                self._url,
                connect_args=self._arguments,
                isolation_level="READ COMMITTED" if writes else "AUTOCOMMIT",
                pool_size=kept,
                max_overflow=max(self._most - kept, 0),
                pool_recycle=self._stale,
                pool_timeout=_ANSWER,
            )
        except ModuleNotFoundError as exc:
            hint = f"pip install 'gristmill[{self.extra}]'" if self._own_driver else f"install {exc.name}"
            raise PluginError(f"stores.catalog: the driver {exc.name} is not installed; {hint}") from exc
        sa.event.listen(engine, "connect", self._greet)
        sa.event.listen(engine, "handle_error", self._tell_lost)
        return engine

    def now(self, connection: sa.Connection) -> float:
        return float(connection.exec_driver_sql(self._now).scalar_one())

    def _greet(self, connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(self._greeting)
        cursor.close()
        connection.commit()

    def _tell_lost(self, context: sa.engine.ExceptionContext) -> None:
        """SQLAlchemy's own notion of a lost connection leaves out a server that says goodbye."""
        error = context.sqlalchemy_exception
        if isinstance(error, sa.exc.DBAPIError) and self.trouble(error) is Trouble.LOST:
            context.is_disconnect = True


class PostgresDialect(ServerDialect):
    """PostgreSQL."""

    scheme = "postgresql"
    driver = "pg8000"
    extra = "postgres"
    _greeting = (
        f"SELECT set_config('lock_timeout', '{_LOCK_WAIT}s', false),"
        f" set_config('idle_in_transaction_session_timeout', '{_IDLE}s', false)"
    )
    _now = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"

    def _driver_arguments(self, options: dict[str, Any]) -> dict[str, Any]:
        """``sslmode`` and ``sslrootcert`` as PostgreSQL's own programs mean them."""
        mode, authority = options.pop("sslmode", "prefer"), options.pop("sslrootcert", None)
        arguments: dict[str, Any] = {"timeout": _ANSWER, "application_name": "gristmill"}
        if mode in ("require", "verify-ca", "verify-full"):
            try:
                context = ssl.create_default_context(cafile=authority)
            except OSError as exc:
                raise SettingsError(f"stores.catalog: sslrootcert={authority}: {exc.strerror or exc}") from exc
            context.check_hostname = mode == "verify-full"
            if mode == "require" and not authority:
                context.verify_mode = ssl.CERT_NONE
            arguments["ssl_context"] = context
        elif mode == "disable":
            arguments["ssl_context"] = False
        elif mode != "prefer":  # which is what the driver does by itself
            raise SettingsError(f"stores.catalog: sslmode={mode}: disable, prefer, require, verify-ca or verify-full")
        return arguments

    @contextmanager
    def opening(self, connection: sa.Connection) -> Iterator[None]:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_OPENING})")
        yield

    def trouble(self, error: sa.exc.DBAPIError) -> Trouble:
        return trouble.of_postgresql(error)


class MysqlDialect(ServerDialect):
    """MariaDB and MySQL. DDL ends a transaction there, so every step of making tables may be repeated."""

    scheme = "mysql"
    driver = "pymysql"
    extra = "mariadb"
    # What stands in /*M!...*/ is read by MariaDB alone.
    _greeting = (
        f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT} /*M!100300 , idle_transaction_timeout = {_IDLE} */"
    )
    _now = "SELECT UNIX_TIMESTAMP(SYSDATE(6))"

    def _driver_arguments(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"connect_timeout": _CONNECT, "read_timeout": _ANSWER, "write_timeout": _ANSWER}

    def _completed(self, url: sa.URL) -> sa.URL:
        return url.update_query_dict({"charset": "utf8mb4"})

    @contextmanager
    def opening(self, connection: sa.Connection) -> Iterator[None]:
        database = str(connection.exec_driver_sql("SELECT DATABASE()").scalar_one())
        name = f"gristmill:{hashlib.sha256(database.encode()).hexdigest()[:32]}"  # a lock is the server's, not a database's
        got = connection.execute(sa.select(sa.func.get_lock(name, _ANSWER))).scalar_one()
        if not got:
            raise StoreUnavailable(f"the catalog {self.place} is being made or migrated by another process")
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(name)))

    def trouble(self, error: sa.exc.DBAPIError) -> Trouble:
        return trouble.of_mysql(error)


_DIALECTS: dict[str, type[SqliteDialect | PostgresDialect | MysqlDialect]] = {
    "sqlite": SqliteDialect,
    "postgres": PostgresDialect,
    "postgresql": PostgresDialect,
    "mysql": MysqlDialect,
    "mariadb": MysqlDialect,
}


def dialect_for(url: str) -> Dialect:
    """The dialect of a database URL."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise SettingsError(
            "stores.catalog: this is no URL of a database: postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    kind = parsed.drivername.partition("+")[0]
    if kind not in _DIALECTS:
        raise SettingsError(f"stores.catalog: {kind} is no catalog; known: {', '.join(sorted(_DIALECTS))}")
    if kind != "sqlite" and not parsed.database:
        raise SettingsError(f"stores.catalog: the URL names no database: {kind}://USER:PASSWORD@HOST/NAME")
    return _DIALECTS[kind](parsed)


_INSERT: dict[str, Any] = {
    "sqlite": sqlite_sql.insert,
    "postgresql": postgresql_sql.insert,
    "mysql": mysql_sql.insert,
}


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows, or overwrite those whose primary key is there."""
    statement = _INSERT[connection.dialect.name](table).values(list(rows))
    keys = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name not in keys]
    if connection.dialect.name == "mysql":
        fresh = {name: statement.inserted[name] for name in others}
        connection.execute(statement.on_duplicate_key_update(**fresh))
        return
    fresh = {name: statement.excluded[name] for name in others}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fresh))


def insert_missing(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> None:
    """Insert the row, unless one with the same key is there or is just being written."""
    statement = _INSERT[connection.dialect.name](table).values(**values)
    if connection.dialect.name == "mysql":
        key = next(iter(table.primary_key))
        connection.execute(statement.on_duplicate_key_update({key.name: key}))
        return
    connection.execute(statement.on_conflict_do_nothing())


def _number(given: Any, name: str) -> int:
    try:
        return max(int(given), 1)
    except (TypeError, ValueError):
        raise SettingsError(f"stores.catalog: {name} must be a number") from None


def _prepare(connection: Any, _record: object) -> None:
    sqlite.prepare(connection)


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
