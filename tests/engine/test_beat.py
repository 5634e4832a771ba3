"""A worker's signs of life: what they say, how seldom they are given, and how the source's dashboards read them."""

from __future__ import annotations

import json

import anyio
import pytest

from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.beat import EVERY, NEWS_EVERY, Pulse, Work, address, from_json, to_json
from gristmill.engine.broker import QueueDepth
from gristmill.engine.message import Current, Heartbeat, Lease, new_message
from gristmill.engine.task import App
from gristmill.testing.clock import FakeClock
from gristmill.testing.workers import working

pytestmark = pytest.mark.anyio

SAID = Heartbeat(
    name="task_executor_common_host_0",
    now=1_764_000_000.25,
    boot_at=1_763_999_000.0,
    pending=2,
    lag=3,
    done=4,
    failed=5,
    current={"t1": Current("parse", key="run:1", lane="tenant", attempt=2)},
    ip="10.0.0.7",
    pid=77,
    queues=["default"],
)


class Counting(MemoryBroker):
    """Says how often it was asked for what."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.calls: list[str] = []
        self.beaten = anyio.Event()

    async def depth(self) -> list[QueueDepth]:
        self.calls.append("depth")
        return await super().depth()

    async def now(self) -> float:
        self.calls.append("now")
        return await super().now()

    async def beat(self, heartbeat: Heartbeat, *, timeout: float) -> None:
        self.calls.append("beat")
        await super().beat(heartbeat, timeout=timeout)
        self.beaten.set()


async def test_a_beat_tells_of_the_worker_and_of_its_queues_only() -> None:
    clock = FakeClock()
    broker = Counting(clock)
    await broker.publish([new_message("a", queue=queue) for queue in ("mine", "mine", "mine", "other")])
    [lease] = await broker.reserve(["mine"], worker="w", limit=1, lease=30)
    work = Work(4, 1, {lease.id: lease})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Pulse(broker, "w", ["mine"], lambda: work, timeout=120, clock=clock).run)
        await broker.beaten.wait()
        [said] = await broker.workers()
        tasks.cancel_scope.cancel()
    assert (said.name, said.done, said.failed, said.lag, said.pending) == ("w", 4, 1, 2, 1)
    assert said.current == {lease.id: Current("a", queue="mine")}
    assert said.ip == address() != ""
    assert said.now == said.boot_at == clock.now()


async def test_an_idle_worker_hardly_asks_and_a_busy_one_tells_its_news_soon() -> None:
    clock = FakeClock()
    broker = Counting(clock)
    work = Work(0, 0, {})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Pulse(broker, "w", ["mine"], lambda: work, timeout=120, clock=clock).run)
        await anyio.wait_all_tasks_blocked()
        assert broker.calls == ["now", "depth", "beat"]
        for _ in range(int(EVERY // NEWS_EVERY)):
            clock.move(NEWS_EVERY)
            await anyio.wait_all_tasks_blocked()
        assert broker.calls == ["now", "depth", "beat"] * 2
        work = Work(1, 0, {})
        clock.move(NEWS_EVERY)
        await anyio.wait_all_tasks_blocked()
        assert broker.calls[6:] == ["beat"]
        [said] = await broker.workers()
        assert (said.done, said.now) == (1, clock.now())
        tasks.cancel_scope.cancel()


async def test_a_short_timeout_is_beaten_often_enough() -> None:
    clock = FakeClock()
    broker = Counting(clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Pulse(broker, "w", [], lambda: Work(0, 0, {}), timeout=4, clock=clock).run)
        for _ in range(20):
            await anyio.wait_all_tasks_blocked()
            assert [one.name for one in await broker.workers()] == ["w"]
            clock.move(1)
        tasks.cancel_scope.cancel()


async def test_who_leaves_is_gone_at_once() -> None:
    clock = FakeClock()
    broker = Counting(clock)
    pulse = Pulse(broker, "w", [], lambda: Work(0, 0, {}), timeout=120, clock=clock)
    await broker.beat(SAID, timeout=120)
    await pulse.leave()
    clock.move(0.001)
    assert await broker.workers() == [SAID]


async def test_a_worker_is_seen_under_its_name_while_it_works_and_not_after() -> None:
    clock = FakeClock()
    broker = Counting(clock)
    async with working(broker, App(), inline=True, name="task_executor_1", queues=["mine"]):
        await broker.beaten.wait()
        [seen] = await broker.workers()
        assert (seen.name, seen.queues) == ("task_executor_1", ["mine"])
    clock.move(0.001)
    assert await broker.workers() == []


def test_the_json_has_the_sources_keys_and_comes_back_the_same() -> None:
    plain = json.loads(to_json(SAID))
    assert {"ip_address", "pid", "name", "now", "boot_at", "pending", "lag", "done", "failed", "current"} <= set(plain)
    assert (plain["ip_address"], plain["now"]) == ("10.0.0.7", "2025-11-24T16:00:00.250+00:00")
    assert plain["current"]["t1"]["id"] == "t1"
    assert from_json(to_json(SAID)) == SAID


def test_a_heartbeat_of_the_sources_own_executor_is_read() -> None:
    theirs = {
        "name": "task_executor_common_host_1", "now": "2025-11-24T17:00:00.250+01:00",
        "boot_at": "2025-11-24T16:43:20.000+01:00", "pending": 1, "lag": 0, "done": 2, "failed": 0,
        "current": {"t": {"id": "t", "doc_id": "d", "from_page": 0, "parser_config": {}, "task_type": "raptor"}},
    }  # fmt: skip
    said = from_json(json.dumps(theirs).encode())
    assert (said.now, said.boot_at, said.pid, said.ip) == (SAID.now, SAID.boot_at, 0, "")
    assert said.current == {"t": Current("raptor")}


def test_no_argument_of_a_task_is_in_a_heartbeat() -> None:
    lease = Lease(new_message("a", "s3cret", kwargs={"password": "s3cret"}), token=1, worker="w", attempt=1)
    work = Work(0, 0, {lease.id: lease})
    pulse = Pulse(MemoryBroker(), "w", [], lambda: work, timeout=120, clock=FakeClock())
    assert b"s3cret" not in to_json(pulse._heartbeat(work))
