"""The caller's side: submit, wait for the end, cancel, watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import msgspec
from anyio.from_thread import BlockingPortal

from gristmill.base.errors import ResultTimeout, TaskCancelled, TaskDead, TaskError, TaskFailed, UnknownTask
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, TaskRecord
from gristmill.engine.state import TaskState

LOOK = 1.0  # seconds between looks at the record; notices come sooner, but are only hints

_ERRORS: dict[TaskState, type[TaskError]] = {
    TaskState.FAILED: TaskFailed,
    TaskState.CANCELLED: TaskCancelled,
    TaskState.DEAD: TaskDead,
}


class Client:
    """Talks to a broker on behalf of somebody who wants tasks done."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def submit(self, message: Message) -> TaskHandle:
        """Publish one request. Where its key is known already, the handle is that of the task that stands."""
        while not (await self.broker.publish([message]))[0]:
            if message.key is None:
                break  # its own id is known: somebody asked again
            known = await self.broker.find([message.key])
            if message.key in known:
                return TaskHandle(self, known[message.key].id)
            # purged between the two calls: the key is free now
        return TaskHandle(self, message.id)

    async def record(self, task_id: str) -> TaskRecord:
        """What is known of a task. Raises UnknownTask."""
        found = (await self.broker.describe([task_id]))[0]
        if found is None:
            raise UnknownTask(f"the broker knows no task {task_id}")
        return found

    async def wait(self, task_id: str, *, timeout: float | None = None) -> TaskRecord:
        """The task's record once it has ended. Raises ResultTimeout after ``timeout`` seconds (0: unless it has ended)."""
        found = await self.record(task_id)
        if found.state.final:
            return found
        with anyio.move_on_after(timeout):
            async with self.broker.notices() as notices:
                while True:
                    found = await self.record(task_id)
                    if found.state.final:
                        return found
                    with anyio.move_on_after(LOOK):
                        async for notice in notices:
                            if notice.id == task_id and notice.kind == "state":
                                break
        raise ResultTimeout(f"task {task_id} had not ended after {timeout} seconds")

    async def watch(self, task_id: str) -> AsyncIterator[TaskRecord]:
        """The task's record now, at every change, and at its end."""
        async with self.broker.notices() as notices:
            while True:
                found = await self.record(task_id)
                yield found
                if found.state.final:
                    return
                with anyio.move_on_after(LOOK):
                    async for notice in notices:
                        if notice.id == task_id:
                            break


class TaskHandle:
    """A submitted task."""

    def __init__(self, client: Client, task_id: str) -> None:
        self._client = client
        self.id = task_id

    async def record(self) -> TaskRecord:
        return await self._client.record(self.id)

    async def cancel(self, reason: str = "") -> None:
        """Ask for the task's end. It is over within a second, whatever it does."""
        await self._client.broker.cancel([self.id], reason=reason)

    async def wait(self, *, timeout: float | None = None) -> TaskRecord:
        return await self._client.wait(self.id, timeout=timeout)

    async def result(self, *, timeout: float | None = None) -> Any:
        """What the body returned. Raises TaskFailed, TaskCancelled, TaskDead or ResultTimeout."""
        return _result(await self.wait(timeout=timeout))


class AsyncResult:
    """A submitted task, for synchronous code."""

    def __init__(self, handle: TaskHandle, portal: BlockingPortal) -> None:
        self._handle = handle
        self._portal = portal
        self.id = handle.id

    def get(self, *, timeout: float | None = None) -> Any:
        """What the body returned. Raises TaskFailed, TaskCancelled, TaskDead or ResultTimeout."""
        return _result(self.wait(timeout=timeout))

    def wait(self, *, timeout: float | None = None) -> TaskRecord:
        async def wait() -> TaskRecord:
            return await self._handle.wait(timeout=timeout)

        return self._portal.call(wait)

    def cancel(self, reason: str = "") -> None:
        self._portal.call(self._handle.cancel, reason)

    @property
    def state(self) -> TaskState:
        return self._portal.call(self._handle.record).state


def _result(record: TaskRecord) -> Any:
    if record.state is TaskState.SUCCEEDED:
        return None if record.result is None else msgspec.json.decode(record.result)
    error = record.error
    said = f"{error.type}: {error.message}" if error is not None else "no reason was kept"
    raise _ERRORS[record.state](f"task {record.message.task} ({record.id}) is {record.state}: {said}")
