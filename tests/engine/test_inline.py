"""Bodies in the worker's own process: for tests, notebooks, and tasks one trusts."""

from __future__ import annotations

import os
import threading
from typing import Any

import anyio
import pytest

from gristmill.base.errors import EngineError
from gristmill.engine.broker import Broker
from gristmill.engine.context import TaskContext
from gristmill.engine.state import TaskState
from gristmill.engine.task import App, Task
from gristmill.engine.worker import Worker
from gristmill.testing import bodies
from gristmill.testing.processes import children
from gristmill.testing.workers import BODIES, ends, run, said, working

pytestmark = pytest.mark.anyio


async def test_bodies_run_in_this_process_and_start_no_other(memory_broker: Broker) -> None:
    before = children()
    async with working(memory_broker, bodies.app, inline=True):
        for task in (bodies.whoami, bodies.whoami_async):
            assert (await run(memory_broker, task.message())).result == str(os.getpid()).encode()
        assert children() == before


async def test_both_kinds_report_and_publish(memory_broker: Broker) -> None:
    app, gate = App(), threading.Event()

    @app.task(bind=True)
    def speaks(ctx: TaskContext) -> list[bool]:
        ctx.report(0.5, "waiting")
        gate.wait(60)
        return ctx.publish([add.message(1, 2)])

    @app.task(bind=True)
    async def speaks_async(ctx: TaskContext) -> list[bool]:
        ctx.report(0.5, "waiting")
        return await ctx.publish_async([add.message(1, 2)])

    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    message = speaks.message()
    async with working(memory_broker, app, inline=True, slots=2):
        await memory_broker.publish([message])
        await said(memory_broker, message)
        gate.set()
        assert (await ends(memory_broker, [message]))[0].result == b"[true]"
        assert (await run(memory_broker, speaks_async.message())).result == b"[true]"
        added = [one.message for one in await memory_broker.tasks() if one.message.task == add.name]
        assert [record.result for record in await ends(memory_broker, added)] == [b"3", b"3"]


@pytest.mark.parametrize(
    ("task", "type_"),
    [(bodies.tidies_async, "SoftTimeLimitExceeded"), (bodies.ignores_time_async, "HardTimeLimitExceeded")],
    ids=["soft", "hard"],
)
async def test_async_bodies_keep_their_time_limits(
    memory_broker: Broker, tmp_path: Any, task: Task[..., Any], type_: str
) -> None:
    args = [str(tmp_path / "marks")] if task is bodies.tidies_async else []
    async with working(memory_broker, bodies.app, inline=True):
        record = await run(memory_broker, task.message(*args))
    assert record.error is not None
    assert (record.state, record.error.type) == (TaskState.FAILED, type_)


async def test_a_sync_body_over_its_hard_limit_fails_though_nothing_can_end_its_thread(memory_broker: Broker) -> None:
    app, gate = App(), threading.Event()

    @app.task(soft_time_limit=None, time_limit=0.05, max_retries=0)
    def hangs() -> None:
        gate.wait(60)

    async with working(memory_broker, app, inline=True):
        record = await run(memory_broker, hangs.message())
    gate.set()
    assert record.error is not None
    assert (record.state, record.error.type) == (TaskState.FAILED, "HardTimeLimitExceeded")


async def test_cancel_ends_an_async_body_and_tells_a_sync_one(memory_broker: Broker) -> None:
    app = App()

    @app.task(bind=True)
    def listens(ctx: TaskContext) -> str:
        ctx.report(0.1, "waiting")
        while not ctx.is_aborted():
            pass
        return "heard"

    messages = [bodies.waits_async.message(), listens.message()]
    app.tasks[bodies.waits_async.name] = bodies.waits_async
    async with working(memory_broker, app, inline=True, slots=2):
        await memory_broker.publish(messages)
        for message in messages:
            await said(memory_broker, message)
        await memory_broker.cancel([message.id for message in messages])
        records = await ends(memory_broker, messages)
    assert [record.state for record in records] == [TaskState.CANCELLED, TaskState.SUCCEEDED]
    assert records[1].result == b'"heard"'


async def test_hooks_run_before_the_first_task(memory_broker: Broker) -> None:
    app, order = App(), list[str]()

    @app.on_runner_start
    def prepare() -> None:
        order.append("hook")

    @app.task
    async def works() -> None:
        await anyio.lowlevel.checkpoint()
        order.append("task")

    async with working(memory_broker, app, inline=True):
        await run(memory_broker, works.message())
    assert order == ["hook", "task"]


@pytest.mark.parametrize(
    ("app", "inline"), [(bodies.app, False), (BODIES, True)], ids=["App, runners", "place, inline"]
)
async def test_an_app_is_given_as_its_place_to_runners_and_as_itself_inline(
    memory_broker: Broker, app: App | str, inline: bool
) -> None:
    with pytest.raises(EngineError, match=r"give"):
        Worker(memory_broker, app, inline=inline)
