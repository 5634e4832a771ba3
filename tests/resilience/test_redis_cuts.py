"""The connection is cut at every byte of every exchange, either way: nothing is lost, nothing doubled, nobody notices.

`make test` cuts at every seventh byte, `make fault` at each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import anyio
import pytest

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Message, Progress, Release, TaskRecord, new_message
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import BROKE
from gristmill.testing.processes import settles
from gristmill.testing.proxy import Direction, Proxy
from resilience.scene import scene
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

LEASE = 600.0
EVERY = 7  # bytes from one cut to the next


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
        [found] = await self.watcher.describe([self.message.id])
        assert found is not None, "the task is lost"
        return found


Step = Callable[[Case], Awaitable[Any]]


async def publish(case: Case) -> None:
    assert await case.through.publish([case.message]) == [True]
    record = await case.record()
    assert (record.state, record.attempt) == (TaskState.QUEUED, 0)
    assert [one.id for one in await case.watcher.tasks()] == [case.message.id]


async def reserve(case: Case) -> None:
    [lease] = await case.through.reserve(["default"], worker="w", limit=5, lease=LEASE, wait=0)
    record = await case.record()
    assert (record.state, record.attempt, record.token) == (TaskState.RUNNING, 1, lease.token)
    assert await case.watcher.extend([lease], lease=LEASE) == []


async def extend(case: Case) -> None:
    assert await case.through.extend([case.held], lease=2 * LEASE) == []
    record = await case.record()
    assert record.lease_until is not None
    assert record.lease_until > await case.watcher.now() + LEASE


async def progress(case: Case) -> None:
    assert await case.through.progress([Progress(case.held, 0.5, "half")]) == [True]
    assert (await case.record()).progress == 0.5


async def finish(case: Case) -> None:
    assert await case.through.finish([End(case.held, TaskState.SUCCEEDED, result=b'{"n":1}')]) == [True]
    record = await case.record()
    assert (record.state, record.result, record.attempt) == (TaskState.SUCCEEDED, b'{"n":1}', 1)


async def release(case: Case) -> None:
    assert await case.through.release([Release(case.held, error=BROKE)]) == [True]
    record = await case.record()
    assert (record.state, record.attempt, len(record.history)) == (TaskState.QUEUED, 1, 1)
    [again] = await case.watcher.reserve(["default"], worker="w", limit=5, lease=LEASE, wait=0)
    assert again.attempt == 2


async def cancel(case: Case) -> None:
    assert await case.through.cancel([case.message.id], reason="why not") == [TaskState.RUNNING]
    assert (await case.record()).cancel_requested


async def book(case: Case) -> None:
    assert await case.through.book("model", rate=0.001, burst=1.0) == 0.0
    assert 900.0 < await case.watcher.book("model", rate=0.001, burst=1.0) <= 1000.0, "booked twice"


STEPS: list[tuple[Step, bool]] = [  # and whether it is done by the holder of the task
    (publish, False),
    (reserve, False),
    (extend, True),
    (progress, True),
    (finish, True),
    (release, True),
    (cancel, True),
    (book, False),
]


class Lab:
    """Makes cases: one server, a proxy, a broker through it and one beside it."""

    def __init__(self, servers: ServerPool, proxy: Proxy, through: Broker, watcher: Broker) -> None:
        self.proxy = proxy
        self._servers = servers
        self._through, self._watcher = through, watcher

    async def case(self, step: Step, holds: bool) -> Case:
        self._servers.fresh("valkey-9")
        message = new_message("task", "argument", key="k")
        case = Case(self._through, self._watcher, message)
        if step is not publish:
            assert await self._watcher.publish([message]) == [True]
        if holds:
            [case.lease] = await self._watcher.reserve(["default"], worker="w", limit=1, lease=LEASE, wait=0)
        await self._through.now()  # the connection is up again
        return case


@pytest.fixture
async def lab(servers: ServerPool) -> AsyncIterator[Lab]:
    url = servers.fresh("valkey-9")
    server = servers.redis()
    with Proxy(server.port) as proxy:
        async with open_broker(server.url_for(port=proxy.port)) as through, open_broker(url) as watcher:
            yield Lab(servers, proxy, through, watcher)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection is rebuilt without a pause: there are thousands."""
    monkeypatch.setattr("gristmill.brokers.redis.link.FIRST_PAUSE", 0.0001)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("every", [EVERY, pytest.param(1, marks=[pytest.mark.fault, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize(("step", "holds"), STEPS, ids=[step.__name__ for step, _ in STEPS])
async def test_a_step_has_happened_once_wherever_it_is_cut(
    lab: Lab, step: Step, holds: bool, direction: Direction, every: int
) -> None:
    """P1, P2. Whether the request did not arrive or the answer got lost: it is asked again, and answered alike."""
    size = 0
    for _ in range(2):  # the first time, the scripts travel as well
        case = await lab.case(step, holds)
        before = lab.proxy.passed[direction]
        await step(case)
        size = lab.proxy.passed[direction] - before
    for offset in sorted({*range(0, size, every), size - 1, size}):
        case = await lab.case(step, holds)
        before = lab.proxy.cuts
        lab.proxy.cut(after=offset, direction=direction)
        with anyio.fail_after(60):
            await step(case)
        assert lab.proxy.cuts == before + 1 or offset == size, "the exchange was not cut"
        lab.proxy.heal()


@pytest.mark.parametrize("seed", range(3))
async def test_a_worker_goes_on_through_cuts_at_any_byte(servers: ServerPool, seed: int) -> None:
    """P1, P2, P8."""
    rng = Random(seed)
    url = servers.fresh("valkey-9")
    server = servers.redis()
    with Proxy(server.port) as proxy:

        async def cut_again_and_again() -> None:
            for _ in range(40):
                count = proxy.cuts
                proxy.cut(after=rng.randrange(4000), direction=rng.choice(("up", "down")), reset=rng.random() < 0.3)
                await settles(lambda count=count: proxy.cuts > count)  # type: ignore[misc]

        async with scene(server.url_for(port=proxy.port), url) as played, anyio.create_task_group() as group:
            played.gate.set()
            group.start_soon(cut_again_and_again)
            for _ in range(10):
                await played.all_end(await played.publish(10))
            group.cancel_scope.cancel()
        assert set(played.effects.values()) == {1}
        assert len(played.effects) == len(played.messages)
        assert proxy.cuts > 3


@pytest.mark.parametrize("size", [1, 7])
async def test_answers_may_come_in_pieces(servers: ServerPool, size: int) -> None:
    url = servers.fresh("valkey-9")
    server = servers.redis()
    with Proxy(server.port) as proxy:
        proxy.split(size)
        async with scene(server.url_for(port=proxy.port), url) as played:
            played.gate.set()
            await played.all_end()
        assert set(played.effects.values()) == {1}
