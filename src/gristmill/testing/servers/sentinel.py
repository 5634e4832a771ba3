"""A master with replicas, and sentinels that choose another when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from gristmill.testing.servers.process import ServerFailed
from gristmill.testing.servers.redis import ADMIN, RedisServer
from gristmill.testing.servers.waiting import until

MASTER = "main"
SILENCE = 30_000  # milliseconds
MARK = "replicated"  # a key outside any namespace


class RedisSentinel:
    """One master, two replicas and three sentinels.

    They take only a long silence for a master's end: on a busy machine a short one would have them choose another master in
    the middle of a test, and what the replicas did not have yet would be lost. ``fail_over`` tells them.
    """

    def __init__(
        self, kind: str = "valkey-9", *, replicas: int = 2, sentinels: int = 3, config: Sequence[str] = ()
    ) -> None:
        self.name = f"{kind} sentinel"
        self.data = [RedisServer(kind, config=config) for _ in range(1 + replicas)]
        self.sentinels = [_Sentinel(kind) for _ in range(sentinels)]

    @property
    def url(self) -> str:
        """All sentinels, the master's name, database 0."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{MASTER}/0"

    @property
    def running(self) -> bool:
        """Whether all of them run."""
        return all(server.running for server in (*self.data, *self.sentinels))

    @property
    def master(self) -> RedisServer:
        """The server that most sentinels take for the master now."""
        ports = [self._named(one) for one in self.sentinels if one.running]
        port = max(ports, key=ports.count)
        return next(server for server in self.data if server.port == port)

    @property
    def replicas(self) -> list[RedisServer]:
        """The others."""
        return [server for server in self.data if server is not self.master]

    def start(self) -> None:
        """Start all, and return when every replica has the master's data and every sentinel knows all of them."""
        master, *replicas = self.data
        master.start()
        for server in replicas:
            server.start()
            server.command("REPLICAOF", "127.0.0.1", master.port)
        for one in self.sentinels:
            one.watch(master.port, quorum=len(self.sentinels) // 2 + 1)
            one.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when the replicas follow the master and the sentinels know all of them and each other."""
        until(self._settled, f"the {self.name} did not settle")

    def replicate(self) -> None:
        """Return when every replica has all that the master took so far.

        WAIT answers for the writes of its own connection only, and at once where there were none; so one is made first.
        """
        master = self.master
        master.command("SET", MARK, 1)
        if master.command("WAIT", len(self.data) - 1, 60_000) != len(self.data) - 1:
            raise ServerFailed(f"replicas of the {self.name} stay behind their master")

    def fail_over(self) -> RedisServer:
        """Kill the master and return the new one when it takes writes."""
        old = self.master
        old.kill()
        self.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        until(lambda: self.master is not old and _is_master(self.master), f"the {self.name} chose no other master")
        return self.master

    def switch(self) -> RedisServer:
        """Have the sentinels choose another master while the old one runs on; it becomes a replica."""
        old = self.master
        self.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        until(lambda: self.master is not old and _is_master(self.master), f"the {self.name} chose no other master")
        return self.master

    def close(self) -> None:
        """End all and remove all they had."""
        with ExitStack() as stack:
            for server in (*self.data, *self.sentinels):
                stack.callback(server.close)

    def _settled(self) -> bool:
        info = self.data[0].info("replication")
        replicas = len(self.data) - 1
        lines = [info.get(f"slave{number}", "") for number in range(replicas)]
        if not all("state=online" in line for line in lines):
            return False
        for one in self.sentinels:
            about = _pairs(one.command("SENTINEL", "MASTER", MASTER))
            others = len(self.sentinels) - 1
            if about["num-slaves"] != str(replicas) or about["num-other-sentinels"] != str(others):
                return False
            if not all(_linked(_pairs(entry)) for entry in one.command("SENTINEL", "SENTINELS", MASTER)):
                return False
        return True

    def _named(self, sentinel: RedisServer) -> int:
        host = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        if host is None:
            raise ServerFailed(f"a sentinel does not know {MASTER}")
        return int(host[1])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Sentinel(RedisServer):
    """One sentinel; it writes what it learns into its configuration, which is therefore written once."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.name = f"{kind} sentinel"
        self._watched: list[str] = []

    def watch(self, port: int, *, quorum: int) -> None:
        self._watched = [
            f"sentinel monitor {MASTER} 127.0.0.1 {port} {quorum}",
            f"sentinel down-after-milliseconds {MASTER} {SILENCE}",
            f"sentinel failover-timeout {MASTER} 10000",
            f"sentinel parallel-syncs {MASTER} 2",
        ]

    def _command(self) -> list[str]:
        return [*super()._command(), "--sentinel"]

    def _prepare(self) -> None:
        if not (self.folder / "server.conf").exists() or f"port {self.port}" not in self._written():
            super()._prepare()

    def _written(self) -> str:
        return (self.folder / "server.conf").read_text()

    def _lines(self) -> list[str]:
        return [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._data}",
            f"unixsocket {self._socket}",
            f"user {ADMIN} on >{ADMIN} ~* &* +@all",
            *self._watched,
        ]


def _is_master(server: RedisServer) -> bool:
    try:
        return server.info("replication")["role"] == "master"
    except OSError:
        return False


def _linked(about: dict[str, str]) -> bool:
    return about["flags"] == "sentinel"


def _pairs(answer: list[bytes]) -> dict[str, str]:
    texts = [text.decode() for text in answer]
    return dict(zip(texts[::2], texts[1::2], strict=True))
