"""One of each server for a test process, started when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self, TypeAlias, TypeVar, cast

import pytest

from gristmill.testing.servers import (
    REDIS_KINDS,
    MariaServer,
    PostgresServer,
    RedisCluster,
    RedisSentinel,
    RedisServer,
    ServerMissing,
)

AnyServer: TypeAlias = RedisServer | RedisCluster | RedisSentinel | PostgresServer | MariaServer
_Kind = TypeVar("_Kind")

_MAKERS: dict[str, Callable[[], AnyServer]] = {
    **{kind: partial(RedisServer, kind) for kind in REDIS_KINDS},
    "cluster": RedisCluster,
    "sentinel": RedisSentinel,
    "postgres": PostgresServer,
    "mariadb": MariaServer,
}

# What is added to the URL of a catalog: a connection that may come to use TLS reads all the authorities of this machine.
PLAIN = {"postgres": "?sslmode=disable", "mariadb": "?ssl_disabled=true"}


class ServerPool:
    """Servers by name: ``valkey-9``, ..., ``cluster``, ``sentinel``, ``postgres``, ``mariadb``."""

    def __init__(self, *, must_have: bool) -> None:
        self._must_have = must_have
        self._servers: dict[str, AnyServer] = {}
        self._stack = ExitStack()

    def fresh(self, name: str) -> str:
        """The URL of this server, started if need be, with no data in it."""
        server = self._get(name)
        match server:
            case RedisServer():
                server.command("FLUSHALL")
            case RedisCluster():
                for node in server.nodes:
                    node.command("FLUSHALL")
            case RedisSentinel():
                server.master.command("FLUSHALL")
            case _:
                server.empty()
        return server.url

    def url(self, name: str) -> str:
        """The URL of this server, with what is in it."""
        return self._get(name).url

    def database(self, name: str, database: str) -> str:
        """A new, empty database of ``postgres`` or ``mariadb``, without even a table; its URL."""
        server = self._get(name)
        assert isinstance(server, PostgresServer | MariaServer)
        server.drop_database(database)
        return server.create_database(database)

    def redis(self, kind: str = "valkey-9") -> RedisServer:
        """This server itself."""
        return cast("RedisServer", self._get(kind))

    def cluster(self) -> RedisCluster:
        """Three nodes of Valkey 9."""
        return cast("RedisCluster", self._get("cluster"))

    def sentinel(self) -> RedisSentinel:
        """Valkey 9 under Sentinel."""
        return cast("RedisSentinel", self._get("sentinel"))

    def postgres(self) -> PostgresServer:
        """PostgreSQL."""
        return cast("PostgresServer", self._get("postgres"))

    def mariadb(self) -> MariaServer:
        """MariaDB."""
        return cast("MariaServer", self._get("mariadb"))

    def make(self, maker: Callable[[], _Kind]) -> _Kind:
        """What this makes, or the skip (in CI: the failure) that says what is not here."""
        try:
            return maker()
        except ServerMissing as missing:
            if self._must_have:
                pytest.fail(f"CI has all servers: {missing}")
            pytest.skip(str(missing))

    def _get(self, name: str) -> AnyServer:
        server = self._servers.get(name)
        if server is not None and not server.running:  # a test ended it
            server.close()
            del self._servers[name]
            server = None
        if server is None:
            server = self._servers[name] = self.make(_MAKERS[name])
            self._stack.callback(server.close)
            server.start()
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
