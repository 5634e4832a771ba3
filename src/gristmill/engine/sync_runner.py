"""The child that runs ``def`` bodies: one at a time, in the main thread, where signals can reach them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from gristmill.base import meters
from gristmill.base.errors import BrokerUnavailable, EngineError, SoftTimeLimitExceeded
from gristmill.engine import stacks
from gristmill.engine.context import TaskContext
from gristmill.engine.memory import Scale, bound
from gristmill.engine.message import Message
from gristmill.engine.outcome import Outcome, failure, stopped
from gristmill.engine.runner import Stopped, run_sync, soft_limit
from gristmill.engine.task import App
from gristmill.engine.wire import Answer, Ask, BlockingChannel, Book, Counted, Done, Said, Staged, Work

STOP = signal.SIGUSR1  # the worker sends it to end the body that runs now


def serve(app: App, sock: socket.socket, steps: int) -> None:
    """Run what comes, until the worker closes the socket."""
    os.close(steps)
    with suppress(BrokenPipeError, ConnectionResetError):  # the worker has gone, and there is nobody left to tell
        _SyncRunner(app, BlockingChannel(sock)).serve()


class _SyncRunner:
    """Also the Link of the body that runs: it asks and hears the worker on the same socket, for nobody else reads it."""

    def __init__(self, app: App, channel: BlockingChannel) -> None:
        self._app = app
        self._channel = channel
        self._ctx: TaskContext | None = None
        self._armed = False  # whether a signal may raise now
        self._talking = False  # a frame is on its way: half of one would be the end of all
        self._held: BaseException | None = None
        self._asked = 0
        self._scale = Scale()

    def serve(self) -> None:
        stacks.tellers[:] = [self._tell]
        signal.signal(STOP, self._stop)
        signal.signal(signal.SIGALRM, self._alarm)
        while True:
            frame = self._channel.receive()
            if frame is None:
                return
            if isinstance(frame, Work):
                outcome = self._run(frame)
                size = self._scale.resident(anew=frame.memory_limit is not None)
                self._tell_counts()
                self._channel.send(Done(frame.message.id, outcome, size))

    def _tell(self) -> list[str]:
        ctx = self._ctx
        if ctx is None:
            return ["no task"]
        return [f"task {ctx.id} ({ctx.message.task}, attempt {ctx.attempt}, stage {ctx.stage_name or 'none'})"]

    def _run(self, work: Work) -> Outcome:
        task = self._app.find(work.message.task)
        limit = task.policy.soft_time_limit
        self._ctx = ctx = TaskContext(work.message, work.attempt, self, soft_time_limit=limit)
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, limit or 0.0)
            bound(work.memory_limit)
            outcome = run_sync(task, ctx)
            self._armed = False
        except Stopped:
            self._armed = False
            outcome = stopped("")
        except (SoftTimeLimitExceeded, MemoryError) as exc:  # so little memory is left that nobody could tell sooner
            self._armed = False
            bound(None)
            outcome = failure(exc, stage=ctx.stage_name, attempt=ctx.attempt)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        bound(None)
        if ctx.stages:
            self._channel.send(Staged(ctx.id, ctx.stages))
        self._ctx = self._held = None
        return outcome

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if self._ctx is not None:
            self._ctx.aborted = True
        self._raise(Stopped())

    def _alarm(self, signum: int, frame: FrameType | None) -> None:
        if self._ctx is not None:
            self._raise(soft_limit(self._app.find(self._ctx.message.task).policy.soft_time_limit or 0.0))

    def _raise(self, exc: BaseException) -> None:
        if not self._armed:
            return
        if self._talking:
            self._held = exc
            return
        if isinstance(exc, Stopped):
            self._armed = False  # once is enough: what cleans up is not stopped again
        raise exc

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Let no signal raise while a frame is under way."""
        self._talking = True
        try:
            yield
        finally:
            self._talking = False
        if self._held is not None:
            held, self._held = self._held, None
            self._raise(held)

    def say(self, task_id: str, value: float, message: str, data: dict[str, Any]) -> None:
        with self._whole():
            self._tell_counts()
            self._channel.send(Said(task_id, value, message, data))

    def _tell_counts(self) -> None:
        if changes := meters.changes():
            self._channel.send(Counted(changes))

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        self._asked += 1
        return self._ask(Ask(self._asked, list(messages))).accepted

    async def publish_async(self, messages: Sequence[Message]) -> list[bool]:
        return self.publish(messages)

    def book(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        self._asked += 1
        return self._ask(Book(self._asked, name, rate, burst, cost)).wait

    async def book_async(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        return self.book(name, rate=rate, burst=burst, cost=cost)

    def _ask(self, question: Ask | Book) -> Answer:
        with self._whole():
            self._channel.send(question)
            answer = self._answer()
        if answer is None:
            raise EngineError("the worker is gone")
        if answer.error:
            raise BrokerUnavailable(answer.error)
        return answer

    def _answer(self) -> Answer | None:
        while True:
            frame = self._channel.receive()
            if frame is None or (isinstance(frame, Answer) and frame.number == self._asked):
                return frame
