"""Limits limit (P6) and cancel works (P5): for async bodies, sync bodies and C code, and neighbours go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill.engine.broker import Broker
from gristmill.engine.message import Message
from gristmill.engine.state import TaskState
from gristmill.engine.task import Task
from gristmill.testing import bodies
from gristmill.testing.flaky import FlakyBroker
from gristmill.testing.processes import alive
from gristmill.testing.workers import ends, reached, run, said, working

AnyTask = Task[..., Any]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_child_left")]

SOFT, HARD, MEMORY = "SoftTimeLimitExceeded", "HardTimeLimitExceeded", "MemoryLimitExceeded"
BLOCKED, CRASHED = "LoopBlocked", "RunnerCrashed"


async def the_slot_is_free_and_the_neighbour_well(broker: Broker, neighbour: Message) -> None:
    """With two slots, one of them the neighbour's, a task can only end in the one that the bad body had."""
    assert (await run(broker, bodies.add.message(1, 1))).state is TaskState.SUCCEEDED
    assert (await reached(broker, neighbour, TaskState.RUNNING)).attempt == 1


@pytest.mark.parametrize(
    ("task", "kind", "limits"),
    [
        (bodies.bad_sync, "spin", {SOFT}),
        (bodies.bad_sync, "sleep", {SOFT}),
        (bodies.bad_sync, "regex", {SOFT}),
        (bodies.bad_sync, "c_loop", {HARD}),
        (bodies.bad_sync, "allocate", {MEMORY, SOFT}),  # whichever comes first on this machine
        (bodies.bad_sync, "segfault", {CRASHED}),
        (bodies.bad_sync, "stop_itself", {HARD}),
        (bodies.bad_async, "spin", {BLOCKED}),
        (bodies.bad_async, "sleep", {BLOCKED}),
        (bodies.bad_async, "regex", {BLOCKED}),
        (bodies.bad_async, "c_loop", {BLOCKED}),
        (bodies.bad_async, "allocate", {MEMORY, BLOCKED}),
        (bodies.bad_async, "segfault", {CRASHED}),
        (bodies.bad_async, "stop_itself", {HARD}),
    ],
    ids=lambda value: value.policy.name if isinstance(value, Task) else value if isinstance(value, str) else "",
)
async def test_a_bad_body_ends_by_its_limit_and_no_neighbour_notices(
    memory_broker: Broker, task: AnyTask, kind: str, limits: set[str]
) -> None:
    neighbour = (bodies.waits_async if task.policy.is_async else bodies.waits).message()
    async with working(memory_broker, slots=2):
        await memory_broker.publish([neighbour])
        await said(memory_broker, neighbour)
        record = await run(memory_broker, task.message(kind))
        assert record.error is not None
        assert record.error.type in limits
        assert record.state is (TaskState.DEAD if limits == {CRASHED} else TaskState.FAILED)
        assert record.error.limit == ("" if limits == {CRASHED} else record.error.type)
        await the_slot_is_free_and_the_neighbour_well(memory_broker, neighbour)


async def test_memory_taken_in_small_steps_is_counted_for_the_body_that_took_it(memory_broker: Broker) -> None:
    neighbour = bodies.waits_async.message()
    async with working(memory_broker, slots=2):
        await memory_broker.publish([neighbour])
        record = await run(memory_broker, bodies.allocates_politely.message())
        assert record.error is not None
        assert (record.error.type, record.error.limit) == (MEMORY, MEMORY)
        await the_slot_is_free_and_the_neighbour_well(memory_broker, neighbour)


@pytest.mark.parametrize("kind", ["allocate", "allocate_small", "allocate_untouched", "touch_reserved"])
async def test_the_memory_limit_needs_no_time_limit(memory_broker: Broker, kind: str) -> None:
    """Large pieces, pieces so small that nothing is left to tell it with; what is only promised, and pages of
    what was promised before."""
    async with working(memory_broker):
        record = await run(memory_broker, bodies.takes_memory.message(kind))
        assert record.error is not None
        assert (record.state, record.error.type) == (TaskState.FAILED, MEMORY)
        assert (await run(memory_broker, bodies.add.message(1, 1))).state is TaskState.SUCCEEDED


@pytest.mark.parametrize("task", [bodies.tidies, bodies.tidies_async], ids=["def", "async def"])
async def test_the_soft_limit_lets_a_body_clean_up(memory_broker: Broker, tmp_path: Path, task: AnyTask) -> None:
    marks = tmp_path / "marks"
    async with working(memory_broker):
        record = await run(memory_broker, task.message(str(marks)))
    assert marks.read_text() == "tidied\n"
    if task.policy.is_async:
        assert record.error is not None
        assert (record.state, record.error.type) == (TaskState.FAILED, SOFT)
    else:
        assert (record.state, record.result) == (TaskState.SUCCEEDED, b'"in time"')


@pytest.mark.parametrize("task", [bodies.ignores_time, bodies.ignores_time_async], ids=["def", "async def"])
async def test_the_hard_limit_needs_no_soft_one(memory_broker: Broker, task: AnyTask) -> None:
    async with working(memory_broker):
        record = await run(memory_broker, task.message())
    assert record.error is not None
    assert (record.state, record.error.type) == (TaskState.FAILED, HARD)
    assert "0.5 s" in record.error.message


@pytest.mark.parametrize(
    "task",
    [
        bodies.waits,
        bodies.waits_async,
        bodies.swallows,
        bodies.swallows_async,
        bodies.loops_in_c,
    ],
    ids=lambda task: task.name.rpartition(".")[2],
)
async def test_cancel_ends_whatever_runs(memory_broker: Broker, task: AnyTask) -> None:
    message = task.message()
    neighbour = (bodies.waits_async if task.policy.is_async else bodies.waits).message()
    async with working(memory_broker, slots=2) as worker:
        await memory_broker.publish([neighbour])
        await said(memory_broker, neighbour)
        await memory_broker.publish([message])
        await said(memory_broker, message)
        await memory_broker.cancel([message.id])
        [record] = await ends(memory_broker, [message])
        assert record.error is not None
        assert (record.state, record.error.type) == (TaskState.CANCELLED, "TaskCancelled")
        await the_slot_is_free_and_the_neighbour_well(memory_broker, neighbour)
        assert worker.failed == 0


async def test_cancel_ends_a_loop_in_c_on_the_loop_unless_its_limit_was_sooner(memory_broker: Broker) -> None:
    message, neighbour = bodies.loops_in_c_async.message(), bodies.waits_async.message()
    async with working(memory_broker, slots=2):
        await memory_broker.publish([neighbour])
        await said(memory_broker, neighbour)
        await memory_broker.publish([message])
        await reached(memory_broker, message, TaskState.RUNNING)
        await memory_broker.cancel([message.id])
        [record] = await ends(memory_broker, [message])
        assert record.error is not None
        assert record.error.type in {"TaskCancelled", BLOCKED}
        await the_slot_is_free_and_the_neighbour_well(memory_broker, neighbour)


async def test_a_cancelled_body_has_no_process_that_goes_on(memory_broker: Broker) -> None:
    message = bodies.swallows.message()
    async with working(memory_broker):
        pid = int((await run(memory_broker, bodies.whoami.message())).result or 0)
        await memory_broker.publish([message])
        await said(memory_broker, message)
        await memory_broker.cancel([message.id])
        await ends(memory_broker, [message])
        assert not alive(pid)


async def test_a_task_that_waits_for_its_slot_is_cancelled_without_a_start(
    memory_broker: Broker, tmp_path: Path
) -> None:
    marks, short = tmp_path / "marks", [bodies.add.message(n, n) for n in range(100)]
    busy, waiting = bodies.waits.message(), bodies.writes.message(str(marks), "ran")
    async with working(memory_broker, slots=1):
        await memory_broker.publish(short)  # now it takes tasks ahead
        await ends(memory_broker, short)
        await memory_broker.publish([busy])
        await said(memory_broker, busy)
        await memory_broker.publish([waiting])
        await reached(memory_broker, waiting, TaskState.RUNNING)
        await memory_broker.cancel([waiting.id])
        [record] = await ends(memory_broker, [waiting])
        assert record.state is TaskState.CANCELLED
        await memory_broker.cancel([busy.id])
        assert (await run(memory_broker, bodies.add.message(1, 1))).state is TaskState.SUCCEEDED
    assert not marks.exists()


async def test_a_cancel_whose_notice_was_lost_is_heard_with_the_next_renewal(memory_broker: Broker) -> None:
    message = bodies.waits.message()
    deaf = FlakyBroker(memory_broker)
    deaf.mute = True
    async with working(deaf.broker, lease=0.3):
        await memory_broker.publish([message])
        await said(memory_broker, message)
        await memory_broker.cancel([message.id])
        [record] = await ends(memory_broker, [message])
    assert record.state is TaskState.CANCELLED
