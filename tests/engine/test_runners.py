"""What runners do for the bodies in them, and what a body's death costs: that body's attempt, and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from gristmill.engine.broker import Broker
from gristmill.engine.isolate import Pool, RunnerLimits
from gristmill.engine.message import new_message
from gristmill.engine.outcome import Outcome, stopped
from gristmill.engine.state import TaskState
from gristmill.engine.task import Task
from gristmill.testing import bodies
from gristmill.testing.processes import alive, children, settles
from gristmill.testing.workers import again, ends, reached, run, said, working

AnyTask = Task[..., Any]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_child_left")]


async def test_sync_and_async_bodies_succeed_with_their_results(memory_broker: Broker) -> None:
    async with working(memory_broker, slots=2) as worker:
        records = [await run(memory_broker, task.message(2, 3)) for task in (bodies.add, bodies.add_async)]
        assert [(record.state, record.result) for record in records] == [(TaskState.SUCCEEDED, b"5")] * 2
        assert worker.done == 2


async def test_a_thousand_small_tasks_complete_exactly_once(memory_broker: Broker, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    messages = [bodies.writes.message(str(effects), str(n)) for n in range(500)]
    messages += [bodies.add_async.message(n, n) for n in range(500)]
    async with working(memory_broker, slots=2) as worker:
        await memory_broker.publish(messages)
        records = await ends(memory_broker, messages)
    assert {(record.state, record.attempt) for record in records} == {(TaskState.SUCCEEDED, 1)}
    assert sorted(map(int, effects.read_text().split())) == list(range(500))
    assert worker.done == 1000


async def test_a_task_that_nobody_registered_fails_and_says_what_there_is(memory_broker: Broker) -> None:
    async with working(memory_broker):
        record = await run(memory_broker, new_message("gristmill.testing.bodies.ad"))
    assert record.state is TaskState.FAILED
    assert record.error is not None
    assert record.error.type == "UnknownTask"
    assert "no task 'gristmill.testing.bodies.ad'" in record.error.message
    assert "gristmill.testing.bodies.add" in record.error.message


async def test_the_latest_progress_is_kept_and_told(memory_broker: Broker) -> None:
    message = bodies.reports.message()
    async with working(memory_broker), memory_broker.notices() as notices:
        await memory_broker.publish([message])
        record = await said(memory_broker, message, "step 5")
        assert (record.progress, record.progress_data) == (0.5, {"step": 5})
        with anyio.fail_after(30):
            async for notice in notices:
                if notice.kind == "progress" and notice.message == "step 5":
                    break


@pytest.mark.parametrize("task", [bodies.publishes, bodies.publishes_async], ids=["def", "async def"])
async def test_a_body_publishes_tasks(memory_broker: Broker, task: AnyTask) -> None:
    async with working(memory_broker, slots=2):
        record = await run(memory_broker, task.message(3))
        assert record.result == b"[true,true,true]"
        found = await memory_broker.tasks()
        results = await ends(memory_broker, [one.message for one in found])
    assert sorted(one.result or b"" for one in results if one.message.task == bodies.add.name) == [b"0", b"2", b"4"]


async def test_a_body_is_told_which_of_its_tasks_were_known(memory_broker: Broker) -> None:
    async with working(memory_broker):
        assert (await run(memory_broker, bodies.publishes_once.message("k"))).result == b"[true,false]"


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("segfault", "signal SIGSEGV"),
        ("kill_itself", "signal SIGKILL"),
        ("exit_process", "exit code 3"),
        ("close_everything", ""),  # whichever end notices first
    ],
)
@pytest.mark.parametrize("task", [bodies.bad_sync, bodies.bad_async], ids=["def", "async def"])
async def test_a_crash_ends_its_own_task_and_says_how(
    memory_broker: Broker, task: AnyTask, kind: str, how: str
) -> None:
    neighbour = bodies.waits.message()
    async with working(memory_broker, slots=2):
        await memory_broker.publish([neighbour])
        await said(memory_broker, neighbour)
        record = await run(memory_broker, task.message(kind))
        assert record.state is TaskState.DEAD
        assert record.error is not None
        assert record.error.type == "RunnerCrashed"
        assert how in record.error.message
        assert (await run(memory_broker, bodies.add.message(1, 1))).state is TaskState.SUCCEEDED
        assert (await reached(memory_broker, neighbour, TaskState.RUNNING)).attempt == 1


@pytest.mark.parametrize("task", [bodies.bad_sync, bodies.bad_async], ids=["def", "async def"])
async def test_a_body_that_leaves_python_ends_only_itself(memory_broker: Broker, task: AnyTask) -> None:
    neighbour, message = bodies.waits_async.message(), task.message("exit_python")
    async with working(memory_broker, slots=2):
        await memory_broker.publish([neighbour])
        await said(memory_broker, neighbour)
        record = await run(memory_broker, message)
        assert record.error is not None
        assert (record.error.type, record.error.message) == ("SystemExit", "enough")
        assert (await reached(memory_broker, neighbour, TaskState.RUNNING)).attempt == 1


async def test_neighbours_on_the_loop_of_a_crash_begin_again_in_the_same_attempt(
    memory_broker: Broker, tmp_path: Path
) -> None:
    alive, neighbour = tmp_path / "alive", bodies.beats_async.message(str(tmp_path / "alive"))
    async with working(memory_broker, slots=2):
        await memory_broker.publish([neighbour])
        await _grows(alive)
        await run(memory_broker, bodies.bad_async.message("segfault"))
        await _grows(alive)
        assert (await reached(memory_broker, neighbour, TaskState.RUNNING)).attempt == 1


async def test_what_kills_its_runners_runs_out_of_attempts_and_says_why(memory_broker: Broker, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with working(memory_broker):
        record = await run(memory_broker, bodies.poison.message(str(starts)))
    assert record.state is TaskState.DEAD
    assert starts.read_text().split() == ["started"] * 3
    assert record.attempt == record.message.max_attempts == 3
    assert [(error.type, error.attempt) for error in record.history] == [("RunnerCrashed", n) for n in (1, 2, 3)]
    assert all("SIGKILL" in error.message for error in record.history)


async def test_a_nursery_that_dies_is_replaced(memory_broker: Broker) -> None:
    message = bodies.waits.message()
    async with working(memory_broker) as worker:
        await memory_broker.publish([message])
        await said(memory_broker, message)
        [nursery] = [child for child in psutil.Process().children() if child.pid in children()]
        nursery.kill()
        await again(memory_broker, message)
        await memory_broker.cancel([message.id])
        assert (await run(memory_broker, bodies.add.message(1, 1))).state is TaskState.SUCCEEDED
        assert worker.failed == 0


@pytest.mark.parametrize(
    ("limits", "same"),
    [
        (RunnerLimits(), True),
        (RunnerLimits(max_jobs=1), False),
        (RunnerLimits(max_age=0.0), False),
        (RunnerLimits(max_rss=1), False),
    ],
    ids=["young and small", "by jobs", "by age", "by size"],
)
@pytest.mark.parametrize("task", [bodies.whoami, bodies.whoami_async], ids=["def", "async def"])
async def test_runners_are_kept_warm_until_they_are_worn(
    memory_broker: Broker, task: AnyTask, limits: RunnerLimits, same: bool
) -> None:
    async with working(memory_broker, limits=limits, slots=1):
        pids = [(await run(memory_broker, task.message())).result for _ in range(3)]
    assert len(set(pids)) == (1 if same else 3)


async def test_worn_runners_leave_nothing_behind(memory_broker: Broker) -> None:
    """Neither a process nor a file descriptor."""
    this = psutil.Process()
    async with working(memory_broker, limits=RunnerLimits(max_jobs=1), slots=1):
        await run(memory_broker, bodies.whoami.message())
        before = this.num_fds()
        for task in (bodies.whoami, bodies.whoami_async) * 10:
            await run(memory_broker, task.message())
        await settles(lambda: len(children()) <= 3)  # the nursery and at most one runner of each kind
        await settles(lambda: this.num_fds() <= before + 1)


async def test_an_idle_worker_gives_its_runners_up_and_starts_them_again(memory_broker: Broker) -> None:
    async with working(memory_broker, limits=RunnerLimits(idle=0.0)):
        first = (await run(memory_broker, bodies.whoami.message())).result
        await settles(lambda: not children())
        assert (await run(memory_broker, bodies.whoami.message())).result != first


async def test_what_a_body_started_goes_with_it(memory_broker: Broker) -> None:
    message = bodies.starts_a_process.message()
    async with working(memory_broker):
        await memory_broker.publish([message])
        grandchild = int((await said(memory_broker, message, "")).progress_message)
        await memory_broker.cancel([message.id])
        await ends(memory_broker, [message])
        await settles(lambda: not alive(grandchild))


async def test_what_a_crashed_body_started_goes_with_it(memory_broker: Broker) -> None:
    message = bodies.starts_a_process.message()
    async with working(memory_broker):
        await memory_broker.publish([message])
        grandchild = int((await said(memory_broker, message, "")).progress_message)
        os.kill(psutil.Process(grandchild).ppid(), signal.SIGKILL)
        await settles(lambda: not alive(grandchild))


@pytest.mark.parametrize(
    ("kind", "type_", "text"),
    [
        ("result", "TypeError", "object"),
        ("name", "FileNotFoundError", r"half a \ud800 pair"),
        ("words", "_Broken", "cannot be read"),
    ],
)
async def test_what_no_message_can_carry_is_told_as_well_as_it_can_be(
    memory_broker: Broker, kind: str, type_: str, text: str
) -> None:
    async with working(memory_broker):
        record = await run(memory_broker, bodies.unsayable.message(kind))
    assert record.error is not None
    assert record.error.type == type_
    assert text in record.error.message


async def test_progress_that_no_message_can_carry_is_the_bodys_own_error(memory_broker: Broker) -> None:
    neighbour = bodies.waits_async.message()
    async with working(memory_broker, slots=2):
        await memory_broker.publish([neighbour])
        await said(memory_broker, neighbour)
        record = await run(memory_broker, bodies.reports_nonsense.message())
        assert record.error is not None
        assert record.error.type == "TypeError"
        assert (await reached(memory_broker, neighbour, TaskState.RUNNING)).attempt == 1


async def test_a_runner_that_talks_nonsense_is_ended(memory_broker: Broker) -> None:
    async with working(memory_broker):
        record = await run(memory_broker, bodies.bad_sync.message("talk_nonsense"))
        assert record.error is not None
        assert record.error.type == "RunnerCrashed"
        assert (await run(memory_broker, bodies.add.message(1, 1))).state is TaskState.SUCCEEDED


async def _grows(path: Path) -> None:
    size = _size(path)
    await settles(lambda: _size(path) > size)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("task", [bodies.waits, bodies.waits_async], ids=["def", "async def"])
async def test_what_is_stopped_while_its_runner_is_made_does_not_begin(task: Task[[], None], tmp_path: Path) -> None:
    message, outcomes = task.message(), list[Outcome]()
    pool = Pool("gristmill.testing.bodies:app", config={}, limits=RunnerLimits(), say=_ignored, publish=_no, book=_no)

    begun = anyio.Event()

    async def execute() -> None:
        begun.set()
        outcomes.append(await pool.execute(message, 1, task.policy))

    async with pool:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(execute)
                await begun.wait()
                pool.stop(message.id, "shutdown")
                pool.stop(message.id, "cancel")  # once is enough
    assert outcomes == [stopped("shutdown")]


def _ignored(said: object) -> None:
    """Nobody listens."""


async def _no(*args: object, **options: object) -> Any:
    raise AssertionError("nothing is asked of the broker here")
