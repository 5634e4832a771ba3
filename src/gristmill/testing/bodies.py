"""An app of bodies that do well, badly, and very badly: for tests and benches of the limits."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress

import anyio
import anyio.lowlevel

from gristmill.base.errors import ModelUnavailable, SoftTimeLimitExceeded
from gristmill.base.ids import new_id
from gristmill.engine.context import TaskContext, current
from gristmill.engine.task import App, TaskOptions

MIB = 1024 * 1024

app = App("bodies")

LIMITS: TaskOptions = {"soft_time_limit": 0.5, "time_limit": 2.0, "memory_limit": 100 * MIB, "max_retries": 0}


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


@app.task
def knows_itself() -> list[str | int]:
    """Finds its context without being given it."""
    ctx = current()
    return [ctx.id, ctx.attempt, ctx.max_attempts]


@app.task(bind=True)
def throttled(ctx: TaskContext) -> int:
    if ctx.attempt < 2:
        raise ModelUnavailable("too many requests", retry_after=100.0)
    return ctx.attempt


@app.task(max_retries=0)
def fails(text: str) -> None:
    raise ValueError(text)


@app.task
def whoami() -> int:
    """The process that runs it."""
    return os.getpid()


@app.task
async def whoami_async() -> int:
    """The same."""
    return os.getpid()


@app.task(bind=True, max_retries=1, retry_backoff=0.0)
def fails_in_a_stage(ctx: TaskContext) -> None:
    with ctx.stage(f"stage {ctx.attempt}"):
        raise ModelUnavailable(f"attempt {ctx.attempt}")


@app.task(bind=True, soft_time_limit=None)
def counts(ctx: TaskContext) -> None:
    """Ends a stage, says so, and goes on for long."""
    with ctx.stage("counted"):
        pass
    ctx.report(0.5, "counted")
    sleep()


@app.task(bind=True, soft_time_limit=None)
async def counts_async(ctx: TaskContext) -> None:
    """The same on the loop."""
    with ctx.stage("counted"):
        pass
    ctx.report(0.5, "counted")
    await anyio.sleep_forever()


@app.task
def writes(path: str, line: str) -> None:
    """Leaves a line in a file: the effect that tests count."""
    write(path, line)


@app.task(bind=True, soft_time_limit=None, max_retries=20)
def passes_gate(ctx: TaskContext, ledger: str, gate: str) -> None:
    """Writes its start and its end into the ledger; in between it waits for the gate to be there."""
    write(ledger, f"start {ctx.id}")
    while not os.path.exists(gate):
        time.sleep(0.01)  # noqa: TID251  nobody here would set an event
    write(ledger, f"end {ctx.id}")


@app.task
def leaves_orphans(count: int) -> int:
    """Makes processes whose parent ends before they do."""
    for _ in range(count):
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(0.01)  # noqa: TID251  outlives its parent
            os._exit(0)
        os.wait()
    return count


@app.task(soft_time_limit=None)
def beats(path: str) -> None:
    """A neighbour: says in a file when it was alive, until it is stopped."""
    while True:
        write(path, f"{time.monotonic():.4f}")
        time.sleep(0.01)  # noqa: TID251  a body that works a little and often


@app.task(soft_time_limit=None)
async def beats_async(path: str) -> None:
    """The same on the loop."""
    while True:
        write(path, f"{time.monotonic():.4f}")
        await anyio.sleep(0.01)


def write(path: str, line: str) -> None:
    """The effect of bodies here."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


WORK: TaskOptions = {
    "max_retries": 99,
    "retry_backoff": 0.01,
    "retry_backoff_max": 0.2,
    "soft_time_limit": None,
    "time_limit": 5.0,
}


@app.task(bind=True, **WORK)
def works(ctx: TaskContext, ledger: str, seconds: float) -> str:
    """A little work that tells the ledger of its start and its end: see ``testing.load``."""
    nonce = new_id()
    write(ledger, f"start {ctx.id} {ctx.attempt} {nonce} {time.monotonic()}")
    time.sleep(seconds)  # noqa: TID251  a body that takes its time
    write(ledger, f"end {ctx.id} {ctx.attempt} {nonce} {time.monotonic()}")
    return nonce


@app.task(bind=True, **WORK)
async def works_async(ctx: TaskContext, ledger: str, seconds: float) -> str:
    """The same on the loop."""
    nonce = new_id()
    write(ledger, f"start {ctx.id} {ctx.attempt} {nonce} {time.monotonic()}")
    await anyio.sleep(seconds)
    write(ledger, f"end {ctx.id} {ctx.attempt} {nonce} {time.monotonic()}")
    return nonce


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


def allocate_untouched() -> None:
    """Takes address space, but no memory."""
    kept = mmap.mmap(-1, 4 * 1024 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    sleep()
    kept.close()


def allocate_small() -> None:
    kept: list[str] = []
    while True:
        kept.append("x" * (50 + len(kept) % 50))


def stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def close_everything() -> None:
    os.closerange(3, 256)


def talk_nonsense() -> None:
    for fd in range(3, 64):
        with suppress(OSError):
            os.write(fd, (8).to_bytes(4, "little") + b"nonsense")
    time.sleep(1000)  # noqa: TID251  waits to be stopped


def exit_python() -> None:
    sys.exit("enough")


def exit_process() -> None:
    os._exit(3)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


BAD = {body.__name__: body for body in (spin, sleep, regex, c_loop, allocate, segfault)}
ODD = {
    body.__name__: body
    for body in (
        *(allocate_small, stop_itself, close_everything, talk_nonsense),
        *(exit_python, exit_process, kill_itself),
    )
}


@app.task(bind=True)
def paced(ctx: TaskContext) -> None:
    """Takes the one token that there is."""
    ctx.throttle("bodies", rate=0.01)


@app.task(bind=True)
async def paced_async(ctx: TaskContext) -> None:
    """Takes the one token that there is."""
    await ctx.throttle_async("bodies", rate=0.01)


@app.task(name="bad_sync", **LIMITS)
def bad_sync(kind: str) -> None:
    (BAD | ODD)[kind]()


@app.task(soft_time_limit=None, time_limit=None, max_retries=0)
def never_ends(kind: str) -> None:
    """A bad deed that no limit ends."""
    (BAD | ODD)[kind]()


@app.task(name="bad_async", **LIMITS)
async def bad_async(kind: str) -> None:
    await anyio.lowlevel.checkpoint()
    (BAD | ODD)[kind]()


@app.task(soft_time_limit=None, time_limit=None, memory_limit=100 * MIB, max_retries=0)
async def allocates_politely() -> None:
    """Never holds the loop for long, and takes all memory."""
    kept = []
    while True:
        kept.append(b"x" * MIB)
        await anyio.lowlevel.checkpoint()


_RESERVED = mmap.mmap(-1, 400 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # address space, no memory yet


def touch_reserved() -> None:
    """Takes memory, but no address space."""
    for at in range(0, len(_RESERVED), 4096):
        _RESERVED[at] = 1
    sleep()


@app.task(soft_time_limit=None, time_limit=None, memory_limit=100 * MIB, max_retries=0)
def takes_memory(kind: str) -> None:
    found = {body.__name__: body for body in (allocate, allocate_small, allocate_untouched, touch_reserved)}
    found[kind]()


@app.task(max_retries=2)
def poison(path: str) -> None:
    """Kills whatever runs it."""
    write(path, "started")
    kill_itself()


@app.task(soft_time_limit=0.2, time_limit=60.0, max_retries=0)
def tidies(path: str) -> str:
    """Uses what is left after the soft limit."""
    try:
        sleep()
    except SoftTimeLimitExceeded:
        write(path, "tidied")
    return "in time"


@app.task(soft_time_limit=0.2, time_limit=60.0, max_retries=0)
async def tidies_async(path: str) -> None:
    """Cleans up as it is stopped."""
    try:
        await anyio.sleep_forever()
    finally:
        write(path, "tidied")


@app.task(soft_time_limit=None, time_limit=0.5, max_retries=0)
def ignores_time() -> None:
    """Has no soft limit."""
    sleep()


@app.task(soft_time_limit=None, time_limit=0.5, max_retries=0)
async def ignores_time_async() -> None:
    """The same on the loop."""
    await anyio.sleep_forever()


@app.task(bind=True)
def publishes(ctx: TaskContext, number: int) -> list[bool]:
    return ctx.publish([add.message(n, n) for n in range(number)])


@app.task(bind=True)
async def publishes_async(ctx: TaskContext, number: int) -> list[bool]:
    return await ctx.publish_async([add.message(n, n) for n in range(number)])


@app.task(bind=True)
def publishes_once(ctx: TaskContext, key: str) -> list[bool]:
    return ctx.publish([add.options(key=key).message(1, 1), add.options(key=key).message(2, 2)])


@app.task(bind=True)
def reports(ctx: TaskContext) -> None:
    """The last word is what counts."""
    for n in range(1, 6):
        ctx.report(n / 10, f"step {n}", step=n)
    time.sleep(600)  # noqa: TID251  waits to be stopped


@app.task(max_retries=0)
def unsayable(kind: str) -> object:
    """Comes to something that no message can carry as it is."""
    if kind == "result":
        return object()
    if kind == "name":
        raise FileNotFoundError("half a \ud800 pair")
    raise _Broken


class _Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@app.task(bind=True, max_retries=0)
async def reports_nonsense(ctx: TaskContext) -> None:
    ctx.report(0.5, "", what=object())


@app.task(max_retries=0)
async def fails_in_a_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_fail)


async def _fail() -> None:
    raise ModelUnavailable("throttled", retry_after=7.0)


@app.task(bind=True, soft_time_limit=600.0)
def starts_a_process(ctx: TaskContext) -> None:
    """Waits with a child of its own."""
    with subprocess.Popen(["sleep", "600"]) as child:  # noqa: S607
        ctx.report(0.1, str(child.pid))
        child.wait()


@app.task(bind=True, soft_time_limit=600.0)
def waits(ctx: TaskContext) -> None:
    ctx.report(0.1, "waiting")
    time.sleep(600)  # noqa: TID251  waits to be stopped


@app.task(bind=True, soft_time_limit=600.0)
def waits_for(ctx: TaskContext, path: str) -> None:
    """Ends when there is such a file."""
    ctx.report(0.1, "waiting")
    while not os.path.exists(path):
        time.sleep(0.005)  # noqa: TID251  nobody tells


@app.task(bind=True, soft_time_limit=600.0)
async def waits_async(ctx: TaskContext) -> None:
    ctx.report(0.1, "waiting")
    await anyio.sleep_forever()


@app.task(bind=True, soft_time_limit=600.0)
def swallows(ctx: TaskContext) -> None:
    """Does not want to be stopped."""
    while True:
        try:
            ctx.report(0.1, "waiting")
            time.sleep(600)  # noqa: TID251  waits to be stopped
        except BaseException:  # noqa: BLE001, S112  the worst body there is
            continue


@app.task(bind=True, soft_time_limit=600.0)
async def swallows_async(ctx: TaskContext) -> None:
    """The same on the loop."""
    while True:
        with suppress(BaseException):
            ctx.report(0.1, "waiting")
            await anyio.sleep(600)


@app.task(bind=True, soft_time_limit=600.0)
def loops_in_c(ctx: TaskContext) -> None:
    ctx.report(0.1, "waiting")
    c_loop()


@app.task(bind=True, soft_time_limit=600.0)
async def loops_in_c_async(ctx: TaskContext) -> None:
    ctx.report(0.1, "waiting")
    await anyio.sleep(0.01)  # what it said is on its way
    c_loop()


@app.task(bind=True, soft_time_limit=600.0)
def keeps_a_diary(ctx: TaskContext, path: str) -> None:
    """Says when each attempt begins and when it ends."""
    write(path, f"{ctx.attempt} begins")
    try:
        ctx.report(0.1, f"attempt {ctx.attempt}")
        sleep()
    finally:
        write(path, f"{ctx.attempt} ends")


@app.task(bind=True, soft_time_limit=600.0)
def answers_late(ctx: TaskContext) -> str:
    """Told to stop, it answers nevertheless."""
    try:
        ctx.report(0.1, "waiting")
        sleep()
    except BaseException:  # noqa: BLE001  it will not be told
        ctx.report(0.9, "late")
    return "late"
