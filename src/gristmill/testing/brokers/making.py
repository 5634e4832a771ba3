"""Short words for what every test of a broker does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from gristmill.engine.broker import Broker
from gristmill.engine.message import End, ErrorRecord, Lease, Message, Notice, Release, TaskRecord, new_message
from gristmill.engine.state import TaskState

LEASE = 30.0
PATIENCE = 30.0  # seconds until a test gives up on something that should have happened

BROKE = ErrorRecord("ValueError", "it broke", stage="parse", attempt=1)


def a_message(*args: Any, **fields: Any) -> Message:
    return new_message("task", *args, **fields)


async def publish(broker: Broker, count: int = 1, **fields: Any) -> list[Message]:
    """So many messages with these fields; each has its number as argument."""
    messages = [a_message(number, **fields) for number in range(count)]
    assert await broker.publish(messages) == [True] * count
    return messages


async def claim(
    broker: Broker, limit: int = 1, *, queues: Sequence[str] = ("default",), worker: str = "w", lease: float = LEASE
) -> list[Lease]:
    """What can be claimed now."""
    return await broker.reserve(queues, worker=worker, limit=limit, lease=lease, wait=0)


async def claimed(broker: Broker, **fields: Any) -> Lease:
    """A fresh task that is held."""
    [message] = await publish(broker, **fields)
    [lease] = await claim(broker)
    assert lease.id == message.id
    return lease


async def record(broker: Broker, task: Message | Lease | str) -> TaskRecord:
    [found] = await broker.describe([task if isinstance(task, str) else task.id])
    assert found is not None
    return found


async def ended(broker: Broker, state: TaskState, **fields: Any) -> TaskRecord:
    """A task that has come to this final state, with what comes with it."""
    lease = await claimed(broker, **{"max_attempts": 1, **fields})
    if state is TaskState.DEAD:
        await broker.release([Release(lease, error=BROKE)])
    elif state is TaskState.SUCCEEDED:
        await broker.finish([End(lease, state, result=b'{"n":1}')])
    else:
        await broker.finish([End(lease, state, error=BROKE)])
    found = await record(broker, lease)
    assert found.state is state
    return found


@asynccontextmanager
async def waiting(broker: Broker, *, wait: float | None = None, limit: int = 1) -> AsyncIterator[list[Lease]]:
    """A reserve that waits while the block runs. When the block is left it has come back, and the list holds what it got."""
    got: list[Lease] = []

    async def reserve() -> None:
        got.extend(await broker.reserve(["default"], worker="w", limit=limit, lease=LEASE, wait=wait))

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(reserve)
            await anyio.wait_all_tasks_blocked()
            yield got


async def notice(notices: AsyncIterator[Notice], kind: str) -> Notice:
    """The next notice of this kind."""
    with anyio.fail_after(PATIENCE):
        async for one in notices:
            if one.kind == kind:
                return one
    raise AssertionError("the notices have ended")
