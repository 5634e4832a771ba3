"""The child that runs ``async def`` bodies: many at a time on one loop, which none of them may hold up.

Each step of a body is marked in a table that the worker can read, so that whoever holds the loop is known even when the
process answers nothing any more.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

import anyio
from anyio.abc import TaskGroup

from gristmill.base import meters
from gristmill.base.errors import BrokerUnavailable, LoopBlocked
from gristmill.engine import stacks
from gristmill.engine.context import TaskContext, running
from gristmill.engine.memory import Scale, Share, over_limit
from gristmill.engine.message import Message
from gristmill.engine.outcome import Ending, Outcome, ended, stopped
from gristmill.engine.runner import run_async
from gristmill.engine.task import App
from gristmill.engine.wire import Answer, Ask, Beat, Book, Channel, Counted, Done, Frame, Said, Staged, Stop, Work

STEP_TABLE = 4  # bytes: the slot of the task whose step runs now, 0 for none
BEAT = 0.05  # seconds between signs that the loop turns
TICK = 0.08  # seconds of real time between looks whether it does
MISSED = 3  # looks in a row without a turn, and ...
HELD = 0.15  # ... seconds of its own time since the last turn: the step that runs is stopped
OVER_MEMORY = "memory"


def serve(app: App, sock: socket.socket, steps: int) -> None:
    """Run what comes, until the worker closes the socket."""
    table = mmap.mmap(steps, STEP_TABLE)
    os.close(steps)
    anyio.run(_AsyncRunner(app, Channel(sock), table).serve)


@dataclass
class _Job:
    ctx: TaskContext
    share: Share | None
    until: float | None  # its soft limit, as ``time.monotonic`` tells
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    reason: str = ""
    body: Any = None

    def stop(self, reason: str) -> None:
        self.reason, self.ctx.aborted = reason, True
        self.scope.cancel()


class _AsyncRunner:
    def __init__(self, app: App, channel: Channel, table: mmap.mmap) -> None:
        self._app = app
        self._channel = channel
        self._table = table
        self._jobs: dict[str, _Job] = {}
        self._asked = 0
        self._answers: dict[int, tuple[anyio.Event, list[Answer]]] = {}
        self._scale = Scale()
        self._busy = anyio.Event()
        self._armed = False
        self._turns = 0
        self._seen = 0
        self._missed = 0
        self._since = self._starved = 0.0
        self._schedule = _open_schedule()

    async def serve(self) -> None:
        stacks.tellers[:] = [self._tell]
        signal.signal(signal.SIGALRM, self._look)
        async with anyio.create_task_group() as children:
            children.start_soon(self._channel.write)
            children.start_soon(self._beat)
            while frames := await self._channel.receive():
                for frame in frames:
                    self._hear(children, frame)
            children.cancel_scope.cancel()

    def _hear(self, children: TaskGroup, frame: Frame) -> None:
        if isinstance(frame, Work):
            limit = self._app.find(frame.message.task).policy.soft_time_limit
            ctx = TaskContext(frame.message, frame.attempt, self, soft_time_limit=limit)
            share = None if frame.memory_limit is None else Share(frame.memory_limit)
            job = _Job(ctx, share, None if limit is None else time.monotonic() + limit)
            self._jobs[ctx.id] = job
            self._arm()  # before the body: its first step may be the one that blocks
            children.start_soon(self._run, frame, job)
            self._busy.set()  # after the body: that it has begun can be told while it waits
        elif isinstance(frame, Stop) and frame.id in self._jobs:
            self._jobs[frame.id].stop(frame.reason)
        elif isinstance(frame, Answer) and frame.number in self._answers:
            event, box = self._answers[frame.number]
            box.append(frame)
            event.set()

    async def _run(self, work: Work, job: _Job) -> None:
        task = self._app.find(work.message.task)
        outcome = await run_async(
            task, job.ctx, job.scope, partial(_Stepped, table=self._table, slot=work.slot, job=job)
        )
        if outcome.ending is Ending.STOPPED and job.reason == OVER_MEMORY:
            outcome = ended(over_limit(work.memory_limit or 0), attempt=work.attempt)
        elif outcome.ending is Ending.STOPPED:
            outcome = stopped(job.reason)
        self._end(work, outcome)

    def _end(self, work: Work, outcome: Outcome) -> None:
        stages = self._jobs.pop(work.message.id).ctx.stages
        if stages:
            self._channel.post(Staged(work.message.id, stages))
        self._tell_counts()
        self._channel.post(Done(work.message.id, outcome, self._scale.resident(anew=work.memory_limit is not None)))

    async def _beat(self) -> None:
        """While there is work, show that the loop turns, and have a timer look that it does; and keep the soft limits."""
        while True:
            self._busy = anyio.Event()
            if not self._jobs:
                self._armed = False
                signal.setitimer(signal.ITIMER_REAL, 0.0)
                await self._busy.wait()
            self._arm()
            self._turns += 1
            self._channel.post(Beat(self._heaviest()))
            self._tell_counts()
            self._end_late()
            await anyio.sleep(BEAT)

    def _tell(self) -> Iterator[str]:
        for job in list(self._jobs.values()):
            ctx = job.ctx
            yield f"task {ctx.id} ({ctx.message.task}, attempt {ctx.attempt}, stage {ctx.stage_name or 'none'}) waits in"
            yield from stacks.of_coroutine(job.body)

    def _tell_counts(self) -> None:
        if changes := meters.changes():
            self._channel.post(Counted(changes))

    def _arm(self) -> None:
        if not self._armed:
            self._armed, self._missed = True, 0
            self._turns += 1  # the first tick counts from now
            signal.setitimer(signal.ITIMER_REAL, TICK, TICK)

    def _end_late(self) -> None:
        now = time.monotonic()
        for job in self._jobs.values():
            if job.until is not None and job.until <= now:
                job.until = None
                job.scope.cancel()

    def _heaviest(self) -> str:
        shares = {task_id: job.share.used for task_id, job in self._jobs.items() if job.share is not None}
        return max(shares, key=shares.__getitem__, default="")

    def _look(self, signum: int, frame: FrameType | None) -> None:
        """The timer's tick, in whatever frame the main thread is.

        A stopped process gets no ticks, and of a starved one the time is not counted in which it waited for a processor:
        only a loop that was really held up is told so.
        """
        if self._turns != self._seen:
            self._seen, self._missed = self._turns, 0
            self._since, self._starved = time.monotonic(), self._waiting()
            return
        self._missed += 1
        blocked = time.monotonic() - self._since - (self._waiting() - self._starved)
        if self._missed < MISSED or blocked < HELD or running.get() is None or _importing(frame):
            return
        self._missed, self._seen = 0, -1
        raise LoopBlocked(
            f"the body kept its event loop from answering for {blocked:.2f} s, the limit for one step;"
            " use a `def` task, or run the blocking call in a thread"
        )

    def _waiting(self) -> float:
        """Seconds for which the main thread was ready and had no processor (0 where the system does not tell)."""
        try:
            return int(os.pread(self._schedule, 64, 0).split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def say(self, task_id: str, value: float, message: str, data: dict[str, Any]) -> None:
        self._channel.post(Said(task_id, value, message, data))

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        raise BrokerUnavailable("an async body publishes with `await ctx.publish_async(...)`")

    async def publish_async(self, messages: Sequence[Message]) -> list[bool]:
        self._asked += 1
        return (await self._ask(Ask(self._asked, list(messages)))).accepted

    def book(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        raise BrokerUnavailable("an async body throttles itself with `await ctx.throttle_async(...)`")

    async def book_async(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        self._asked += 1
        return (await self._ask(Book(self._asked, name, rate, burst, cost))).wait

    async def _ask(self, question: Ask | Book) -> Answer:
        event, box = anyio.Event(), list[Answer]()
        self._answers[question.number] = (event, box)
        self._channel.post(question)
        try:
            await event.wait()
        finally:
            del self._answers[question.number]
        if box[0].error:
            raise BrokerUnavailable(box[0].error)
        return box[0]


def _open_schedule() -> int:
    try:
        return os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


_NOBODY = bytes(STEP_TABLE)


class _Stepped:
    """A body whose every step is marked in the table; its memory is counted where it has a limit."""

    def __init__(self, body: Awaitable[Any], *, table: mmap.mmap, slot: int, job: _Job) -> None:
        self._body = job.body = body
        self._table = table
        self._job = job
        self._mark = slot.to_bytes(STEP_TABLE, sys.byteorder)

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, share = self._body.__await__(), self._job.share
        call: Callable[[Any], Any] = steps.send
        value: Any = None
        while True:
            self._table[:] = self._mark
            try:
                if share is not None:
                    share.begin()
                yielded = call(value)
            except StopIteration as stop:
                return stop.value
            finally:
                if share is not None:
                    share.end()
                self._table[:] = _NOBODY
            if share is not None and share.over and not self._job.reason:
                self._job.stop(OVER_MEMORY)
            try:
                value = yield yielded
                call = steps.send
            except BaseException as exc:  # noqa: BLE001  handed on to the body
                value, call = exc, steps.throw
