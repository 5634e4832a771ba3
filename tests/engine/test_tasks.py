"""The face that users of Celery know: `@app.task`, `delay`, `get`, typed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from gristmill.base.errors import EngineError, ResultTimeout, TaskCancelled, TaskDead, TaskFailed, UnknownTask
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.context import TaskContext, current
from gristmill.engine.state import TaskState
from gristmill.engine.task import MIB, App
from gristmill.testing import bodies
from gristmill.testing.workers import WorkerProcess, working


def test_a_task_is_called_like_the_function_it_was() -> None:
    assert bodies.add(2, 3) == 5
    assert bodies.add(a=2, b=3) == 5


def test_a_bound_task_called_directly_gets_a_context_that_goes_nowhere() -> None:
    app = App()

    @app.task(bind=True)
    def speaks(ctx: TaskContext, word: str) -> str:
        ctx.update_state(0.5, word)
        return f"{ctx.attempt}/{ctx.max_attempts} {word} {ctx.is_aborted()} {ctx.remaining()} {ctx.lane!r}"

    assert speaks("hello") == "1/3 hello False None ''"


def test_a_message_carries_the_tasks_options_and_then_the_requests() -> None:
    app = App()

    @app.task(name="t", queue="slow", priority=3, max_retries=4)
    def body(n: int) -> None: ...

    message = body.options(key="k", lane="a").options(priority=9, delay=2.0).message(1)
    assert (message.task, message.args, message.queue, message.max_attempts) == ("t", [1], "slow", 5)
    assert (message.key, message.lane, message.priority, message.delay) == ("k", "a", 9, 2.0)
    assert (body.message(1).key, body.message(1).priority) == (None, 3)


def test_policies_know_what_they_were_given() -> None:
    app = App()

    @app.task(soft_time_limit=1.5, time_limit=2.5, memory_limit=64 * MIB)
    async def body() -> None: ...

    policy = app.policies()[0]
    assert (policy.is_async, policy.soft_time_limit, policy.time_limit, policy.memory_limit) == (
        True,
        1.5,
        2.5,
        64 * MIB,
    )
    assert policy.name == f"{__name__}.{body.body.__qualname__}"


def test_two_tasks_of_one_name_are_refused() -> None:
    app = App()
    app.add(len, name="n", bind=False, options={})
    with pytest.raises(EngineError, match="'n' already"):
        app.add(len, name="n", bind=False, options={})


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownTask, match=r"'nope'.*known: .*bodies\.add"):
        bodies.app.find("nope")


def test_an_app_that_is_not_connected_says_how_to() -> None:
    app = App("mine")
    app.add(len, name="n", bind=False, options={})
    with pytest.raises(EngineError, match="app 'mine' is not connected: use `with"):
        app.tasks["n"].delay([])
    with pytest.raises(EngineError, match="not connected: use `async with"):
        _ = app.client


def test_outside_of_a_task_there_is_no_context() -> None:
    with pytest.raises(EngineError, match="no task is running"):
        current()


@pytest.mark.anyio
async def test_submit_and_await_the_result(memory_broker: Broker) -> None:
    async with bodies.app.connected(memory_broker), working(memory_broker):
        handle = await bodies.add.submit(2, 3)
        assert await handle.result(timeout=60) == 5
        with pytest.raises(TaskDead, match=r"ValueError: no luck"):
            await (await bodies.fails.submit("no luck")).result(timeout=60)
        with pytest.raises(TaskFailed, match="SoftTimeLimitExceeded"):
            await (await bodies.bad_sync.submit("sleep")).result(timeout=60)


@dataclass
class Sack:
    grain: str
    weight: float


shop = App("shop")


@shop.task
def fill(grain: str) -> Sack:
    return Sack(grain, 50.0)


@shop.task
async def fill_both(grain: str) -> tuple[Sack, date]:
    return Sack(grain, 25.0), date(2026, 5, 5)


@shop.task
def says_less() -> "NotThere":  # type: ignore[name-defined]  # noqa: F821, UP037
    return [1, 2]


@shop.task
def says_otherwise() -> int:
    return "nine"  # type: ignore[return-value]


@pytest.mark.anyio
async def test_results_are_what_the_body_is_annotated_to_return(memory_broker: Broker) -> None:
    async with shop.connected(memory_broker), working(memory_broker, shop, inline=True):
        assert await (await fill.submit("rye")).result(timeout=60) == Sack("rye", 50.0)
        assert await (await fill_both.submit("oats")).result(timeout=60) == (Sack("oats", 25.0), date(2026, 5, 5))
        assert await (await says_less.submit()).result(timeout=60) == [1, 2]
        assert str(await (await says_otherwise.submit()).result(timeout=60)) == "nine"


@shop.task(bind=True)
def carry(ctx: TaskContext, sacks: int) -> int:
    for sack in range(sacks):
        ctx.update_state(sack / sacks, f"sack {sack}")
    return sacks


@pytest.mark.anyio
async def test_a_handle_is_watched_to_its_end(memory_broker: Broker) -> None:
    with anyio.fail_after(60):
        async with shop.connected(memory_broker), working(memory_broker, shop, inline=True):
            handle = await carry.submit(3)
            seen = [record async for record in handle.watch()]
    assert seen[-1].state is TaskState.SUCCEEDED
    assert [record.progress for record in seen] == sorted(record.progress for record in seen)
    assert handle.read(seen[-1]) == 3


@pytest.mark.parametrize(
    "rhythm", [{"every": 0}, {"every": -1}, {}, {"cron": "* *"}, {"cron": "@daily", "timezone": "?"}]
)
def test_a_rhythm_that_is_none_is_refused_where_it_is_written(rhythm: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"every|five fields|time zone"):
        App().periodic(fill.message("rye"), **rhythm)


@pytest.mark.anyio
async def test_a_known_key_gives_the_task_that_stands(memory_broker: Broker) -> None:
    async with bodies.app.connected(memory_broker):
        first = await bodies.add.options(key="k").submit(1, 1)
        second = await bodies.add.options(key="k").submit(2, 2)
    assert first.id == second.id


@pytest.mark.anyio
async def test_a_submitted_task_is_cancelled_by_its_handle(memory_broker: Broker) -> None:
    async with bodies.app.connected(memory_broker):
        handle = await bodies.add.submit(1, 1)
        await handle.cancel("changed my mind")
        with pytest.raises(TaskCancelled, match="changed my mind"):
            await handle.result(timeout=60)
        with pytest.raises(ResultTimeout):
            await (await bodies.add.submit(1, 1)).result(timeout=0.0)


@pytest.mark.anyio
async def test_a_body_finds_its_context(memory_broker: Broker) -> None:
    async with working(memory_broker), bodies.app.connected(memory_broker):
        handle = await bodies.knows_itself.submit()
        assert await handle.result(timeout=60) == [handle.id, 1, 3]


def test_delay_and_get_from_synchronous_code(tmp_path: Path) -> None:
    """No event loop in sight: the worker is another process."""
    url = f"sqlite:///{tmp_path}/tasks.db"
    with bodies.app.connect(open_broker(url)):
        result, unwanted = bodies.whoami.delay(), bodies.waits.delay()
        unwanted.cancel()
        assert (result.state, unwanted.state) == (TaskState.QUEUED, TaskState.CANCELLED)
        with pytest.raises(ResultTimeout):
            result.get(timeout=0.0)
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(WorkerProcess(url)):
            assert result.get(timeout=60) != os.getpid()
            assert result.state is result.record().state is TaskState.SUCCEEDED
            with pytest.raises(TaskDead, match="no luck"):
                bodies.fails.delay("no luck").get(timeout=60)
    with pytest.raises(EngineError, match="not connected"):
        bodies.add.delay(1, 1)
