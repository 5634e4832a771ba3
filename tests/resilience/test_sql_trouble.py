"""PostgreSQL and MariaDB in trouble: cut at any byte, restarted, emptied, contended. Nothing is lost, nothing doubled.

`make fault` cuts four times as often as `make test`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Message, Release, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import BROKE, PATIENCE, a_message, claimed, publish, record, waiting
from gristmill.testing.proxy import Direction, Proxy
from gristmill.testing.servers import MariaServer, PostgresServer
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

LEASE = 600.0
STEP = {"postgres": 61, "mariadb": 37}  # bytes from one cut to the next: PostgreSQL's driver sends a lot of them
COARSE = {"postgres": 241, "mariadb": 149}

both = pytest.mark.parametrize("name", ["postgres", "mariadb"])


@pytest.fixture
def server(name: str, servers: ServerPool) -> PostgresServer | MariaServer:
    servers.fresh(name)
    return servers.postgres() if name == "postgres" else servers.mariadb()


def through(server: PostgresServer | MariaServer, proxy: Proxy) -> str:
    """The server's own database, by way of the proxy."""
    return server.url.replace(f":{server.port}/", f":{proxy.port}/")


@dataclass
class Case:
    """One task, what is done with it through the proxy, and what must be so afterwards."""

    through: Broker
    watcher: Broker
    message: Message
    lease: Lease | None = None

    @property
    def held(self) -> Lease:
        assert self.lease is not None
        return self.lease

    async def record(self) -> TaskRecord:
        return await record(self.watcher, self.message)


Step = Callable[[Case], Awaitable[Any]]


async def publishes(case: Case) -> None:
    assert await case.through.publish([case.message]) == [True]
    assert [one.id for one in await case.watcher.tasks()] == [case.message.id]


async def reserves(case: Case) -> None:
    [lease] = await case.through.reserve(["default"], worker="w", limit=5, lease=LEASE, wait=0)
    found = await case.record()
    assert (found.state, found.attempt, found.token) == (TaskState.RUNNING, 1, lease.token)


async def finishes(case: Case) -> None:
    assert await case.through.finish([End(case.held, TaskState.SUCCEEDED, result=b'{"n":1}')]) == [True]
    found = await case.record()
    assert (found.state, found.result, found.attempt) == (TaskState.SUCCEEDED, b'{"n":1}', 1)


async def releases(case: Case) -> None:
    assert await case.through.release([Release(case.held, error=BROKE)]) == [True]
    found = await case.record()
    assert (found.state, found.attempt, len(found.history)) == (TaskState.QUEUED, 1, 1)


async def replays(case: Case) -> None:
    await case.watcher.finish([End(case.held, TaskState.FAILED, error=BROKE)])
    [fresh] = await case.through.replay([case.held.id])
    assert {one.id for one in await case.watcher.tasks()} == {case.held.id, fresh}


async def books(case: Case) -> None:
    name = f"model {case.message.key}"
    assert await case.through.book(name, rate=0.001) == 0.0
    assert 900.0 < await case.watcher.book(name, rate=0.001) <= 1000.0, "booked twice"


@both
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("step", [publishes, reserves, finishes, releases, replays, books])
@pytest.mark.parametrize("bytes_apart", [COARSE, pytest.param(STEP, marks=pytest.mark.fault)], ids=["coarse", "fine"])
async def test_a_step_has_happened_once_wherever_it_is_cut(
    name: str, server: PostgresServer | MariaServer, step: Step, direction: Direction, bytes_apart: dict[str, int]
) -> None:
    """P1, P2. What did not arrive is sent again; where only the answer to the COMMIT got lost, it is not."""
    with Proxy(server.port) as proxy:
        async with open_broker(through(server, proxy)) as broker, open_broker(server.url) as watcher:
            offset = 0
            while True:
                message = a_message(key=f"k{offset}")
                case = Case(broker, watcher, message)
                if step is not publishes:
                    assert await watcher.publish([message]) == [True]
                if step in (finishes, releases, replays):
                    [case.lease] = await watcher.reserve(["default"], worker="w", limit=1, lease=LEASE, wait=0)
                await broker.now()  # the connections are up again
                await broker.unlock("none", owner="nobody")
                before = proxy.cuts
                proxy.cut(after=offset, direction=direction, reset=offset % 2 == 1)
                with anyio.fail_after(PATIENCE):
                    await step(case)
                was_cut = proxy.cuts > before
                proxy.heal()
                if not was_cut:
                    break
                offset += bytes_apart[name]
                await _forget_all(watcher)
            assert offset > 3 * STEP[name]
            assert offset > bytes_apart[name]


async def _forget_all(broker: Broker) -> None:
    """End and forget every task."""
    known = [one.id for one in await broker.tasks()]
    await broker.cancel(known)
    held = [
        Release(Lease(one.message, one.token, one.worker, one.attempt))
        for one in await broker.tasks(states=[TaskState.RUNNING])
    ]
    await broker.release(held)
    await broker.purge(states=list(TaskState))


@both
@pytest.mark.parametrize("kill", [False, True])
async def test_it_goes_on_by_itself_when_the_server_is_restarted(
    server: PostgresServer | MariaServer, kill: bool
) -> None:
    """P1. Who waits at that time is woken by what comes later."""
    async with open_broker(server.url) as broker, open_broker(server.url) as other:
        lease = await claimed(broker)
        async with waiting(other) as got:
            await anyio.to_thread.run_sync(lambda: server.restart(kill=kill))
            [message] = await publish(broker)
        assert [one.id for one in got] == [message.id]
        assert await broker.finish([End(lease, TaskState.SUCCEEDED)]) == [True]
        async with broker.notices() as notices:
            await other.finish([End(got[0], TaskState.SUCCEEDED)])
            with anyio.fail_after(PATIENCE):
                assert (await anext(notices)).id == message.id
