"""The brokers that rounds are played on, and what can be done to each as a whole. All methods block."""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self

from fault.engine.plan import HOST, REDIS, SERVER, Fault
from gristmill.base.sqlite import driver
from gristmill.testing.servers import MariaServer, PostgresServer, RedisServer

PATIENCE = 60.0  # seconds to get hold of a busy database


class Arena(ABC):
    """A broker that lives as long as the context."""

    shared_clock = True  # the workers' host has the broker's clock

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *exc: object) -> None: ...

    @abstractmethod
    def url(self, port: int | None = None) -> str:
        """Where workers find it; with ``port``, behind a proxy that listens there."""

    @property
    def port(self) -> int:
        """Where it listens; 0: no network between."""
        return 0

    @abstractmethod
    def pause(self) -> None:
        """It answers nobody until ``resume``."""

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def forget(self) -> None:
        """Lose all it knows, at once."""

    def restart(self) -> None:
        """End it at once and start it again with its data."""
        raise NotImplementedError

    def duplicate(self) -> int:
        """Have everything that waits delivered once more. Returns how much that is."""
        raise NotImplementedError


class SqliteArena(Arena):
    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="gristmill-fault-"))
        self._holding: Any = None
        return self

    def __exit__(self, *exc: object) -> None:
        self.resume()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, port: int | None = None) -> str:
        return f"sqlite:///{self._folder / 'broker.db'}"

    def pause(self) -> None:
        self._holding = self._connect()
        self._holding.execute("BEGIN IMMEDIATE")

    def resume(self) -> None:
        if self._holding is not None:
            self._holding.execute("ROLLBACK")
            self._holding.close()
            self._holding = None

    def forget(self) -> None:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            made = connection.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
            ).fetchall()
            triggers = {
                name: sql for kind, name, sql in made if kind == "trigger"
            }  # they keep running tasks from going
            for name in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            for name in (name for kind, name, _ in made if kind == "table"):
                connection.execute(f"DELETE FROM {name}")
            for sql in triggers.values():
                connection.execute(sql)
            connection.execute("COMMIT")

    def _connect(self) -> Any:
        """For use by one thread at a time. By the same library as the broker's: two would undo each other's locks."""
        return driver().connect(
            self._folder / "broker.db", timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )


class ServerArena(Arena):
    """A real server: it can be paused, killed, started again with its data or without, and cut off."""

    shared_clock = False

    def __init__(self, server: RedisServer | PostgresServer | MariaServer) -> None:
        self._server = server

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.close()

    def url(self, port: int | None = None) -> str:
        match self._server:
            case RedisServer():
                return self._server.url_for(port=port)
            case PostgresServer():
                return self._server.url_for("postgres", port=port)
            case MariaServer():
                return self._server.url_for("gristmill", port=port)

    @property
    def port(self) -> int:
        return self._server.port

    def pause(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()

    def forget(self) -> None:
        """A database keeps its tables; a Redis is killed and comes back with nothing."""
        match self._server:
            case RedisServer():
                self._server.restart(keep_data=False, kill=True)
            case PostgresServer() | MariaServer():
                self._server.empty()

    def restart(self) -> None:
        self._server.restart(kill=True)

    def duplicate(self) -> int:
        server, copied = self._server, 0
        assert isinstance(server, RedisServer)
        for key in server.command("KEYS", "*"):
            if server.command("TYPE", key) == b"stream":
                for _, fields in server.command("XRANGE", key, "-", "+"):
                    server.command("XADD", key, "*", *fields)
                    copied += 1
        return copied


def _redis(kind: str) -> Arena:
    return ServerArena(RedisServer(kind, appendonly=True))


_REDIS = ("valkey-9", "valkey-8", "redis-8", "redis-7")
ARENAS: dict[str, Callable[[], Arena]] = {
    "sqlite": SqliteArena,
    **{kind: partial(_redis, kind) for kind in _REDIS},
    "postgres": lambda: ServerArena(PostgresServer()),
    "mariadb": lambda: ServerArena(MariaServer()),
}
FAULTS: dict[str, list[Fault]] = {
    "sqlite": HOST,
    **{kind: [*HOST, *SERVER, *REDIS] for kind in _REDIS},
    "postgres": [*HOST, *SERVER],
    "mariadb": [*HOST, *SERVER],
}
