"""What a broker shows: records, depths, notices, workers; and replay, purge and locks."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from gristmill.engine.broker import Broker, QueueDepth
from gristmill.engine.message import Current, End, Heartbeat, Notice, Progress, Release
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import BROKE, a_message, claim, claimed, ended, notice, publish, record
from gristmill.testing.clock import FakeClock


def a_beat(name: str, now: float, **changes: object) -> Heartbeat:
    current = {"id": Current("task", lane="tenant")}
    beat = Heartbeat(name, now, boot_at=1.0, pending=2, lag=3, done=4, failed=5, current=current, ip="", pid=6)
    return msgspec.structs.replace(beat, **changes)


class RecordContract:
    """Records are found by id, key, state, queue and lane; ended ones can be replayed and forgotten."""

    async def test_describe_answers_in_the_order_of_the_question(self, broker: Broker) -> None:
        one, two = await publish(broker, 2)
        found = await broker.describe([two.id, "none", one.id, two.id])
        assert [None if known is None else known.id for known in found] == [two.id, None, one.id, two.id]

    async def test_a_fresh_record_says_when_it_came_and_when_it_is_due(self, broker: Broker, clock: FakeClock) -> None:
        [message] = await publish(broker, delay=5)
        found = await record(broker, message)
        assert (found.state, found.attempt, found.published) == (TaskState.QUEUED, 0, clock.now())
        assert found.not_before == clock.now() + 5
        assert (found.started, found.ended, found.lease_until, found.error) == (None, None, None, None)

    async def test_tasks_are_listed_newest_first_by_pages_and_filters(self, broker: Broker) -> None:
        a = await publish(broker, 3, lane="a")
        b = await publish(broker, 2, lane="b", queue="other")
        await broker.cancel([a[0].id])

        async def ids(**wanted: object) -> list[str]:
            return [one.id for one in await broker.tasks(**wanted)]  # type: ignore[arg-type]

        newest = [message.id for message in reversed(a + b)]
        assert await ids() == newest
        assert await ids(limit=2) == newest[:2]
        assert await ids(limit=2, offset=3) == newest[3:]
        assert await ids(offset=5) == []
        assert await ids(states=[TaskState.CANCELLED]) == [a[0].id]
        assert await ids(states=[TaskState.CANCELLED, TaskState.QUEUED]) == newest
        assert await ids(queue="other") == [b[1].id, b[0].id]
        assert await ids(lane="a", states=[TaskState.QUEUED]) == [a[2].id, a[1].id]
        assert await ids(queue="other", lane="a") == []

    async def test_depth_counts_what_waits_what_is_late_and_what_runs(self, broker: Broker, clock: FakeClock) -> None:
        assert await broker.depth() == []
        await publish(broker, 3, lane="a")
        await publish(broker, 1, lane="b", priority=3)
        clock.move(7)
        await publish(broker, 1)
        await publish(broker, 2, delay=5)
        await claim(broker)
        await publish(broker, 1, queue="other", delay=1)
        assert await broker.depth() == [
            QueueDepth("default", queued=4, delayed=2, running=1, oldest=7.0),
            QueueDepth("other", queued=0, delayed=1, running=0, oldest=0.0),
        ]

    @pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED, TaskState.DEAD])
    async def test_replay_makes_a_new_task_and_leaves_the_old_record(self, broker: Broker, state: TaskState) -> None:
        before = await ended(broker, state, key="k", lane="l", priority=2)
        [fresh] = await broker.replay([before.id, before.id, "none"])
        assert await record(broker, before.id) == before
        moved = (await broker.find(["k"]))["k"]
        assert (moved.id, moved.state, moved.attempt, moved.history) == (fresh, TaskState.QUEUED, 0, [])
        assert moved.message == msgspec.structs.replace(before.message, id=fresh)
        [lease] = await claim(broker)
        assert (lease.id, lease.attempt) == (fresh, 1)

    async def test_a_task_whose_key_has_moved_on_is_not_replayed_again(self, broker: Broker) -> None:
        dead = await ended(broker, TaskState.DEAD, key="k")
        [fresh] = await broker.replay([dead.id])
        assert await broker.replay([dead.id]) == []
        assert (await broker.find(["k"]))["k"].id == fresh
        assert await broker.purge(states=[TaskState.DEAD]) == 1
        assert (await broker.find(["k"]))["k"].id == fresh
        assert await broker.publish([a_message(key="k")]) == [False]

    async def test_what_lives_or_succeeded_is_not_replayed(self, broker: Broker) -> None:
        done = await ended(broker, TaskState.SUCCEEDED)
        running = await claimed(broker)
        [queued] = await publish(broker)
        assert await broker.replay([done.id, running.id, queued.id]) == []

    async def test_replayed_in_the_order_asked_for_without_the_old_delay(self, broker: Broker) -> None:
        messages = await publish(broker, 3, delay=60)
        await broker.cancel([message.id for message in messages])
        fresh = await broker.replay([messages[number].id for number in (2, 0, 1)])
        assert [lease.id for lease in await claim(broker, 9)] == fresh
        assert [(await record(broker, one)).message.args for one in fresh] == [[2], [0], [1]]

    async def test_purge_forgets_only_what_ended_in_these_states_long_enough_ago(
        self, broker: Broker, clock: FakeClock
    ) -> None:
        old = await ended(broker, TaskState.SUCCEEDED, key="old")
        dead = await ended(broker, TaskState.DEAD)
        clock.move(100)
        young = await ended(broker, TaskState.SUCCEEDED)
        running = await claimed(broker)
        [queued] = await publish(broker)
        every = [TaskState.SUCCEEDED, TaskState.QUEUED, TaskState.RUNNING]
        assert await broker.purge(states=every, older_than=50) == 1
        left = [None if one is None else one.id for one in await broker.describe([old.id, dead.id, young.id])]
        assert left == [None, dead.id, young.id]
        assert await broker.purge(states=every) == 1
        assert {one.id for one in await broker.tasks()} == {dead.id, running.id, queued.id}
        assert await broker.publish([a_message(key="old")]) == [True]


class NoticeContract:
    """Whoever waits is told; nobody has to poll."""

    async def test_nothing_after_the_entry_is_missed(self, broker: Broker) -> None:
        before = await claimed(broker)
        await broker.progress([Progress(before, 0.1)])
        async with broker.notices() as notices:
            lease = await claimed(broker)
            await broker.progress([Progress(lease, 0.5, "half 😀")])
            told = await notice(notices, "progress")
            assert told == Notice("progress", lease.id, "running", 0.5, "half 😀", "w")
            await broker.cancel([lease.id], reason="enough")
            told = await notice(notices, "cancel")
            assert (told.id, told.message, told.worker) == (lease.id, "enough", "w")
            await broker.finish([End(lease, TaskState.CANCELLED)])
            told = await notice(notices, "state")
            assert (told.id, told.state) == (lease.id, "cancelled")

    async def test_every_change_of_state_but_the_claim_is_told(self, broker: Broker, clock: FakeClock) -> None:
        async with broker.notices() as notices:
            told = []

            async def next_state() -> None:
                told.append((await notice(notices, "state")).state)

            lease = await claimed(broker, max_attempts=2)
            await broker.release([Release(lease, error=BROKE)])
            await next_state()
            await claim(broker)
            clock.move(31)
            await broker.reclaim()
            await next_state()
            [message] = await publish(broker)
            await broker.cancel([message.id])
            await next_state()
            await publish(broker, deadline=1)
            clock.move(2)
            await claim(broker)
            await next_state()
            lease = await claimed(broker)
            await broker.finish([End(lease, TaskState.SUCCEEDED)])
            await next_state()
        assert told == ["queued", "dead", "cancelled", "dead", "succeeded"]

    async def test_every_watcher_is_told_in_order(self, broker: Broker) -> None:
        lease = await claimed(broker)
        values = [number / 20 for number in range(20)]
        async with broker.notices() as one, broker.notices() as two:
            for value in values:
                await broker.progress([Progress(lease, value)])
            for notices in (one, two):
                assert [(await notice(notices, "progress")).progress for _ in values] == values

    async def test_a_watcher_hears_nothing_of_what_was_before_it(self, broker: Broker) -> None:
        lease = await claimed(broker)
        async with broker.notices():
            await broker.progress([Progress(lease, 0.1)])
            async with broker.notices() as late:
                await broker.progress([Progress(lease, 0.2)])
                assert (await notice(late, "progress")).progress == 0.2

    async def test_a_watcher_that_has_gone_bothers_nobody(self, broker: Broker) -> None:
        async with broker.notices() as one:
            async with broker.notices():
                pass
            lease = await claimed(broker)
            await broker.finish([End(lease, TaskState.SUCCEEDED)])
            assert (await notice(one, "state")).id == lease.id

    async def test_what_was_refused_is_not_told(self, broker: Broker) -> None:
        lease = await claimed(broker)
        await broker.release([Release(lease, counted=False)])
        [message] = await publish(broker)
        async with broker.notices() as notices:
            await broker.finish([End(lease, TaskState.SUCCEEDED)])
            await broker.progress([Progress(lease, 0.5)])
            await broker.cancel([message.id])
            assert (await anext(notices)).id == message.id


class HouseContract:
    """Workers' signs of life, named locks, the clock."""

    async def test_the_latest_sign_of_life_of_each_worker_is_kept(self, broker: Broker, clock: FakeClock) -> None:
        for name in ("b", "a", "b"):
            await broker.beat(a_beat(name, clock.now(), done=7), timeout=30)
            clock.move(1)
        assert await broker.workers() == [a_beat("a", clock.now() - 2, done=7), a_beat("b", clock.now() - 1, done=7)]

    async def test_silent_workers_are_forgotten_even_when_all_are_silent(
        self, broker: Broker, clock: FakeClock
    ) -> None:
        await broker.beat(a_beat("a", clock.now()), timeout=30)
        clock.move(20)
        await broker.beat(a_beat("b", clock.now()), timeout=30)
        clock.move(11)
        assert [beat.name for beat in await broker.workers()] == ["b"]
        clock.move(20)
        assert await broker.workers() == []

    async def test_a_worker_that_leaves_is_forgotten_at_once(self, broker: Broker, clock: FakeClock) -> None:
        for name in ("a", "b"):
            await broker.beat(a_beat(name, clock.now()), timeout=30)
        await broker.beat(a_beat("a", clock.now()), timeout=0)
        clock.move(0.01)
        assert [beat.name for beat in await broker.workers()] == ["b"]
        await broker.beat(a_beat("a", clock.now()), timeout=30)
        assert [beat.name for beat in await broker.workers()] == ["a", "b"]

    async def test_the_brokers_clock_decides_who_is_silent(self, broker: Broker, clock: FakeClock) -> None:
        await broker.beat(a_beat("behind", clock.now() - 10_000), timeout=30)
        await broker.beat(a_beat("ahead", clock.now() + 10_000), timeout=30)
        assert [beat.name for beat in await broker.workers()] == ["ahead", "behind"]

    async def test_a_lock_has_one_owner_until_its_time_is_over(self, broker: Broker, clock: FakeClock) -> None:
        assert await broker.lock("l", owner="a", ttl=10)
        assert await broker.lock("other", owner="b", ttl=10)
        assert not await broker.lock("l", owner="b", ttl=10)
        clock.move(8)
        assert await broker.lock("l", owner="a", ttl=10)
        clock.move(8)
        assert not await broker.lock("l", owner="b", ttl=10)
        clock.move(2)
        assert await broker.lock("l", owner="b", ttl=10)
        assert not await broker.lock("l", owner="a", ttl=10)

    async def test_only_its_owner_gives_a_lock_back(self, broker: Broker) -> None:
        await broker.lock("l", owner="a", ttl=10)
        await broker.unlock("l", owner="b")
        assert not await broker.lock("l", owner="b", ttl=10)
        await broker.unlock("l", owner="a")
        await broker.unlock("none", owner="a")
        assert await broker.lock("l", owner="b", ttl=10)

    async def test_one_of_many_gets_the_lock(self, broker: Broker) -> None:
        got = []

        async def take(owner: str) -> None:
            got.append(await broker.lock("l", owner=owner, ttl=10))

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(take, f"o{number}")
        assert sum(got) == 1

    async def test_now_is_the_clocks_time(self, broker: Broker, clock: FakeClock) -> None:
        clock.move(5)
        assert await broker.now() == clock.now()
