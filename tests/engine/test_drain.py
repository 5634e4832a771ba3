"""Stopping without losing (P9): nothing new at once, what runs ends or goes back in time, nobody waits for a lease."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.state import TaskState
from gristmill.engine.task import Task
from gristmill.engine.worker import Worker
from gristmill.testing import bodies
from gristmill.testing.flaky import FlakyBroker
from gristmill.testing.processes import settles
from gristmill.testing.workers import BODIES, WorkerProcess, ends, reached, said, working

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_child_left")]


@pytest.fixture(params=["memory", "sqlite"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/tasks.db"}[request.param]
    async with open_broker(url) as opened:
        yield opened


async def test_what_runs_may_end_in_time_and_nothing_new_begins(broker: Broker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running, later = bodies.waits_for.message(str(gate)), bodies.add.message(1, 1)
    async with working(broker, slots=1) as worker:
        await broker.publish([running])
        await said(broker, running)
        worker.drain(grace=60.0)
        await broker.publish([later])
        gate.touch()
        await worker.ended.wait()
    assert (await ends(broker, [running]))[0].state is TaskState.SUCCEEDED
    assert (await reached(broker, later, TaskState.QUEUED)).attempt == 0


@pytest.mark.parametrize(
    "task", [bodies.waits, bodies.waits_async, bodies.swallows], ids=["def", "async def", "swallows"]
)
async def test_what_does_not_end_in_time_goes_back_as_if_never_begun(broker: Broker, task: Task[[], None]) -> None:
    message = task.message()
    async with working(broker) as worker:
        await broker.publish([message])
        await said(broker, message)
        worker.drain(grace=0.0)
        await worker.ended.wait()
    record = await reached(broker, message, TaskState.QUEUED)
    assert (record.attempt, record.history, record.error) == (0, [], None)
    [lease] = await broker.reserve(["default"], worker="next", limit=1, lease=30.0, wait=0)
    assert (lease.id, lease.attempt) == (message.id, 1)


async def test_what_was_taken_ahead_goes_back_at_once(
    memory_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.engine.slots.OTHERS", 600.0)  # by the drain, not because it waits in vain
    gate = tmp_path / "gate"
    short = [bodies.add.message(n, n) for n in range(100)]
    running, ahead = bodies.waits_for.message(str(gate)), bodies.add.message(1, 1)
    async with working(memory_broker, slots=1) as worker:
        await memory_broker.publish(short)  # now it takes tasks ahead
        await ends(memory_broker, short)
        await memory_broker.publish([running])
        await said(memory_broker, running)
        await memory_broker.publish([ahead])
        await reached(memory_broker, ahead, TaskState.RUNNING)
        worker.drain(grace=60.0)
        assert (await reached(memory_broker, ahead, TaskState.QUEUED)).attempt == 0
        gate.touch()
        await worker.ended.wait()


async def test_a_second_drain_hurries(memory_broker: Broker) -> None:
    message = bodies.waits.message()
    async with working(memory_broker) as worker:
        await memory_broker.publish([message])
        await said(memory_broker, message)
        worker.drain(grace=600.0)
        await anyio.wait_all_tasks_blocked()
        worker.drain(grace=0.0)
        await worker.ended.wait()
    assert (await reached(memory_broker, message, TaskState.QUEUED)).attempt == 0


async def test_a_cancel_is_heard_while_draining(memory_broker: Broker) -> None:
    message = bodies.waits.message()
    async with working(memory_broker) as worker:
        await memory_broker.publish([message])
        await said(memory_broker, message)
        worker.drain(grace=600.0)
        await memory_broker.cancel([message.id])
        await worker.ended.wait()
    assert (await ends(memory_broker, [message]))[0].state is TaskState.CANCELLED


async def test_an_idle_worker_ends_at_once_and_so_does_one_that_never_began(memory_broker: Broker) -> None:
    async with working(memory_broker) as worker:
        worker.drain(grace=600.0)
        await worker.ended.wait()
    early = Worker(memory_broker, BODIES)
    early.drain(grace=600.0)
    await early.run()
    assert early.ended.is_set()


async def test_a_cancelled_worker_hands_back_what_it_held(broker: Broker) -> None:
    message = bodies.waits.message()
    async with anyio.create_task_group() as group:
        await group.start(Worker(broker, BODIES).run)
        await broker.publish([message])
        await said(broker, message)
        group.cancel_scope.cancel()
    assert (await reached(broker, message, TaskState.QUEUED)).attempt == 0


async def test_ends_that_the_broker_missed_are_written_before_the_worker_goes(memory_broker: Broker) -> None:
    flaky = FlakyBroker(memory_broker)
    message = bodies.add.message(1, 1)
    async with working(flaky.broker) as worker:
        flaky.fail("finish", times=2)
        await memory_broker.publish([message])
        await settles(lambda: flaky.failed["finish"] > 0)
        worker.drain(grace=60.0)
        await worker.ended.wait()
    assert (await ends(memory_broker, [message]))[0].result == b"2"


async def test_a_broker_that_never_comes_back_does_not_hold_the_worker(
    memory_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.engine.worker.SETTLE", 0.0)
    flaky = FlakyBroker(memory_broker)
    message = bodies.add.message(1, 1)
    async with working(flaky.broker) as worker:
        flaky.fail("finish", "release", times=10**6)
        await memory_broker.publish([message])
        await reached(memory_broker, message, TaskState.RUNNING)
        worker.drain(grace=60.0)
        await worker.ended.wait()
    assert (await reached(memory_broker, message, TaskState.RUNNING)).lease_until is not None  # it will be reclaimed


async def test_a_worker_process_drains_on_sigterm(tmp_path: Path) -> None:
    url, gate = f"sqlite:///{tmp_path}/tasks.db", tmp_path / "gate"
    message = bodies.waits_for.message(str(gate))
    async with open_broker(url) as broker, WorkerProcess(url) as worker:
        await broker.publish([message])
        await said(broker, message)
        async with anyio.create_task_group() as group:
            codes: list[int] = []
            group.start_soon(_drain, worker, codes)
            gate.touch()
        assert codes == [0]
        assert (await ends(broker, [message]))[0].state is TaskState.SUCCEEDED


async def _drain(worker: WorkerProcess, codes: list[int]) -> None:
    codes.append(await worker.drain())


async def test_workers_that_come_and_go_lose_nothing_and_count_nothing(broker: Broker, tmp_path: Path) -> None:
    messages = []
    for _ in range(5):
        fresh = [bodies.add.message(n, n) for n in range(20)]
        messages += fresh
        await broker.publish(fresh)
        async with working(broker, slots=2) as worker:
            await settles(lambda: worker.done >= 5)
    async with working(broker, slots=2):
        records = await ends(broker, messages)
    assert {(record.state, record.attempt) for record in records} == {(TaskState.SUCCEEDED, 1)}
