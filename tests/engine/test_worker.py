"""The worker answers for every lease until its end is written: retries, lost leases, lost brokers, lost workers."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import anyio
import pytest

from gristmill.base.errors import EngineError, ModelUnavailable
from gristmill.brokers import open_broker
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.broker import Broker
from gristmill.engine.message import End
from gristmill.engine.middleware.chain import Handler, Job
from gristmill.engine.outcome import Outcome
from gristmill.engine.retry import delay
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.engine.worker import Worker
from gristmill.testing import bodies
from gristmill.testing.clock import FakeClock
from gristmill.testing.flaky import FlakyBroker
from gristmill.testing.processes import alive, children, settles
from gristmill.testing.workers import WorkerProcess, again, ends, failed, reached, run, said, working

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_child_left")]


@pytest.fixture(params=["memory", "sqlite"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/tasks.db"}[request.param]
    async with open_broker(url) as opened:
        yield opened


async def test_a_failure_that_may_pass_is_tried_again_and_remembered(broker: Broker) -> None:
    async with working(broker) as worker:
        record = await run(broker, bodies.third_time_lucky.message())
        assert (record.state, record.result, record.attempt) == (TaskState.SUCCEEDED, b"3", 3)
        assert [(error.type, error.attempt) for error in record.history] == [("ModelUnavailable", n) for n in (1, 2)]
        assert (worker.done, worker.failed) == (1, 0)


async def test_a_dead_letter_keeps_reason_stage_and_history(broker: Broker) -> None:
    async with working(broker):
        record = await run(broker, bodies.fails_in_a_stage.message())
    assert record.state is TaskState.DEAD
    assert record.error is not None
    assert (record.error.type, record.error.message, record.error.stage) == ("ModelUnavailable", "attempt 2", "stage 2")
    assert [(error.message, error.attempt) for error in record.history] == [("attempt 1", 1), ("attempt 2", 2)]
    assert all(error.at > record.published - 1 and "fails_in_a_stage" in error.traceback for error in record.history)


async def test_a_failure_says_itself_when_to_come_back() -> None:
    """The next attempt is due after what the error asked for, and at most a tenth more."""
    clock = FakeClock()
    message = bodies.throttled.message()
    async with MemoryBroker(clock=clock) as broker, working(broker, clock=clock):
        await broker.publish([message])
        record = await failed(broker, message)
        assert 100.0 <= record.not_before - clock.now() <= 110.0
        clock.move(111.0)
        assert (await ends(broker, [message]))[0].result == b"2"


async def test_a_retry_waits_longer_each_time_and_never_for_ever() -> None:
    policy = bodies.fails.policy
    ceilings = [max(delay(policy, n, None, Random(seed)) for seed in range(200)) for n in range(1, 14)]
    assert all(0.9 * min(2.0**n, 300.0) <= ceiling <= min(2.0**n, 300.0) for n, ceiling in enumerate(ceilings))
    assert delay(policy, 10_000, None, Random(1)) <= 300.0


async def test_periodic_tasks_run_once_across_workers(broker: Broker, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    async with (
        working(broker, PERIODIC, config={"path": str(marks)}),
        working(broker, PERIODIC, config={"path": str(marks)}),
    ):
        await settles(lambda: marks.exists())
        await run(broker, bodies.add.message(1, 1))  # both workers had their turn
    assert len(marks.read_text().split()) == 1


async def test_whoever_lost_the_lease_ends_the_body_and_is_refused() -> None:
    clock = FakeClock()
    message, next_ = bodies.answers_late.message(), bodies.add.message(2, 2)
    async with MemoryBroker(clock=clock) as broker, working(broker, lease=0.3, slots=1):
        await broker.publish([message])
        await said(broker, message)
        clock.move(31.0)
        await broker.reclaim()
        [theirs] = await broker.reserve(["default"], worker="other", limit=1, lease=600.0, wait=0)
        assert (theirs.id, theirs.attempt) == (message.id, 2)
        await broker.publish([next_])
        assert (await ends(broker, [next_]))[0].state is TaskState.SUCCEEDED  # so the slot is free again
        record = await reached(broker, message, TaskState.RUNNING)
        assert (record.worker, record.result) == ("other", None)
        await broker.finish([End(theirs, TaskState.SUCCEEDED, result=b"1")])
        assert (await ends(broker, [message]))[0].result == b"1"


async def test_a_worker_that_takes_its_own_lost_task_again_ends_the_first_attempt_first(tmp_path: Path) -> None:
    clock, diary = FakeClock(), tmp_path / "diary"
    message = bodies.keeps_a_diary.message(str(diary))
    async with MemoryBroker(clock=clock) as broker, working(broker, slots=2) as worker:
        await broker.publish([message])
        await said(broker, message, "attempt 1")
        clock.move(31.0)
        await broker.reclaim()
        second = await said(broker, message, "attempt 2")
        assert (second.worker, second.attempt) == (worker.name, 2)
        assert diary.read_text().splitlines() == ["1 begins", "1 ends", "2 begins"]


async def test_a_cancel_that_comes_between_two_attempts_here_is_heard(tmp_path: Path) -> None:
    clock, diary = FakeClock(), tmp_path / "diary"
    message = bodies.keeps_a_diary.message(str(diary))
    async with MemoryBroker(clock=clock) as broker, working(broker, slots=2):
        await broker.publish([message])
        await said(broker, message, "attempt 1")
        clock.move(31.0)
        await broker.reclaim()
        await again(broker, message)
        await broker.cancel([message.id])
        [record] = await ends(broker, [message], timeout=9.0)  # sooner than the next renewal, which would tell, too
    assert record.state is TaskState.CANCELLED
    assert diary.read_text().splitlines()[:2] == ["1 begins", "1 ends"]


async def test_a_broker_that_is_away_for_a_while_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    messages = [bodies.writes.message(str(marks), str(n)) for n in range(5)]
    flaky = FlakyBroker(broker)
    flaky.fail("reserve", "finish", "extend", "progress", "beat", "depth", "reclaim", "describe", times=2)
    async with working(flaky.broker):
        await broker.publish(messages)
        records = await ends(broker, messages)
    assert {record.state for record in records} == {TaskState.SUCCEEDED}
    assert sorted(marks.read_text().split()) == [str(n) for n in range(5)]
    assert flaky.failed["reserve"] == flaky.failed["finish"] == 2


async def test_an_end_whose_answer_was_lost_is_written_once(broker: Broker) -> None:
    flaky = FlakyBroker(broker)
    flaky.lose_answers("finish")
    async with working(flaky.broker) as worker:
        record = await run(broker, bodies.add.message(1, 1))
        assert (record.state, record.attempt) == (TaskState.SUCCEEDED, 1)
        assert (await run(broker, bodies.add.message(2, 2))).state is TaskState.SUCCEEDED
    assert worker.done == 2


async def test_a_body_whose_publishing_fails_can_try_again(broker: Broker) -> None:
    flaky = FlakyBroker(broker)
    async with working(flaky.broker):
        flaky.fail("publish")
        record = await run(broker, bodies.publishes.message(1))
    assert record.state is TaskState.SUCCEEDED
    assert [error.type for error in record.history] == ["BrokerUnavailable"]


async def test_a_killed_worker_takes_all_its_processes_along_and_another_one_goes_on(tmp_path: Path) -> None:
    url, marks = f"sqlite:///{tmp_path}/tasks.db", tmp_path / "marks"
    sync, loop = bodies.beats.message(str(marks)), bodies.beats_async.message(str(marks))
    async with open_broker(url) as broker:
        async with WorkerProcess(url, lease=1.0, slots=2) as first:
            await broker.publish([sync, loop])
            for message in (sync, loop):
                await reached(broker, message, TaskState.RUNNING)
            await settles(lambda: len(children(first.pid)) >= 3)
            gone = children(first.pid)
            first.kill()
            await settles(lambda: not any(alive(pid) for pid in gone))
        async with working(broker, lease=1.0, slots=2):
            for message in (sync, loop):
                record = await again(broker, message)
                assert [error.type for error in record.history] == ["LeaseExpired"]
            await broker.cancel([sync.id, loop.id])
            assert {record.state for record in await ends(broker, [sync, loop])} == {TaskState.CANCELLED}


async def test_a_stopped_worker_comes_back_to_lost_leases_and_lets_go(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    message = bodies.waits.message()
    async with open_broker(url) as broker, WorkerProcess(url, lease=1.0) as first:
        await broker.publish([message])
        await said(broker, message)
        os.kill(first.pid, signal.SIGSTOP)
        async with working(broker, lease=1.0) as second:
            record = await again(broker, message)
            os.kill(first.pid, signal.SIGCONT)
            assert record.worker == second.name
            assert await first.drain() == 0
            assert (await reached(broker, message, TaskState.RUNNING)).token == record.token


async def test_bodies_of_both_kinds_have_slots_of_their_own(memory_broker: Broker) -> None:
    """One sync body at a time does not mean one async body at a time."""
    many = [bodies.waits_async.message() for _ in range(5)]
    async with working(memory_broker, slots=1, async_slots=5):
        for message in many:
            await memory_broker.publish([message])
            await said(memory_broker, message)
        assert [depth.running for depth in await memory_broker.depth()] == [5]
        extra = bodies.waits_async.message()
        await memory_broker.publish([extra])
        await memory_broker.cancel([many[0].id])
        await said(memory_broker, extra)


async def test_a_task_taken_ahead_in_vain_is_left_to_others(
    memory_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.engine.slots.OTHERS", 0.05)
    short = [bodies.add.message(n, n) for n in range(100)]
    long, ahead = bodies.waits.message(), bodies.add.message(1, 1)
    async with working(memory_broker, slots=1):
        await memory_broker.publish(short)  # now it takes tasks ahead
        await ends(memory_broker, short)
        await memory_broker.publish([long])
        await said(memory_broker, long)
        async with memory_broker.notices() as notices:
            await memory_broker.publish([ahead])
            async for notice in notices:  # it was taken, and comes back
                if (notice.id, notice.state) == (ahead.id, "queued"):
                    break
        [lease] = await memory_broker.reserve(["default"], worker="other", limit=1, lease=30.0)
        assert (lease.id, lease.attempt) == (ahead.id, 1)


@pytest.mark.parametrize("how", ["cancel", "drain"])
async def test_what_is_stopped_inside_a_middleware_does_not_begin(memory_broker: Broker, how: str) -> None:
    begun, go_on = anyio.Event(), anyio.Event()

    def held_up(handler: Handler) -> Handler:
        async def handle(job: Job) -> Outcome:
            begun.set()
            await go_on.wait()
            return await handler(job)

        return handle

    message = bodies.waits.message()
    async with working(memory_broker, middleware=[held_up]) as worker:
        await memory_broker.publish([message])
        await begun.wait()
        if how == "cancel":
            await memory_broker.cancel([message.id])
        else:
            worker.drain(grace=0.0)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        state = TaskState.CANCELLED if how == "cancel" else TaskState.QUEUED
        assert (await reached(memory_broker, message, state)).progress_message == ""


async def test_an_app_that_cannot_be_imported_is_told_before_any_work(memory_broker: Broker) -> None:
    with pytest.raises(EngineError, match="no_such_module"):
        await Worker(memory_broker, "no_such_module:app").run()


async def test_a_runner_that_cannot_start_says_why(memory_broker: Broker) -> None:
    async with working(memory_broker, UNFIT):
        record = await run(memory_broker, bodies.add.message(1, 1))
    assert record.error is not None
    assert (record.state, record.error.type) == (TaskState.DEAD, "RunnerCrashed")
    assert "the runner could not start: ModelUnavailable: no weights" in record.error.message


PERIODIC = f"{__name__}:periodic_app"
UNFIT = f"{__name__}:unfit_app"


def periodic_app(config: dict[str, str]) -> App:
    app = App()
    app.tasks.update(bodies.app.tasks)

    @app.task(name="tick")
    def tick() -> None:
        bodies.write(config["path"], "tick")

    app.periodic(tick, every=3600.0)
    return app


def unfit_app(config: dict[str, str]) -> App:
    app = App()
    app.tasks.update(bodies.app.tasks)

    @app.on_runner_start
    def fail() -> None:
        raise ModelUnavailable("no weights")

    return app
