"""A worker on Valkey lives through all that servers and networks do, and goes on by itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
from anyio import to_thread

from gristmill.engine.state import TaskState
from gristmill.testing.processes import settles
from gristmill.testing.proxy import Proxy
from gristmill.testing.servers import RedisServer
from resilience.scene import HELD, Scene, scene
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

Trouble = Callable[[RedisServer, Proxy], AbstractAsyncContextManager[None]]


@pytest.fixture
def server(servers: ServerPool) -> Iterator[RedisServer]:
    """A server of our own, to be ill-treated; what it accepted is on the disk."""
    with servers.make(partial(RedisServer, appendonly=True)) as server:
        yield server


@pytest.fixture(autouse=True)
def quickly_suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent connection is asked after a second whether it is there, and not after a quarter of a minute."""
    for module in ("link", "ear"):
        monkeypatch.setattr(f"gristmill.brokers.redis.{module}.PROBE", 1.0)


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


async def seen(server: RedisServer, error: str) -> None:
    """Return when somebody was told this error. (The oldest server counts those of scripts under ERR.)"""
    kinds = [error] if server.version >= (7,) else [error, "ERR"]
    await settles(lambda: not server.info("errorstats").keys().isdisjoint(f"errorstat_{kind}" for kind in kinds))


async def knocks(proxy: Proxy) -> None:
    """Return when somebody has tried to come back."""
    before = proxy.accepted
    await settles(lambda: proxy.accepted > before)


@asynccontextmanager
async def dropped(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    proxy.close()
    yield


@asynccontextmanager
async def reset(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    proxy.reset()
    yield


@asynccontextmanager
async def killed_clients(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    server.command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
    yield


@asynccontextmanager
async def unreachable(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    proxy.refuse()
    proxy.reset()
    yield
    proxy.heal()
    await knocks(proxy)


@asynccontextmanager
async def half_open(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    proxy.half_open()
    yield


@asynccontextmanager
async def blackhole(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    proxy.blackhole()
    yield
    await knocks(proxy)
    proxy.heal()


@asynccontextmanager
async def paused(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    server.pause()
    yield
    await knocks(proxy)
    server.resume()


@asynccontextmanager
async def restarted(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    await to_thread.run_sync(server.stop)
    yield
    await knocks(proxy)
    await to_thread.run_sync(server.start)


@asynccontextmanager
async def killed(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    await to_thread.run_sync(server.kill)
    yield
    await knocks(proxy)
    await to_thread.run_sync(server.start)


@asynccontextmanager
async def loading(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    """It comes back, and reads its data for as long as we like."""
    for number in range(500):
        server.command("SET", f"filler:{number}", os.urandom(2048))
    await to_thread.run_sync(server.stop)
    server.config = ("appendonly no", "key-load-delay 20000", "loading-process-events-interval-bytes 1024")
    await to_thread.run_sync(partial(server.start, wait=False))
    yield
    await settles(lambda: _answers(server))
    await seen(server, "LOADING")
    server.command("CONFIG", "SET", "key-load-delay", 0)
    await to_thread.run_sync(server.wait_ready)
    server.config = ()
    server.command("CONFIG", "SET", "appendonly", "yes")
    await settles(lambda: server.info("persistence")["aof_rewrite_in_progress"] == "0")


def _answers(server: RedisServer) -> bool:
    try:
        return server.info("persistence")["loading"] == "1"
    except OSError:
        return False


@asynccontextmanager
async def readonly(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    """It has become a replica, of a master that is not there."""
    server.command("CONFIG", "RESETSTAT")
    server.command("REPLICAOF", "127.0.0.1", 1)
    yield
    await seen(server, "READONLY")
    server.command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def busy(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    """A script of somebody else does not end."""
    server.command("CONFIG", "SET", "lua-time-limit", 10)
    with server.connect() as other:
        other.send("EVAL", "while true do end", 0)
        before = proxy.passed["down"]
        yield
        await settles(lambda: proxy.passed["down"] > before)  # the refusal
        server.command("SCRIPT", "KILL")


@asynccontextmanager
async def full(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    server.command("CONFIG", "RESETSTAT")
    server.command("CONFIG", "SET", "maxmemory", 1)
    yield
    await seen(server, "OOM")
    server.command("CONFIG", "SET", "maxmemory", 0)


@asynccontextmanager
async def scripts_flushed(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    server.command("SCRIPT", "FLUSH")
    yield


TROUBLES: list[Trouble] = [
    dropped,
    reset,
    killed_clients,
    unreachable,
    half_open,
    blackhole,
    paused,
    restarted,
    killed,
    loading,
    readonly,
    busy,
    full,
    scripts_flushed,
]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_nothing_is_lost_or_doubled_and_the_worker_goes_on(
    server: RedisServer, proxy: Proxy, trouble: Trouble
) -> None:
    """P1, P2. Bodies end while the trouble lasts; their ends are written after it, once."""
    async with scene(f"{server.url_for(port=proxy.port)}?timeout=1", server.url) as played:
        async with trouble(server, proxy):
            played.gate.set()
            await settles(lambda: len(played.effects) >= HELD)
        await played.all_end()
        assert set(played.effects.values()) == {1}
        await played.publish(5)
        records = await played.all_end()
        assert {one.attempt for one in records} == {1}
        assert len(played.effects) == len(played.messages)


@asynccontextmanager
async def flushed(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    server.command("FLUSHALL")
    yield


@asynccontextmanager
async def restarted_empty(server: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    await to_thread.run_sync(partial(server.restart, keep_data=False))
    yield


@pytest.mark.parametrize("loss", [flushed, restarted_empty])
async def test_a_broker_that_lost_its_memory_takes_what_is_published_again(
    server: RedisServer, proxy: Proxy, loss: Trouble
) -> None:
    """P1, with somebody who knows what is unfinished: same ids, same keys. The worker notices nothing but lost leases."""
    async with scene(f"{server.url_for(port=proxy.port)}?timeout=1", server.url) as played:
        async with loss(server, proxy):
            assert await played.watcher.describe([played.messages[0].id]) == [None]
            assert await played.watcher.publish(played.messages) == [True] * len(played.messages)
            played.gate.set()
        await played.all_end()
        assert await _all_succeeded_once(played)
        await played.publish(5)
        await played.all_end()


async def _all_succeeded_once(played: Scene) -> bool:
    found = await played.watcher.tasks(limit=1000)
    return sorted(one.id for one in found) == sorted(one.id for one in played.messages) and all(
        one.state is TaskState.SUCCEEDED for one in found
    )
