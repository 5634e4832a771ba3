"""What a running body can ask and say."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Protocol

import anyio

from gristmill.base import meters
from gristmill.base.errors import EngineError
from gristmill.base.ids import new_id
from gristmill.base.traces import Stage
from gristmill.engine import bucket
from gristmill.engine.message import Message, below

MOST_STAGES = 200  # of a task that are traced


class Link(Protocol):
    """A body's way to the worker that runs it."""

    def say(self, task_id: str, value: float, message: str, data: dict[str, Any]) -> None:
        """Progress, without waiting."""
        ...

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        """For ``def`` bodies."""
        ...

    async def publish_async(self, messages: Sequence[Message]) -> list[bool]:
        """For ``async def`` bodies."""
        ...

    def book(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        """Seconds to wait, for ``def`` bodies."""
        ...

    async def book_async(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        """The same for ``async def`` bodies."""
        ...


class TaskContext:
    """One running task, seen from its body."""

    def __init__(self, message: Message, attempt: int, link: Link, *, soft_time_limit: float | None = None) -> None:
        self.message = message
        self.attempt = attempt
        self.stage_name = ""
        self.aborted = False
        self.stages: list[Stage] = []  # those that are over, where somebody traces
        self._stages = count(1)
        self._stage = 0  # the number of the one that goes on
        self._link = link
        self._until = None if soft_time_limit is None else time.monotonic() + soft_time_limit

    @classmethod
    def for_testing(cls, task: str = "test", link: Link | None = None, **fields: Any) -> TaskContext:
        """A context for a body that is called directly; what it says goes nowhere unless a link is given."""
        return cls(Message(id=new_id(), task=task, **fields), 1, link or _NoLink())

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def lane(self) -> str:
        return self.message.lane

    @property
    def max_attempts(self) -> int:
        return self.message.max_attempts

    def report(self, value: float, message: str = "", **data: Any) -> None:
        """Progress from 0 to 1, with words and any JSON. The latest one is kept; watchers see a few a second."""
        self._link.say(self.id, min(max(value, 0.0), 1.0), message, data)

    def update_state(self, value: float = 0.0, message: str = "", **data: Any) -> None:
        """Celery's name for ``report``."""
        self.report(value, message, **data)

    def is_aborted(self) -> bool:
        """Whether the task's end was asked for. Bodies are stopped anyway; this is for one that is cleaning up."""
        return self.aborted

    def remaining(self) -> float | None:
        """Seconds until the soft time limit; None without one."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Publish through the worker, from a ``def`` body. False where the key was known."""
        return self._link.publish(below(messages, self.message.trace)) if messages else []

    async def publish_async(self, messages: Sequence[Message]) -> list[bool]:
        """The same from an ``async def`` body."""
        return await self._link.publish_async(below(messages, self.message.trace)) if messages else []

    def throttle(self, name: str, *, rate: float, burst: float = 1.0, cost: float = 1.0) -> None:
        """Wait until ``cost`` tokens of the bucket of that name are this body's, which all workers share: ``def`` bodies.

        It fills at ``rate`` tokens a second up to ``burst``; who comes first goes first.
        """
        wait = self._link.book(name, rate=rate, burst=burst, cost=cost)
        meters.count("throttle_seconds", wait, rate=name)
        threading.Event().wait(wait)  # which a signal ends

    async def throttle_async(self, name: str, *, rate: float, burst: float = 1.0, cost: float = 1.0) -> None:
        """The same from an ``async def`` body."""
        wait = await self._link.book_async(name, rate=rate, burst=burst, cost=cost)
        meters.count("throttle_seconds", wait, rate=name)
        await anyio.sleep(wait)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name what is being done, for the record of a failure, and time it. After an exception the name stays."""
        before, self.stage_name = self.stage_name, name
        above, self._stage = self._stage, next(self._stages)
        number, began, failed = self._stage, time.monotonic(), True
        try:
            yield
            failed = False
        finally:
            ended, self._stage = time.monotonic(), above
            meters.observe("stage_seconds", ended - began, task=self.message.task, stage=name)
            if self.message.trace and len(self.stages) < MOST_STAGES:
                self.stages.append(Stage(number, above, name, began, ended, failed))
        self.stage_name = before


class _NoLink:
    def say(self, task_id: str, value: float, message: str, data: dict[str, Any]) -> None:
        return None

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        raise EngineError("this context is not connected to a worker, so it cannot publish")

    async def publish_async(self, messages: Sequence[Message]) -> list[bool]:
        return self.publish(messages)

    def book(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        bucket.check(rate, burst, cost)
        return 0.0

    async def book_async(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        return self.book(name, rate=rate, burst=burst, cost=cost)


running: ContextVar[TaskContext | None] = ContextVar("gristmill_task", default=None)


def current() -> TaskContext:
    """The context of the body that is running here. Raises EngineError outside of one."""
    found = running.get()
    if found is None:
        raise EngineError("no task is running here")
    return found
