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
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

import anyio
from anyio.abc import TaskGroup

from gristmill.base.errors import BrokerUnavailable, LoopBlocked
from gristmill.engine.context import TaskContext, running
from gristmill.engine.message import Message
from gristmill.engine.outcome import Ending, Outcome, stopped
from gristmill.engine.runner import run_async
from gristmill.engine.sync_runner import rss
from gristmill.engine.task import App
from gristmill.engine.wire import Answer, Ask, Beat, Channel, Done, Frame, Said, Stop, Work

STEP_TABLE = 4  # bytes: the slot of the task whose step runs now, 0 for none
BEAT = 0.05  # seconds between signs that the loop turns
TICK = 0.08  # seconds of real time between looks whether it does
MISSED = 3  # looks in a row without a turn: the step that runs is stopped


def serve(app: App, sock: socket.socket, steps: int) -> None:
    """Run what comes, until the worker closes the socket."""
    table = mmap.mmap(steps, STEP_TABLE)
    os.close(steps)
    anyio.run(_AsyncRunner(app, Channel(sock), table).serve)


@dataclass
class _Job:
    ctx: TaskContext
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    reason: str = ""


class _AsyncRunner:
    def __init__(self, app: App, channel: Channel, table: mmap.mmap) -> None:
        self._app = app
        self._channel = channel
        self._table = table
        self._jobs: dict[str, _Job] = {}
        self._asked = 0
        self._answers: dict[int, tuple[anyio.Event, list[Answer]]] = {}
        self._saying: list[Frame] = []
        self._said = anyio.Event()
        self._busy = anyio.Event()
        self._turns = 0
        self._seen = 0
        self._missed = 0

    async def serve(self) -> None:
        signal.signal(signal.SIGALRM, self._look)
        async with anyio.create_task_group() as children:
            children.start_soon(self._speak)
            children.start_soon(self._beat)
            while frames := await self._channel.receive():
                for frame in frames:
                    self._hear(children, frame)
            children.cancel_scope.cancel()

    def _hear(self, children: TaskGroup, frame: Frame) -> None:
        if isinstance(frame, Work):
            task = self._app.find(frame.message.task)
            ctx = TaskContext(frame.message, frame.attempt, self, soft_time_limit=task.policy.soft_time_limit)
            self._jobs[ctx.id] = _Job(ctx)
            self._busy.set()
            children.start_soon(self._run, frame, self._jobs[ctx.id])
        elif isinstance(frame, Stop) and frame.id in self._jobs:
            job = self._jobs[frame.id]
            job.reason, job.ctx.aborted = frame.reason, True
            job.scope.cancel()
        elif isinstance(frame, Answer) and frame.number in self._answers:
            event, box = self._answers[frame.number]
            box.append(frame)
            event.set()

    async def _run(self, work: Work, job: _Job) -> None:
        task = self._app.find(work.message.task)
        outcome = await run_async(task, job.ctx, job.scope, partial(_Stepped, table=self._table, slot=work.slot))
        if outcome.ending is Ending.STOPPED:
            outcome = stopped(job.reason)
        self._end(work, outcome)

    def _end(self, work: Work, outcome: Outcome) -> None:
        del self._jobs[work.message.id]
        self._send(Done(work.message.id, outcome, rss()))

    def _send(self, frame: Frame) -> None:
        self._saying.append(frame)
        self._said.set()

    async def _speak(self) -> None:
        """One writer, so that frames never mix."""
        while True:
            await self._said.wait()
            self._said = anyio.Event()
            frames, self._saying = self._saying, []
            for frame in frames:
                await self._channel.send(frame)

    async def _beat(self) -> None:
        """While there is work, show that the loop turns; and have a timer look that it does."""
        armed = False
        while True:
            self._busy = anyio.Event()
            if not self._jobs:
                armed = False
                signal.setitimer(signal.ITIMER_REAL, 0.0)
                await self._busy.wait()
            if not armed:
                armed, self._missed = True, 0
                signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
            self._turns += 1
            self._send(Beat())
            await anyio.sleep(BEAT)

    def _look(self, signum: int, frame: FrameType | None) -> None:
        """The timer's tick, in whatever frame the main thread is. A stopped or starved process gets few ticks, so that
        only a loop that was really held up misses several."""
        self._missed = self._missed + 1 if self._turns == self._seen else 0
        self._seen = self._turns
        if self._missed < MISSED or running.get() is None or _importing(frame):
            return
        self._missed = 0
        blocked = TICK * MISSED
        raise LoopBlocked(
            f"the body kept its event loop from answering for {blocked:.2f} s, the limit for one step;"
            " use a `def` task, or run the blocking call in a thread"
        )

    def say(self, task_id: str, value: float, message: str, data: dict[str, Any]) -> None:
        self._send(Said(task_id, value, message, data))

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        raise BrokerUnavailable("an async body publishes with `await ctx.publish_async(...)`")

    async def publish_async(self, messages: Sequence[Message]) -> list[bool]:
        self._asked += 1
        number, event, box = self._asked, anyio.Event(), list[Answer]()
        self._answers[number] = (event, box)
        self._send(Ask(number, list(messages)))
        try:
            await event.wait()
        finally:
            del self._answers[number]
        if box[0].error:
            raise BrokerUnavailable(box[0].error)
        return box[0].accepted


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class _Stepped:
    """A body whose every step is marked in the table."""

    def __init__(self, body: Awaitable[Any], *, table: mmap.mmap, slot: int) -> None:
        self._body = body
        self._table = table
        self._mark = slot.to_bytes(STEP_TABLE, sys.byteorder)

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._body.__await__()
        call: Callable[[Any], Any] = steps.send
        value: Any = None
        while True:
            self._table[:] = self._mark
            try:
                yielded = call(value)
            except StopIteration as stop:
                return stop.value
            finally:
                self._table[:] = b"\0\0\0\0"
            try:
                value = yield yielded
                call = steps.send
            except BaseException as exc:  # noqa: BLE001  handed on to the body
                value, call = exc, steps.throw
