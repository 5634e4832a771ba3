"""The reaper: a timer of its own, whatever the traffic and whoever is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.message import ErrorRecord
from gristmill.engine.reaper import PURGE_EVERY, reap
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import LEASE, claimed, ended, record
from gristmill.testing.clock import FakeClock
from gristmill.testing.flaky import FlakyBroker

pytestmark = pytest.mark.anyio

EVERY, KEEP = 10.0, 3_600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def broker(clock: FakeClock) -> AsyncIterator[MemoryBroker]:
    async with MemoryBroker(clock=clock) as broker:
        yield broker


@pytest.fixture
async def flaky(broker: MemoryBroker, clock: FakeClock) -> AsyncIterator[FlakyBroker]:
    """What stands before the broker of a reaper at work."""
    flaky = FlakyBroker(broker)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: reap(flaky.broker, every=EVERY, keep=KEEP, clock=clock))
        await clock.waited_for()
        yield flaky
        group.cancel_scope.cancel()


async def after(clock: FakeClock, seconds: float) -> None:
    """Let time pass: one round of the reaper."""
    await clock.waited_for()
    clock.move(seconds)
    await clock.waited_for()


async def test_an_expired_lease_goes_back_though_nothing_else_happens(
    broker: MemoryBroker, clock: FakeClock, flaky: FlakyBroker
) -> None:
    lease = await claimed(broker)
    await after(clock, LEASE - EVERY)
    assert (await record(broker, lease)).state is TaskState.RUNNING
    await after(clock, EVERY)
    found = await record(broker, lease)
    assert (found.state, found.attempt) == (TaskState.QUEUED, 1)
    assert [error.type for error in found.history] == ["LeaseExpired"]


async def test_a_broker_that_does_not_answer_is_asked_again(
    broker: MemoryBroker, clock: FakeClock, flaky: FlakyBroker
) -> None:
    lease = await claimed(broker)
    flaky.fail("reclaim", "purge", times=4)
    for _ in range(4):
        await after(clock, EVERY)
    assert (await record(broker, lease)).state is TaskState.RUNNING
    await after(clock, EVERY)
    assert (await record(broker, lease)).state is TaskState.QUEUED


async def test_records_of_what_succeeded_or_was_cancelled_go_after_their_time_and_failures_stay(
    broker: MemoryBroker, clock: FakeClock, flaky: FlakyBroker
) -> None:
    """P8, P10."""
    kinds = [TaskState.SUCCEEDED, TaskState.CANCELLED, TaskState.FAILED, TaskState.DEAD]
    ids = [(await ended(broker, state)).id for state in kinds]
    await after(clock, KEEP - EVERY)
    assert None not in await broker.describe(ids)
    await after(clock, PURGE_EVERY + 2 * EVERY)
    known = [one is not None for one in await broker.describe(ids)]
    assert known == [False, False, True, True]
    assert isinstance((await record(broker, ids[2])).error, ErrorRecord)
