"""Waiting without polling, and being cancelled while waiting."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from gristmill.engine.broker import Broker
from gristmill.engine.message import Lease, Message, Release
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import LEASE, PATIENCE, a_message, claim, claimed, ended, publish, waiting
from gristmill.testing.clock import FakeClock


class WaitContract:
    """A reserve with nothing due comes back when there is something, or when its time is over; and never loses a task."""

    async def test_wait_nothing_comes_back_at_once(self, broker: Broker) -> None:
        assert await broker.reserve(["default"], worker="w", limit=1, lease=LEASE, wait=0) == []

    async def test_a_limit_of_nothing_gives_nothing(self, broker: Broker) -> None:
        await publish(broker)
        assert await broker.reserve(["default"], worker="w", limit=0, lease=LEASE) == []

    async def test_a_wait_ends_empty_when_its_time_is_over(self, broker: Broker, clock: FakeClock) -> None:
        async with waiting(broker, wait=5) as got:
            await clock.waited_for()
            clock.move(4.9)
            await anyio.wait_all_tasks_blocked()
            clock.move(0.1)
        assert got == []

    async def test_a_publish_wakes_it(self, broker: Broker) -> None:
        async with waiting(broker) as got:
            [message] = await publish(broker)
        assert [lease.id for lease in got] == [message.id]

    async def test_a_release_wakes_it(self, broker: Broker) -> None:
        lease = await claimed(broker)
        async with waiting(broker) as got:
            await broker.release([Release(lease, counted=False)])
        assert [one.id for one in got] == [lease.id]

    async def test_a_reclaim_wakes_it(self, broker: Broker, clock: FakeClock) -> None:
        lease = await claimed(broker)
        clock.move(31)
        async with waiting(broker) as got:
            await broker.reclaim()
        assert [one.id for one in got] == [lease.id]

    async def test_a_replay_wakes_it(self, broker: Broker) -> None:
        dead = await ended(broker, TaskState.DEAD)
        async with waiting(broker) as got:
            fresh = await broker.replay([dead.id])
        assert [one.id for one in got] == fresh

    async def test_a_delayed_task_wakes_it_when_it_is_due(self, broker: Broker, clock: FakeClock) -> None:
        [message] = await publish(broker, delay=60)
        async with waiting(broker, wait=1_000) as got:
            await clock.waited_for()
            clock.move(60)
        assert [lease.id for lease in got] == [message.id]

    async def test_a_task_that_is_due_sooner_than_the_one_it_waits_for_wakes_it(
        self, broker: Broker, clock: FakeClock
    ) -> None:
        await publish(broker, delay=60)
        async with waiting(broker) as got:
            await clock.waited_for()
            [sooner] = await publish(broker, delay=10)
            await anyio.wait_all_tasks_blocked()
            clock.move(10)
        assert [lease.id for lease in got] == [sooner.id]

    async def test_one_task_wakes_one_of_many_and_the_others_go_on_waiting(
        self, broker: Broker, clock: FakeClock
    ) -> None:
        async with waiting(broker, wait=5) as one, waiting(broker, wait=5) as two:
            await clock.waited_for(2)
            await publish(broker)
            with anyio.fail_after(PATIENCE):
                while not one and not two:
                    await anyio.lowlevel.checkpoint()
            await clock.waited_for(1)
            clock.move(5)
        assert sorted([len(one), len(two)]) == [0, 1]

    @pytest.mark.parametrize("checkpoints", range(6))
    async def test_a_cancelled_reserve_loses_nothing(self, broker: Broker, checkpoints: int) -> None:
        """P1: what was claimed for a caller that has gone goes back, uncounted, however far the claim had come."""
        messages = await publish(broker, 5, max_attempts=1)
        got: list[Lease] = []

        async def reserve() -> None:
            got.extend(await broker.reserve(["default"], worker="gone", limit=9, lease=LEASE))

        async with anyio.create_task_group() as group:
            group.start_soon(reserve)
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert await _claims(broker, messages, got)

    async def test_a_cancelled_wait_loses_nothing(self, broker: Broker) -> None:
        got: list[Lease] = []

        async def reserve() -> None:
            got.extend(await broker.reserve(["default"], worker="gone", limit=9, lease=LEASE))

        async with anyio.create_task_group() as group:
            group.start_soon(reserve)
            await anyio.wait_all_tasks_blocked()
            message = a_message(max_attempts=1)
            group.start_soon(broker.publish, [message])
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await broker.publish([message])
        assert await _claims(broker, [message], got)

    async def test_a_cancelled_publish_has_happened_or_not(self, broker: Broker) -> None:
        messages = [a_message(number) for number in range(3)]
        async with anyio.create_task_group() as group:
            group.start_soon(broker.publish, messages)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        accepted = await broker.publish(messages)
        assert accepted in ([True] * 3, [False] * 3)
        assert len(await claim(broker, 9)) == 3


async def _claims(broker: Broker, messages: Sequence[Message], got: Sequence[Lease] = ()) -> bool:
    """Whether these that nobody got can be claimed, for the first time, by whoever waits for them."""
    leases = list(got)
    with anyio.move_on_after(PATIENCE):
        while len(leases) < len(messages):
            leases += await broker.reserve(["default"], worker="w", limit=9, lease=LEASE)
    ids = sorted(lease.id for lease in leases)
    return ids == sorted(message.id for message in messages) and {lease.attempt for lease in leases} == {1}
