"""The caller's side: submit, wait for the end, cancel, watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

import anyio
import msgspec
from anyio.from_thread import BlockingPortal

from gristmill.base import traces
from gristmill.base.errors import ResultTimeout, TaskCancelled, TaskDead, TaskError, TaskFailed, UnknownTask
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, TaskRecord, below
from gristmill.engine.state import TaskState

T = TypeVar("T")

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

    async def submit(self, message: Message, *, returns: Any = Any) -> TaskHandle[Any]:
        """Publish one request. Where its key is known already, the handle is that of the task that stands.

        ``returns`` is the type that the result is read as.
        """
        with traces.span(
            f"submit {message.task}",
            kind="PRODUCER",
            messaging__system="gristmill",
            messaging__operation__type="send",
            messaging__destination__name=message.queue,
            messaging__message__id=message.id,
            gristmill__task=message.task,
        ):
            [message] = below([message], traces.carrier())
            return await self._submit(message, returns)

    async def _submit(self, message: Message, returns: Any) -> TaskHandle[Any]:
        while not (await self.broker.publish([message]))[0]:
            if message.key is None:
                break  # its own id is known: somebody asked again
            known = await self.broker.find([message.key])
            if message.key in known:
                return TaskHandle(self, known[message.key].id, returns)
            # purged between the two calls: the key is free now
        return TaskHandle(self, message.id, returns)

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


class TaskHandle(Generic[T]):
    """A submitted task. Its result is read as what the body is annotated to return, where JSON can be read as that."""

    def __init__(self, client: Client, task_id: str, returns: Any = Any) -> None:
        self._client = client
        self._returns = returns
        self.id = task_id

    async def record(self) -> TaskRecord:
        return await self._client.record(self.id)

    async def cancel(self, reason: str = "") -> None:
        """Ask for the task's end. It is over within a second, whatever it does."""
        await self._client.broker.cancel([self.id], reason=reason)

    async def wait(self, *, timeout: float | None = None) -> TaskRecord:
        return await self._client.wait(self.id, timeout=timeout)

    def watch(self) -> AsyncIterator[TaskRecord]:
        """The task's record now, at every change (its progress, too), and at its end."""
        return self._client.watch(self.id)

    async def result(self, *, timeout: float | None = None) -> T:
        """What the body returned. Raises TaskFailed, TaskCancelled, TaskDead or ResultTimeout."""
        return self.read(await self.wait(timeout=timeout))

    def read(self, record: TaskRecord) -> T:
        """What the body returned, from the task's record once it has ended. Raises TaskFailed, TaskCancelled, TaskDead."""
        found: T = _result(record, self._returns)
        return found


class AsyncResult(Generic[T]):
    """A submitted task, for synchronous code."""

    def __init__(self, handle: TaskHandle[T], portal: BlockingPortal) -> None:
        self._handle = handle
        self._portal = portal
        self.id = handle.id

    def get(self, *, timeout: float | None = None) -> T:
        """What the body returned. Raises TaskFailed, TaskCancelled, TaskDead or ResultTimeout."""
        return self._handle.read(self.wait(timeout=timeout))

    def record(self) -> TaskRecord:
        """All that is known of the task now: state, attempt, progress, history."""
        return self._portal.call(self._handle.record)

    def wait(self, *, timeout: float | None = None) -> TaskRecord:
        async def wait() -> TaskRecord:
            return await self._handle.wait(timeout=timeout)

        return self._portal.call(wait)

    def cancel(self, reason: str = "") -> None:
        self._portal.call(self._handle.cancel, reason)

    @property
    def state(self) -> TaskState:
        return self.record().state


def _result(record: TaskRecord, returns: Any) -> Any:
    if record.state is TaskState.SUCCEEDED:
        return None if record.result is None else _read(record.result, returns)
    error = record.error
    said = f"{error.type}: {error.message}" if error is not None else "no reason was kept"
    raise _ERRORS[record.state](f"task {record.message.task} ({record.id}) is {record.state}: {said}")


def _read(raw: bytes, returns: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=returns)
    except (msgspec.ValidationError, TypeError):  # not what the annotation says, or a type that JSON is not read as
        return msgspec.json.decode(raw)
