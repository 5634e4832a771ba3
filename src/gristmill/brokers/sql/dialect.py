"""What differs between databases for the SQL broker: opening, errors, the clock, seeing what others did."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol, cast

import sqlalchemy as sa

from gristmill.base.errors import SettingsError
from gristmill.brokers.sql.presence import Nobody, Presence

# Seconds on a server. Who is stopped in the middle of a transaction loses it before others give up waiting for it, and
# these do so before they take the connection for dead.
IDLE_IN_TRANSACTION, LOCK_WAIT, STATEMENT, SOCKET, CONNECT = 8, 12, 20, 25, 10


class Verdict(Enum):
    """What an error means."""

    AGAIN = "again"  # others were in the way: the same transaction may succeed when it is repeated
    GONE = "gone"  # the server cannot be reached, or does not serve now
    MISSING = "missing"  # the tables are not there, or not any more
    REFUSED = "refused"  # it will never take this
    OTHER = "other"  # no error of the database


class Counter(Protocol):
    """A number that changes whenever others have committed what somebody here may wait for."""

    def __call__(self) -> int: ...

    def close(self) -> None:
        """Give the connection back."""


class Dialect(Protocol):
    """A database as the broker needs it."""

    where: str  # for messages: no password
    errors: tuple[type[Exception], ...]  # what its driver raises
    server: bool  # several hosts write at the same time, over a network that may break
    listens: bool  # it tells of changes by itself
    clock: str  # the statement that asks for its time, in seconds since the epoch

    def presence(self) -> Presence | Nobody:
        """By which processes know of each other's end."""

    def engine(self) -> sa.Engine:
        """Connections that are set up for the broker."""

    def counter(self) -> Counter:
        """What is looked at for changes, with a connection of its own."""

    def listener(self) -> Any:
        """A raw connection that is told of changes (see ``listen``)."""

    def hang_up(self, connection: Any) -> None:
        """Close a raw connection that may be broken."""

    def verdict(self, exc: Exception) -> Verdict:
        """What an error means."""

    def tell(self, c: sa.Connection) -> None:
        """In a transaction: have the listeners told when it is committed."""

    def exclusive(self, c: sa.Connection) -> None:
        """In a transaction: let only one at a time make or change tables."""

    def shared(self, c: sa.Connection) -> None:
        """After that transaction: let the next one."""

    def guard(self, c: sa.Connection) -> None:
        """Have the database keep the table of legal steps."""

    def session(self, c: sa.Connection) -> Any:
        """What names this connection's session for ``end_session``."""

    def end_session(self, c: sa.Connection, session: Any) -> None:
        """End a session whose connection is lost, so that it holds no locks any more."""


_DIALECTS = {
    "sqlite": "gristmill.brokers.sql.sqlite:SqliteDialect",
    "postgresql": "gristmill.brokers.sql.postgresql:PostgresDialect",
    "mysql": "gristmill.brokers.sql.mysql:MysqlDialect",
    "mariadb": "gristmill.brokers.sql.mysql:MysqlDialect",
}


@lru_cache(maxsize=16)
def dialect_for(url: str) -> Dialect:
    """The dialect of a database URL."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise SettingsError("engine.broker: this is not the URL of a database") from None
    known = _DIALECTS.get(parsed.get_backend_name())
    if known is None:
        raise SettingsError(
            f"engine.broker: {parsed.get_backend_name()} is no database that is known; use one of: {', '.join(_DIALECTS)}"
        )
    module, _, name = known.partition(":")
    return cast("Dialect", getattr(import_module(module), name)(parsed))


def cause_of(exc: Exception) -> Exception:
    """The driver's own error."""
    orig = getattr(exc, "orig", None)
    return orig if isinstance(orig, Exception) else exc


def where(url: sa.URL) -> str:
    """A server's database for messages."""
    return sa.URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database).render_as_string()


def driver(module: str, *, extra: str, scheme: str) -> Any:
    """A DB-API module that may not be installed."""
    try:
        return import_module(module)
    except ImportError as exc:
        raise SettingsError(
            f"engine.broker: {scheme}:// needs {module}, which is not installed: pip install 'gristmill[{extra}]'"
        ) from exc
