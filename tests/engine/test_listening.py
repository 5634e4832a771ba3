"""Cancels that come while a worker cannot hear of them (P5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from gristmill.base.errors import BrokerUnavailable
from gristmill.engine.broker import Broker
from gristmill.engine.message import Notice
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.testing.flaky import FlakyBroker
from gristmill.testing.workers import ends, reached, working

pytestmark = pytest.mark.anyio

app = App("listening")
LEASE = 600.0  # its next renewal, at which a worker looks for cancels, too, is minutes away


@app.task
async def waits() -> None:
    await anyio.sleep_forever()


class Ear(FlakyBroker):
    """A worker's broker whose notices come through when they may, and break off when they are to."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.open = anyio.Event()
        self.link = anyio.CancelScope()

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        await self.open.wait()
        with anyio.CancelScope() as self.link:
            async with self._broker.notices() as notices:
                yield notices
        raise BrokerUnavailable("the connection for notices is gone")


async def test_a_worker_takes_nothing_before_it_can_hear_of_cancels(memory_broker: Broker) -> None:
    ear, message = Ear(memory_broker), waits.message()
    async with working(ear.broker, app, inline=True, lease=LEASE):
        await memory_broker.publish([message])
        await anyio.wait_all_tasks_blocked()
        [record] = await memory_broker.describe([message.id])
        assert record is not None
        assert record.state is TaskState.QUEUED
        ear.open.set()
        await reached(memory_broker, message, TaskState.RUNNING)
        await memory_broker.cancel([message.id])
        assert [record.state for record in await ends(memory_broker, [message])] == [TaskState.CANCELLED]


async def test_a_cancel_while_notices_are_away_is_heard_when_they_are_back(memory_broker: Broker) -> None:
    ear, message = Ear(memory_broker), waits.message()
    ear.open.set()
    async with working(ear.broker, app, inline=True, lease=LEASE):
        await memory_broker.publish([message])
        await reached(memory_broker, message, TaskState.RUNNING)
        ear.open = anyio.Event()
        ear.link.cancel()
        await anyio.wait_all_tasks_blocked()
        await memory_broker.cancel([message.id])
        ear.open.set()
        assert [record.state for record in await ends(memory_broker, [message])] == [TaskState.CANCELLED]
