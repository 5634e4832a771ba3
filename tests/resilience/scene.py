"""A worker in the middle of its work, and somebody who watches from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, TaskRecord, new_message
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.engine.worker import Worker
from gristmill.testing.processes import settles
from gristmill.testing.workers import working

HELD = 8  # tasks that run when the trouble begins


class Scene:
    """Tasks that a worker holds before a gate, and more that wait. ``watcher`` is a broker that no trouble stands before."""

    def __init__(self, watcher: Broker) -> None:
        self.watcher = watcher
        self.gate = anyio.Event()
        self.started: list[int] = []
        self.effects: Counter[int] = Counter()
        self.messages: list[Message] = []
        self.worker: Worker
        self.app = App("scene")

        @self.app.task(name="pass_gate", soft_time_limit=None, time_limit=None)
        async def pass_gate(number: int) -> int:
            self.started.append(number)
            await self.gate.wait()
            self.effects[number] += 1
            return number

    async def publish(self, count: int, broker: Broker | None = None) -> list[Message]:
        """So many more tasks."""
        first = len(self.messages)
        fresh = [new_message("pass_gate", number, key=f"k{number}") for number in range(first, first + count)]
        self.messages += fresh
        assert await (broker or self.watcher).publish(fresh) == [True] * count
        return fresh

    async def all_end(self, messages: Sequence[Message] | None = None, *, timeout: float = 40.0) -> list[TaskRecord]:
        """Return when all of them have succeeded, as known to the watcher."""
        ids = [message.id for message in (self.messages if messages is None else messages)]
        found: list[TaskRecord | None] = []
        with anyio.fail_after(timeout):
            while True:
                found = await self.watcher.describe(ids)
                assert all(one is not None for one in found), "a task is lost"
                if all(one is not None and one.state.final for one in found):
                    break
                await anyio.sleep(0.02)
        records = [one for one in found if one is not None]
        assert {one.state for one in records} == {TaskState.SUCCEEDED}
        return records


@asynccontextmanager
async def scene(url: str, watch: str | None = None, *, more: int = 12, lease: float = 30.0) -> AsyncIterator[Scene]:
    """A worker on ``url`` that holds ``HELD`` tasks, with ``more`` behind them; it is watched by ``watch``."""
    async with open_broker(watch or url) as watcher, open_broker(url) as broker:
        played = Scene(watcher)
        await played.publish(HELD + more)
        async with working(broker, played.app, inline=True, async_slots=HELD, lease=lease) as played.worker:
            await settles(lambda: len(played.started) == HELD)
            yield played
