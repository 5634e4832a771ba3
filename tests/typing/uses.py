"""Uses of the task face that must type-check, and uses that must not: an unused ``type: ignore`` is an error itself.

Nobody runs this file; ``mypy`` reads it.
"""

from __future__ import annotations

from typing import assert_type

from gristmill.engine.client import AsyncResult, TaskHandle
from gristmill.engine.context import TaskContext
from gristmill.engine.message import Message
from gristmill.engine.task import App

app = App("uses")


@app.task
def add(a: int, b: int = 0) -> int:
    return a + b


@app.task(soft_time_limit=240, time_limit=300, max_retries=3, queue="slow", priority=1)
async def fetch(url: str, *, deep: bool = False) -> bytes:
    return url.encode() if deep else b""


@app.task(bind=True, name="named")
def convert(ctx: TaskContext, path: str) -> float:
    ctx.report(0.5, "half", page=3)
    return ctx.remaining() or 0.0


async def right() -> None:
    assert_type(add(1, 2), int)
    assert_type(await fetch("u", deep=True), bytes)
    assert_type(convert("p"), float)
    assert_type(add.delay(4, 5), AsyncResult[int])
    assert_type(add.delay(4, b=5).get(timeout=1), int)
    assert_type(fetch.delay("u").get(), bytes)
    assert_type(await fetch.submit("u"), TaskHandle[bytes])
    assert_type(await (await convert.submit("p")).result(), float)
    assert_type(convert.message("p"), Message)
    assert_type(await add.options(key="k").submit(1), TaskHandle[int])
    app.periodic(add, every=60.0)
    app.periodic(add.message(1, 2), cron="30 3 * * mon-fri", timezone="Europe/Berlin")


async def wrong() -> None:
    _: str = add.delay(4, 5).get()  # type: ignore[assignment]
    add.delay("4", 5)  # type: ignore[arg-type]
    add.delay()  # type: ignore[call-arg]
    add.delay(1, 2, 3)  # type: ignore[call-arg]
    add.delay(1, c=3)  # type: ignore[call-arg]
    await fetch.submit(1)  # type: ignore[call-overload]
    await fetch.submit("u", True)  # type: ignore[call-overload]
    await fetch.submit("u", deep="yes")  # type: ignore[call-overload]
    convert.delay(3)  # type: ignore[arg-type]
    convert.message()  # type: ignore[call-arg]
    convert.delay(TaskContext.for_testing(), "p")  # type: ignore[call-arg, arg-type]
    add.options(key="k").delay("4")  # type: ignore[arg-type]
    add.options(colour="red")  # type: ignore[call-arg]
    add.options(delay="soon")  # type: ignore[arg-type]
    app.task(time_limt=3)  # type: ignore[call-overload]
    app.task(time_limit="3")  # type: ignore[call-overload]
    app.periodic(len, every=60.0)  # type: ignore[call-overload]
    app.periodic(add, every=60.0, cron="@daily")  # type: ignore[call-overload]
    app.periodic(add)  # type: ignore[call-overload]


@app.task(bind=True)  # type: ignore[arg-type]
def unbound(path: str) -> None:
    """A bound body takes the context first."""
