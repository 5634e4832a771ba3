"""Ends on their way to the broker: together, kept while it does not answer, none taking another with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest

from gristmill.base.errors import EngineError
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.message import End, ErrorRecord, Lease, Release
from gristmill.engine.settle import Settler
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import PATIENCE, claim, claimed, publish, record
from gristmill.testing.clock import FakeClock
from gristmill.testing.flaky import FlakyBroker

pytestmark = pytest.mark.anyio


class PickyBroker(MemoryBroker):
    """Refuses results it cannot keep, and counts the batches."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.batches: list[int] = []
        self.refuse_failures = False

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        self.batches.append(len(ends))
        if any(end.result == b"too large" or (self.refuse_failures and end.error is not None) for end in ends):
            raise EngineError("the result is too large")
        return await super().finish(ends)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def broker(clock: FakeClock) -> AsyncIterator[PickyBroker]:
    async with PickyBroker(clock) as broker:
        yield broker


@pytest.fixture
def flaky(broker: PickyBroker) -> FlakyBroker:
    return FlakyBroker(broker)


@pytest.fixture
def settled() -> list[str]:
    return []


@pytest.fixture
async def settler(flaky: FlakyBroker, settled: list[str], clock: FakeClock) -> AsyncIterator[Settler]:
    settler = Settler(flaky.broker, lambda lease: settled.append(lease.id), clock=clock)
    async with anyio.create_task_group() as group:
        group.start_soon(settler.run)
        yield settler
        group.cancel_scope.cancel()


async def several(broker: PickyBroker, count: int) -> list[Lease]:
    await publish(broker, count)
    return await claim(broker, count)


async def states(broker: PickyBroker, leases: Sequence[Lease]) -> list[str]:
    return [str((await record(broker, lease)).state) for lease in leases]


async def empty(settler: Settler) -> None:
    with anyio.fail_after(PATIENCE):
        await settler.empty()


async def test_what_ends_meanwhile_is_written_together(
    broker: PickyBroker, settler: Settler, settled: list[str]
) -> None:
    leases = await several(broker, 5)
    for lease in leases[:4]:
        settler.put(End(lease, TaskState.SUCCEEDED, result=b"1"))
    settler.put(Release(leases[4], counted=False))
    await empty(settler)
    assert await states(broker, leases) == ["succeeded"] * 4 + ["queued"]
    assert broker.batches == [4]
    assert settled == [lease.id for lease in leases]


async def test_while_tasks_wait_for_their_slot_more_is_written_together(
    broker: PickyBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.engine.settle.CROWDED", 600.0)
    settler = Settler(broker, lambda lease: None, crowded=lambda: True)
    first, *others = [End(lease, TaskState.SUCCEEDED) for lease in await several(broker, 3)]
    async with anyio.create_task_group() as group:
        group.start_soon(settler.run)
        settler.put(first)
        await settler.empty()
        for end in others:
            settler.put(end)
            await anyio.sleep(0.01)  # longer than otherwise
        assert broker.batches == [1]
        group.cancel_scope.cancel()


async def test_nothing_to_write_is_nothing_to_wait_for(settler: Settler) -> None:
    await empty(settler)


async def test_a_broker_that_does_not_answer_gets_everything_later(
    broker: PickyBroker, flaky: FlakyBroker, settler: Settler, settled: list[str], clock: FakeClock
) -> None:
    one, two, three = await several(broker, 3)
    flaky.fail("finish", times=3)
    flaky.fail("release", times=1)
    settler.put(End(one, TaskState.SUCCEEDED))
    settler.put(Release(two))
    for wait in (0.1, 0.2, 0.4):
        await clock.waited_for()
        settler.put(End(three, TaskState.SUCCEEDED)) if wait == 0.1 else None
        assert settled == []
        clock.move(wait)
        await anyio.wait_all_tasks_blocked()
    await clock.waited_for()
    assert settled == [one.id]
    clock.move(0.8)
    await empty(settler)
    assert await states(broker, [one, two, three]) == ["succeeded", "queued", "succeeded"]
    assert settled == [one.id, two.id, three.id]


async def test_a_lost_answer_is_asked_for_again_and_harms_nothing(
    broker: PickyBroker, flaky: FlakyBroker, settler: Settler, settled: list[str], clock: FakeClock
) -> None:
    lease = await claimed(broker)
    flaky.lose_answers("finish")
    settler.put(End(lease, TaskState.SUCCEEDED, result=b"1"))
    await clock.waited_for()
    clock.move(0.1)
    await empty(settler)
    found = await record(broker, lease)
    assert (found.state, found.result, settled) == (TaskState.SUCCEEDED, b"1", [lease.id])


async def test_an_end_that_comes_too_late_is_settled_without_effect(
    broker: PickyBroker, settler: Settler, settled: list[str], clock: FakeClock
) -> None:
    """P3."""
    lease = await claimed(broker)
    clock.move(31)
    await broker.reclaim()
    settler.put(End(lease, TaskState.SUCCEEDED))
    await empty(settler)
    assert settled == [lease.id]
    assert await states(broker, [lease]) == ["queued"]


async def test_a_refused_end_is_a_failure_that_says_why_and_takes_no_other_with_it(
    broker: PickyBroker, settler: Settler, settled: list[str]
) -> None:
    """P10."""
    leases = await several(broker, 4)
    results = [b"1", b"too large", b"3"]
    for lease, result in zip(leases, results, strict=False):
        settler.put(End(lease, TaskState.SUCCEEDED, result=result))
    settler.put(Release(leases[3], error=ErrorRecord("E", "again")))
    await empty(settler)
    assert await states(broker, leases) == ["succeeded", "failed", "succeeded", "queued"]
    error = (await record(broker, leases[1])).error
    assert error is not None
    assert (error.type, error.message, error.attempt) == ("EngineError", "the result is too large", 1)
    assert sorted(settled) == sorted(lease.id for lease in leases)


async def test_when_even_the_failure_is_refused_the_lease_expires(
    broker: PickyBroker, settler: Settler, settled: list[str], clock: FakeClock
) -> None:
    """P1."""
    broker.refuse_failures = True
    lease = await claimed(broker)
    settler.put(End(lease, TaskState.SUCCEEDED, result=b"too large"))
    await empty(settler)
    assert settled == [lease.id]
    assert await states(broker, [lease]) == ["running"]
    clock.move(31)
    assert [one.id for one in await broker.reclaim()] == [lease.id]
