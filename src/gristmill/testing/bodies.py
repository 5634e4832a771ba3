"""An app of bodies that do well, badly, and very badly: for tests and benches of the limits."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import time
from collections import deque

import anyio

from gristmill.base.errors import ModelUnavailable
from gristmill.engine.context import TaskContext
from gristmill.engine.task import App, TaskOptions

MIB = 1024 * 1024

app = App("bodies")

LIMITS: TaskOptions = {"soft_time_limit": 0.5, "time_limit": 1.0, "memory_limit": 200 * MIB, "max_retries": 0}


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
async def add_async(a: int, b: int) -> int:
    await anyio.lowlevel.checkpoint()
    return a + b


@app.task(bind=True, retry_backoff=0.01)
def third_time_lucky(ctx: TaskContext) -> int:
    if ctx.attempt < 3:
        raise ModelUnavailable("not yet", retry_after=0.01)
    return ctx.attempt


@app.task(max_retries=0)
def fails(text: str) -> None:
    raise ValueError(text)


@app.task(bind=True)
def whoami(ctx: TaskContext) -> int:
    return os.getpid()


@app.task(bind=True, soft_time_limit=60.0)
async def beats(ctx: TaskContext, seconds: float, every: float) -> float:
    """A neighbour: returns the longest silence between two of its steps, across runners (wall clock, in a file)."""
    longest, last, end = 0.0, time.monotonic(), time.monotonic() + seconds
    while time.monotonic() < end:
        await anyio.sleep(every)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        ctx.report(0.5, f"{last:.4f}")
    return longest


def spin() -> None:
    while True:
        pass


def sleep() -> None:
    time.sleep(1000)  # noqa: TID251  this is the bad deed


def regex() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


def c_loop() -> None:
    deque(itertools.repeat(None), maxlen=0)


def allocate() -> None:
    kept = []
    while True:
        kept.append(bytearray(4 * MIB))


def segfault() -> None:
    ctypes.string_at(0)


BAD = {body.__name__: body for body in (spin, sleep, regex, c_loop, allocate, segfault)}


@app.task(name="bad_sync", **LIMITS)
def bad_sync(kind: str) -> None:
    BAD[kind]()


@app.task(name="bad_async", **LIMITS)
async def bad_async(kind: str) -> None:
    await anyio.lowlevel.checkpoint()
    BAD[kind]()


@app.task(bind=True)
def publishes(ctx: TaskContext, number: int) -> list[bool]:
    return ctx.publish([add.message(n, n) for n in range(number)])


@app.task(bind=True, soft_time_limit=600.0)
def waits(ctx: TaskContext) -> None:
    ctx.report(0.1, "waiting")
    time.sleep(600)  # noqa: TID251  waits to be stopped


@app.task(bind=True, soft_time_limit=600.0)
async def waits_async(ctx: TaskContext) -> None:
    ctx.report(0.1, "waiting")
    await anyio.sleep_forever()


@app.task(bind=True, soft_time_limit=600.0)
def swallows(ctx: TaskContext) -> None:
    """Does not want to be stopped."""
    ctx.report(0.1, "waiting")
    while True:
        try:
            time.sleep(600)  # noqa: TID251  waits to be stopped
        except BaseException:  # noqa: BLE001, S112  the worst body there is
            continue
