"""The SQL broker in PostgreSQL."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import cache
from typing import Any

import sqlalchemy as sa

from gristmill.base.errors import SettingsError
from gristmill.brokers.sql import guards
from gristmill.brokers.sql.dialect import (
    CONNECT,
    IDLE_IN_TRANSACTION,
    LOCK_WAIT,
    SOCKET,
    STATEMENT,
    Counter,
    Verdict,
    cause_of,
    driver,
    where,
)
from gristmill.brokers.sql.onetrip import connection_class
from gristmill.brokers.sql.polling import NewNotices
from gristmill.brokers.sql.presence import Nobody
from gristmill.brokers.sql.rows import mark_writes

CHANNEL = "gristmill_broker"

# SQLSTATEs by their beginnings. 23505: another has published the same meanwhile; when it is repeated, it is known.
_AGAIN = ("40001", "40P01", "55P03", "57014", "23505")
_AWAY = ("08", "25006", "25P03", "25P04", "28", "3D", "53", "57P", "58", "F0", "XX")
_MISSING = ("42P01", "3F000")


class PostgresDialect:
    """PostgreSQL by pg8000; by psycopg where the URL says so and it is installed. LISTEN and NOTIFY."""

    server = True
    listens = True
    clock = "SELECT extract(epoch FROM clock_timestamp())::double precision"

    def __init__(self, url: sa.URL) -> None:
        self._driver = url.get_driver_name() if "+" in url.drivername else "pg8000"
        self._dbapi = driver(self._driver, extra="postgres", scheme="postgresql")
        self._url, self._arguments = url.set(drivername=f"postgresql+{self._driver}"), self._argue(url)
        if self._driver == "pg8000":
            self._url = self._url.difference_update_query(["sslmode", "sslrootcert"])
        self.where = where(url)
        self.errors: tuple[type[Exception], ...] = (self._dbapi.Error, OSError)

    def presence(self) -> Nobody:
        return Nobody()

    @cache  # noqa: B019  one for all brokers of a process, so that statements are compiled once
    def engine(self) -> sa.Engine:
        engine = sa.create_engine(
            self._url, poolclass=sa.NullPool, isolation_level="READ COMMITTED", connect_args=self._arguments
        )
        engine.dialect.use_insertmanyvalues_wo_returning = True  # a batch is one statement
        engine.dialect.do_close = self.hang_up  # type: ignore[assignment]  # SQLAlchemy logs a trace where it fails
        if self._driver == "pg8000":
            sa.event.listen(engine, "do_connect", _connect)
        sa.event.listen(engine, "connect", self._set_up)
        sa.event.listen(engine, "before_cursor_execute", mark_writes)
        return engine

    def counter(self) -> Counter:
        return NewNotices(self, self.engine())

    def listener(self) -> Any:
        database = "database" if self._driver == "pg8000" else "dbname"
        place = self._url.translate_connect_args(username="user", database=database)
        connection = self._dbapi.connect(**place, **self._arguments)
        connection.autocommit = True
        if self._driver == "psycopg":
            connection.add_notify_handler(_ignore)  # or it would keep them
        connection.cursor().execute(f"LISTEN {CHANNEL}")
        return connection

    def hang_up(self, connection: Any) -> None:
        """Close a connection that may be broken."""
        stream = getattr(connection, "_sock", None)  # pg8000 leaves it to the collector, which complains
        with suppress(*self.errors):
            connection.close()
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.close()

    def verdict(self, exc: Exception) -> Verdict:
        cause = cause_of(exc)
        if not isinstance(cause, self.errors):
            return Verdict.OTHER
        state = self._state(cause)
        if state.startswith(_AGAIN):
            return Verdict.AGAIN
        if state in _MISSING:
            return Verdict.MISSING
        if not state or state.startswith(_AWAY):
            return Verdict.GONE
        return Verdict.REFUSED

    def tell(self, c: sa.Connection) -> None:
        c.exec_driver_sql(f"NOTIFY {CHANNEL}")

    def exclusive(self, c: sa.Connection) -> None:
        c.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('gristmill broker'))")

    def shared(self, c: sa.Connection) -> None:
        """Nothing has to be done: the lock ended with the transaction."""

    def guard(self, c: sa.Connection) -> None:
        for statement in guards.postgresql():
            c.exec_driver_sql(statement)

    def session(self, c: sa.Connection) -> Any:
        own = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        return tuple(c.exec_driver_sql(own).one())

    def end_session(self, c: sa.Connection, session: Any) -> None:
        """By its number and its beginning: numbers are given again."""
        same = "pid = %s AND backend_start = %s"
        c.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {same}", session)  # noqa: S608

    def _set_up(self, connection: Any, _record: object) -> None:
        limits = {
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
            "lock_timeout": LOCK_WAIT,
            "statement_timeout": STATEMENT,
        }
        cursor = connection.cursor()
        cursor.execute(
            "SELECT " + ", ".join(f"set_config('{name}', '{most}s', false)" for name, most in limits.items())
        )
        cursor.close()
        connection.commit()

    def _state(self, cause: Exception) -> str:
        if self._driver != "pg8000":
            return getattr(cause, "sqlstate", None) or ""
        told = cause.args[0] if cause.args else None
        return str(told.get("C", "")) if isinstance(told, dict) else ""

    def _argue(self, url: sa.URL) -> dict[str, Any]:
        """What the driver is given beside the parts of the URL."""
        if self._driver != "pg8000":
            return {"connect_timeout": CONNECT, "application_name": "gristmill"}
        return {"timeout": SOCKET, "application_name": "gristmill", "ssl_context": _tls(url)}


def _connect(_dialect: object, _record: object, arguments: Any, named: Any) -> Any:
    return connection_class()(*arguments, **named)


def _ignore(_: object) -> None:
    """That it came is all that matters."""


def _tls(url: sa.URL) -> ssl.SSLContext | bool | None:
    """What pg8000 is told for ``sslmode`` and ``sslrootcert``, as PostgreSQL's own programs mean them; none unless asked."""
    mode, authority = (url.query.get(name) for name in ("sslmode", "sslrootcert"))
    if mode in (None, "disable"):
        return False
    if mode in ("allow", "prefer"):
        return None
    if mode not in ("require", "verify-ca", "verify-full"):
        raise SettingsError(f"engine.broker: sslmode={mode}: disable, prefer, require, verify-ca or verify-full")
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    context.check_hostname = mode == "verify-full"
    if mode == "require" and not authority:
        context.verify_mode = ssl.CERT_NONE
    return context
