"""The tasks of the rounds. Each tells the ledger when it begins and ends, and its result says which body made it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from fault.engine.ledger import Began, Left, Pen, now, room, worker
from gristmill.base.errors import UnsupportedDocument
from gristmill.base.ids import new_id
from gristmill.engine.context import TaskContext
from gristmill.engine.message import Message
from gristmill.engine.task import App, TaskOptions

app = App("faults")
PATIENT = 50  # attempts: more than a round has faults
USUAL: TaskOptions = {
    "max_retries": PATIENT - 1,
    "retry_backoff": 0.01,
    "retry_backoff_max": 0.2,
    "soft_time_limit": None,
    "time_limit": None,
}
POISON = 3  # attempts of those that kill their runner or never succeed
DOOMED: TaskOptions = {**USUAL, "max_retries": POISON - 1}

_pens: list[Pen] = []
_as_if_c = ctypes.PyDLL(None)  # calls of it keep the GIL


@app.on_runner_start
def _open() -> None:
    _pens.append(Pen(room()))


@contextmanager
def _noted(ctx: TaskContext, n: str) -> Iterator[dict[str, Any]]:
    """Tell of the body's beginning and end. The kernel tells whether another body of the task runs now: it has the lock."""
    nonce, done = new_id(), False
    with open(room() / f"lock-{n}", "ab", buffering=0) as lock:  # a stop may come anywhere: it is closed with its frame
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beside = False
        except BlockingIOError:
            beside = True
        _pens[0].write(Began(n, ctx.id, ctx.attempt, worker(), os.getpid(), nonce, now(), beside))
        try:
            yield {"n": n, "nonce": nonce, "attempt": ctx.attempt, "worker": worker()}
            done = True
        finally:
            _pens[0].write(Left(nonce, done, now()))


@app.task(name="nap", bind=True, **USUAL)
def nap(ctx: TaskContext, n: str, seconds: float) -> dict[str, Any]:
    with _noted(ctx, n) as result:
        time.sleep(seconds)  # noqa: TID251  a body that takes its time
    return result


@app.task(name="nap_async", bind=True, **USUAL)
async def nap_async(ctx: TaskContext, n: str, seconds: float) -> dict[str, Any]:
    with _noted(ctx, n) as result:
        await anyio.sleep(seconds)
        ctx.report(0.5, "half")
    return result


@app.task(name="waits", bind=True, **USUAL)
def waits(ctx: TaskContext, n: str) -> None:
    """Until it is cancelled."""
    with _noted(ctx, n):
        while True:
            time.sleep(60)  # noqa: TID251  ended by a signal


@app.task(name="waits_async", bind=True, **USUAL)
async def waits_async(ctx: TaskContext, n: str) -> None:
    with _noted(ctx, n):
        await anyio.sleep_forever()


@app.task(name="fails", bind=True, **USUAL)
def fails(ctx: TaskContext, n: str) -> None:
    """For good: repeating does not help."""
    with _noted(ctx, n):
        raise UnsupportedDocument(n)


@app.task(name="flaky", bind=True, **USUAL)
def flaky(ctx: TaskContext, n: str, good: int) -> dict[str, Any]:
    """Succeeds in attempt ``good`` and later."""
    with _noted(ctx, n) as result:
        if ctx.attempt < good:
            raise ConnectionError(n)
    return result


@app.task(name="hopeless", bind=True, **DOOMED)
def hopeless(ctx: TaskContext, n: str) -> None:
    with _noted(ctx, n):
        raise ValueError(n)


@app.task(name="poison", bind=True, **DOOMED)
def poison(ctx: TaskContext, n: str) -> None:
    with _noted(ctx, n):
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="poison_async", bind=True, **DOOMED)
async def poison_async(ctx: TaskContext, n: str) -> None:
    with _noted(ctx, n):
        os._exit(3)


@app.task(name="holds_gil", bind=True, **USUAL)
def holds_gil(ctx: TaskContext, n: str, seconds: float) -> dict[str, Any]:
    """C code that keeps the GIL: no thread of the runner gets a word in."""
    with _noted(ctx, n) as result:
        _as_if_c.usleep(int(seconds * 1e6))
    return result


@app.task(name="blocks_loop", bind=True, **USUAL)
async def blocks_loop(ctx: TaskContext, n: str, seconds: float) -> None:
    """Is stopped by a signal to its runner."""
    with _noted(ctx, n):
        time.sleep(seconds)  # noqa: ASYNC251, TID251  that is what it is for


@app.task(name="burns_loop", bind=True, **USUAL)
async def burns_loop(ctx: TaskContext, n: str) -> None:
    """One step of C code that hears no signal: its runner is ended."""
    with _noted(ctx, n):
        sum(range(10**12))


@app.task(name="parent", bind=True, **USUAL)
def parent(ctx: TaskContext, n: str, child: dict[str, Any]) -> dict[str, Any]:
    """Publishes another task; however often this one is repeated, there is one child."""
    with _noted(ctx, n) as result:
        ctx.publish([Message(id=new_id(), **child)])
    return result
