"""Leases are renewed whatever else a broker is slow with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.broker import Broker
from gristmill.engine.lease import renew
from gristmill.engine.message import End, Lease, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.testing.brokers.making import LEASE, PATIENCE, claimed
from gristmill.testing.clock import FakeClock
from gristmill.testing.flaky import FlakyBroker
from gristmill.testing.workers import run, working

pytestmark = pytest.mark.anyio


class Slow(FlakyBroker):
    """It renews at once, and never says how the tasks are."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.renewed = 0
        self.often = anyio.Event()

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        self.renewed += 1
        if self.renewed == 3:
            self.often.set()
        return await self._broker.extend(leases, lease=lease)

    async def describe(self, ids: Sequence[str]) -> list[TaskRecord | None]:
        await anyio.sleep_forever()
        raise AssertionError


async def test_an_answer_about_cancels_that_does_not_come_costs_no_lease(memory_broker: Broker) -> None:
    lease, slow = await claimed(memory_broker), Slow(memory_broker)
    async with anyio.create_task_group() as group:
        group.start_soon(
            lambda: renew(slow.broker, {lease.id: lease}, lease=0.3, running=lambda: [lease.id], stop=lambda *_: None)
        )
        with anyio.fail_after(PATIENCE):
            await slow.often.wait()
        group.cancel_scope.cancel()


async def test_what_is_lost_is_stopped_though_cancels_cannot_be_looked_up(memory_broker: Broker) -> None:
    lease, flaky = await claimed(memory_broker), FlakyBroker(memory_broker)
    flaky.fail("describe", times=1_000)
    old = Lease(lease.message, lease.token - 1, lease.worker, lease.attempt)
    stopped: list[tuple[str, str]] = []
    told = anyio.Event()

    def stop(task_id: str, reason: str) -> None:
        stopped.append((task_id, reason))
        told.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: renew(flaky.broker, {old.id: old}, lease=0.3, running=lambda: [old.id], stop=stop))
        with anyio.fail_after(PATIENCE):
            await told.wait()
        group.cancel_scope.cancel()
    assert stopped[0] == (lease.id, "lost")


class Frozen(MemoryBroker):
    """Whoever claims first is stopped before it has the answer, for longer than its lease; somebody else runs the task."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.clock = clock
        self.others: list[Lease] = []

    async def reserve(self, queues: Sequence[str], **terms: Any) -> list[Lease]:
        claimed = await super().reserve(queues, **terms)
        if claimed and not self.others:
            self.clock.move(LEASE + 1)
            await self.reclaim()
            self.others = await super().reserve(queues, worker="other", limit=1, lease=LEASE, wait=0)
        return claimed


async def test_a_worker_that_wakes_up_with_an_old_claim_does_not_begin_it() -> None:
    """P3: two bodies of one task do not run at once, though one of their workers was stopped."""
    app, clock = App("frozen"), FakeClock()
    begun: list[str] = []

    @app.task
    async def begins(name: str) -> None:
        begun.append(name)

    async with Frozen(clock) as broker, working(broker, app, inline=True, clock=clock, lease=LEASE):
        await broker.publish([begins.message("old")])
        await run(broker, begins.message("next"))
        assert begun == ["next"]
        assert await broker.finish([End(broker.others[0], TaskState.SUCCEEDED)]) == [True]
