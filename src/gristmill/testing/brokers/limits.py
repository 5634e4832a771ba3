"""Limits over all workers: how many tasks of a lane run, and how often something named may happen."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from gristmill.base.errors import EngineError
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Release
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import LEASE, PATIENCE, publish
from gristmill.testing.clock import FakeClock

near = partial(pytest.approx, abs=1e-3)  # seconds; times since the epoch have no more than microseconds


async def capped(broker: Broker, limit: int = 9, *, per_lane: int = 2, worker: str = "w") -> list[Lease]:
    """What can be claimed now with a cap."""
    return await broker.reserve(["default"], worker=worker, limit=limit, lease=LEASE, wait=0, per_lane=per_lane)


async def _succeed(broker: Broker, lease: Lease) -> None:
    await broker.finish([End(lease, TaskState.SUCCEEDED)])


async def _go_back(broker: Broker, lease: Lease) -> None:
    await broker.release([Release(lease, counted=False)])


async def _cancel(broker: Broker, lease: Lease) -> None:
    await broker.cancel([lease.id])
    await broker.release([Release(lease)])


class CapContract:
    """A lane has at most so many tasks running, whoever runs them."""

    async def test_a_lane_gives_no_more_than_its_cap(self, broker: Broker) -> None:
        await publish(broker, 5, lane="a")
        await publish(broker, 5, lane="b")
        first = await capped(broker, 3)
        assert sorted(lease.message.lane for lease in first + await capped(broker, worker="other")) == list("aabb")
        assert await capped(broker) == []

    async def test_the_cap_is_for_all_priorities_together(self, broker: Broker) -> None:
        await publish(broker, 2, lane="a", priority=1)
        await publish(broker, 2, lane="a")
        await publish(broker, 1, lane="b")
        claimed = await capped(broker, per_lane=3)
        assert [(lease.message.lane, lease.message.priority) for lease in claimed[:2]] == [("a", 1)] * 2
        assert sorted(lease.message.lane for lease in claimed) == list("aaab")

    async def test_a_lane_of_the_same_name_in_another_queue_has_its_own(self, broker: Broker) -> None:
        await publish(broker, 3, lane="a")
        await publish(broker, 3, lane="a", queue="other")
        claimed = await broker.reserve(["default", "other"], worker="w", limit=9, lease=LEASE, wait=0, per_lane=1)
        assert sorted(lease.message.queue for lease in claimed) == ["default", "other"]

    async def test_without_a_cap_a_full_lane_goes_on(self, broker: Broker) -> None:
        await publish(broker, 5, lane="a")
        assert len(await capped(broker)) == 2
        assert len(await broker.reserve(["default"], worker="w", limit=9, lease=LEASE, wait=0)) == 3

    async def test_a_lane_with_more_than_its_cap_gives_none(self, broker: Broker) -> None:
        await publish(broker, 9, lane="a")
        assert len(await broker.reserve(["default"], worker="w", limit=5, lease=LEASE, wait=0)) == 5
        await publish(broker, 1, lane="b")
        assert [lease.message.lane for lease in await capped(broker)] == ["b"]

    async def test_a_lane_keeps_its_order_behind_the_cap(self, broker: Broker) -> None:
        messages = await publish(broker, 6, lane="a")
        got: list[str] = []
        while claimed := await capped(broker):
            got += [lease.id for lease in claimed]
            await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in claimed])
        assert got == [message.id for message in messages]

    @pytest.mark.parametrize("leave", [_succeed, _go_back, _cancel])
    async def test_a_place_that_is_free_again_wakes_who_waits(self, broker: Broker, leave: object) -> None:
        await publish(broker, 3, lane="a")
        first, _ = await capped(broker)
        got: list[Lease] = []

        async def reserve() -> None:
            got.extend(await broker.reserve(["default"], worker="x", limit=9, lease=LEASE, per_lane=2))

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(reserve)
                await anyio.wait_all_tasks_blocked()
                assert got == []
                await leave(broker, first)  # type: ignore[operator]  # one of the functions above
        assert len(got) == 1

    async def test_a_reclaimed_task_frees_its_place(self, broker: Broker, clock: FakeClock) -> None:
        await publish(broker, 2, lane="a")
        assert len(await capped(broker, per_lane=1)) == 1
        clock.move(LEASE + 1)
        assert len(await broker.reclaim()) == 1
        assert len(await capped(broker, per_lane=1)) == 1
        assert await capped(broker, per_lane=1) == []


class RateContract:
    """A bucket by name, filled at a rate; who books first goes first."""

    async def test_the_burst_is_free_and_then_the_rate_holds(self, broker: Broker, clock: FakeClock) -> None:
        waits = [await broker.book("model", rate=10, burst=3) for _ in range(5)]
        assert waits == near([0, 0, 0, 0.1, 0.2])
        clock.move(0.2)
        assert await broker.book("model", rate=10, burst=3) == near(0.1)

    async def test_what_is_saved_up_ends_at_the_burst(self, broker: Broker, clock: FakeClock) -> None:
        await broker.book("model", rate=10, burst=2)
        clock.move(1_000)
        assert [await broker.book("model", rate=10, burst=2) for _ in range(3)] == near([0, 0, 0.1])

    async def test_names_do_not_share(self, broker: Broker) -> None:
        assert [await broker.book(name, rate=1) for name in ("a", "b", "a")] == near([0, 0, 1])

    async def test_a_cost_counts_as_often(self, broker: Broker) -> None:
        assert await broker.book("tokens", rate=100, burst=50, cost=80) == near(0.3)
        assert await broker.book("tokens", rate=100, burst=50, cost=10) == near(0.4)

    async def test_a_wait_that_is_too_long_books_nothing(self, broker: Broker) -> None:
        assert await broker.book("model", rate=1) == 0
        assert await broker.book("model", rate=1, most=0.5) == near(1)
        assert await broker.book("model", rate=1, most=1.5) == near(1)
        assert await broker.book("model", rate=1, most=5) == near(2)

    @pytest.mark.parametrize("terms", [{"rate": 0}, {"rate": -1}, {"rate": 1, "burst": -1}, {"rate": 1, "cost": -1}])
    async def test_numbers_that_no_bucket_has_are_refused(self, broker: Broker, terms: dict[str, float]) -> None:
        with pytest.raises(EngineError, match="rate > 0"):
            await broker.book("model", **terms)
