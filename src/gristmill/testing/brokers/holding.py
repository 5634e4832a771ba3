"""Leases: attempts, fencing, ends that are final, cancels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from gristmill.engine.broker import Broker
from gristmill.engine.message import End, ErrorRecord, Lease, Progress, Release
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import BROKE, claim, claimed, ended, publish, record
from gristmill.testing.clock import FakeClock

FINALS = [TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.DEAD]
Loss = Callable[[Broker, FakeClock, Lease], Awaitable[object]]


async def _reclaimed(broker: Broker, clock: FakeClock, lease: Lease) -> None:
    clock.move(31)
    assert [one.id for one in await broker.reclaim()] == [lease.id]


async def _held_by_another(broker: Broker, clock: FakeClock, lease: Lease) -> None:
    await _reclaimed(broker, clock, lease)
    [again] = await claim(broker, worker="another")
    assert (again.id, again.token > lease.token, again.attempt) == (lease.id, True, 2)


async def _given_back(broker: Broker, _: FakeClock, lease: Lease) -> None:
    await broker.release([Release(lease, counted=False)])


async def _ended(broker: Broker, _: FakeClock, lease: Lease) -> None:
    await broker.finish([End(lease, TaskState.FAILED, error=BROKE)])


class LeaseContract:
    """At most one valid holder; whoever lost the lease writes nothing."""

    @pytest.mark.parametrize("lose", [_reclaimed, _held_by_another, _given_back, _ended])
    async def test_whoever_lost_the_lease_changes_nothing(self, broker: Broker, clock: FakeClock, lose: Loss) -> None:
        """P3."""
        old = await claimed(broker)
        await lose(broker, clock, old)
        before = await record(broker, old)
        assert await broker.finish([End(old, TaskState.SUCCEEDED, result=b"1")]) == [False]
        assert await broker.release([Release(old, error=BROKE)]) == [False]
        assert await broker.progress([Progress(old, 0.5, "half")]) == [False]
        assert await broker.extend([old], lease=99) == [old]
        assert await record(broker, old) == before

    async def test_an_old_lease_in_the_batch_of_the_new_one_is_still_refused(
        self, broker: Broker, clock: FakeClock
    ) -> None:
        """P3."""
        old = await claimed(broker)
        await _reclaimed(broker, clock, old)
        [new] = await claim(broker)
        assert await broker.extend([old, new, old], lease=30) == [old, old]
        assert await broker.progress([Progress(new, 0.5), Progress(old, 0.9)]) == [True, False]
        late, right = End(old, TaskState.FAILED, error=BROKE), End(new, TaskState.SUCCEEDED, result=b"1")
        assert await broker.finish([late, right, late]) == [False, True, False]
        found = await record(broker, new)
        assert (found.state, found.result, found.error, found.progress) == (TaskState.SUCCEEDED, b"1", None, 0.5)

    @pytest.mark.parametrize("state", FINALS)
    async def test_an_end_is_final(self, broker: Broker, clock: FakeClock, state: TaskState) -> None:
        """P2."""
        before = await ended(broker, state, key="k")
        lease = Lease(before.message, before.token, before.worker, before.attempt)
        for other in FINALS:
            assert await broker.finish([End(lease, other, result=b"2")]) == [False]
        assert await broker.release([Release(lease), Release(lease, counted=False)]) == [False, False]
        assert await broker.progress([Progress(lease, 0.1)]) == [False]
        assert await broker.extend([lease], lease=99) == [lease]
        assert await broker.cancel([lease.id]) == [state]
        clock.move(1_000)
        assert await broker.reclaim() == []
        assert await claim(broker) == []
        assert await broker.publish([before.message]) == [False]
        await broker.replay([lease.id])
        assert await record(broker, lease) == before

    async def test_finish_writes_state_result_and_time_and_takes_the_lease(
        self, broker: Broker, clock: FakeClock
    ) -> None:
        lease = await claimed(broker)
        clock.move(2)
        assert await broker.finish([End(lease, TaskState.SUCCEEDED, result=b'{"a":1}')]) == [True]
        found = await record(broker, lease)
        assert (found.state, found.result, found.error) == (TaskState.SUCCEEDED, b'{"a":1}', None)
        assert (found.started, found.ended, found.lease_until) == (clock.now() - 2, clock.now(), None)

    async def test_an_error_is_kept_whole(self, broker: Broker) -> None:
        """P10."""
        lease = await claimed(broker)
        error = ErrorRecord(
            "Boom", "nul\0 😀 \udce9", stage="embed", attempt=1, at=1.5, traceback="line\n", limit="memory"
        )
        await broker.finish([End(lease, TaskState.FAILED, error=error)])
        kept = (await record(broker, lease)).error
        assert kept == error
        assert kept.message == "nul\0 😀 ?"

    async def test_the_second_end_in_one_batch_is_too_late(self, broker: Broker) -> None:
        lease = await claimed(broker)
        ends = [End(lease, TaskState.SUCCEEDED), End(lease, TaskState.FAILED, error=BROKE)]
        assert await broker.finish(ends) == [True, False]
        assert (await record(broker, lease)).state is TaskState.SUCCEEDED

    async def test_the_second_release_in_one_batch_is_too_late(self, broker: Broker) -> None:
        lease = await claimed(broker)
        assert await broker.release([Release(lease, counted=False), Release(lease)]) == [True, False]
        assert (await record(broker, lease)).attempt == 0

    async def test_attempts_are_counted_at_the_claim(self, broker: Broker, clock: FakeClock) -> None:
        lease = await claimed(broker)
        found = await record(broker, lease)
        assert (lease.attempt, found.attempt, found.state) == (1, 1, TaskState.RUNNING)
        assert (found.worker, found.started, found.lease_until) == ("w", clock.now(), clock.now() + 30)

    async def test_a_counted_release_is_an_attempt_and_keeps_its_error(self, broker: Broker, clock: FakeClock) -> None:
        lease = await claimed(broker)
        assert await broker.release([Release(lease, delay=5, error=BROKE)]) == [True]
        found = await record(broker, lease)
        assert (found.state, found.attempt, found.worker, found.history) == (TaskState.QUEUED, 1, "", [BROKE])
        assert await claim(broker) == []
        clock.move(5)
        [again] = await claim(broker)
        assert (again.attempt, again.token > lease.token) == (2, True)

    async def test_an_uncounted_release_gives_the_attempt_back(self, broker: Broker) -> None:
        message = (await publish(broker, max_attempts=1))[0]
        for _ in range(3):
            [lease] = await claim(broker)
            assert (lease.id, lease.attempt) == (message.id, 1)
            assert await broker.release([Release(lease, counted=False)]) == [True]

    @pytest.mark.parametrize(("error", "reason"), [(BROKE, BROKE.type), (None, "TaskDead")])
    async def test_out_of_attempts_is_dead_with_reason_and_history(
        self, broker: Broker, error: ErrorRecord | None, reason: str
    ) -> None:
        message = (await publish(broker, max_attempts=2))[0]
        for _ in range(2):
            [lease] = await claim(broker)
            await broker.release([Release(lease, error=error)])
        found = await record(broker, message)
        assert (found.state, found.attempt) == (TaskState.DEAD, 2)
        assert found.error is not None
        assert found.error.type == reason
        assert found.history == ([BROKE, BROKE] if error else [])
        assert await claim(broker) == []

    async def test_a_task_that_nobody_started_by_its_deadline_is_dead(self, broker: Broker, clock: FakeClock) -> None:
        [late] = await publish(broker, deadline=10)
        [in_time] = await publish(broker, deadline=20)
        clock.move(11)
        assert [lease.id for lease in await claim(broker)] == [in_time.id]
        found = await record(broker, late)
        assert (found.state, found.attempt, found.ended) == (TaskState.DEAD, 0, clock.now())
        assert found.error is not None
        assert "deadline" in found.error.message

    async def test_what_a_worker_held_that_is_gone_goes_back_at_once(self, broker: Broker) -> None:
        """P1: its process has ended, somebody has seen that. Others keep what they hold, whatever is asked."""
        await publish(broker, 3)
        [dead] = await claim(broker, worker="dead")
        [living] = await claim(broker, worker="living")
        [taken] = await broker.reclaim(gone=["dead", "unknown"])
        assert (taken.id, taken.state, taken.attempt, taken.worker) == (dead.id, TaskState.QUEUED, 1, "")
        assert [(error.type, error.message) for error in taken.history] == [("LeaseExpired", "worker dead is gone")]
        assert await broker.finish([End(dead, TaskState.SUCCEEDED), End(living, TaskState.SUCCEEDED)]) == [False, True]
        [again] = await claim(broker, worker="next")
        assert (again.id, again.attempt) == (dead.id, 2)

    async def test_reclaim_takes_only_what_has_expired(self, broker: Broker, clock: FakeClock) -> None:
        short, long = await publish(broker, 2)
        await claim(broker, lease=10, worker="silent")
        await claim(broker, lease=30)
        clock.move(9.9)
        assert await broker.reclaim() == []
        clock.move(0.1)
        [taken] = await broker.reclaim()
        assert (taken.id, taken.state, taken.attempt, taken.lease_until) == (short.id, TaskState.QUEUED, 1, None)
        assert [(one.type, one.attempt) for one in taken.history] == [("LeaseExpired", 1)]
        assert "silent" in taken.history[0].message
        assert (await record(broker, long)).state is TaskState.RUNNING
        assert await broker.reclaim() == []

    async def test_a_task_whose_workers_always_fall_silent_is_dead_in_the_end(
        self, broker: Broker, clock: FakeClock
    ) -> None:
        [message] = await publish(broker, max_attempts=2)
        for _ in range(2):
            assert len(await claim(broker)) == 1
            clock.move(30)
            [taken] = await broker.reclaim()
        assert (taken.id, taken.state) == (message.id, TaskState.DEAD)
        assert taken.error is not None
        assert taken.error.type == "LeaseExpired"
        assert len(taken.history) == 2

    async def test_extended_leases_do_not_expire(self, broker: Broker, clock: FakeClock) -> None:
        lease = await claimed(broker)
        for _ in range(3):
            clock.move(20)
            assert await broker.extend([lease], lease=30) == []
        assert await broker.reclaim() == []
        assert (await record(broker, lease)).lease_until == clock.now() + 30

    async def test_a_late_holder_keeps_the_lease_that_nobody_took(self, broker: Broker, clock: FakeClock) -> None:
        lease = await claimed(broker)
        clock.move(1_000)
        assert await broker.extend([lease], lease=30) == []
        assert await broker.reclaim() == []
        assert await broker.finish([End(lease, TaskState.SUCCEEDED)]) == [True]

    async def test_progress_keeps_the_latest(self, broker: Broker) -> None:
        lease = await claimed(broker)
        updates = [Progress(lease, 0.2, "a", {"n": 1}), Progress(lease, 0.6, "half \udce9 😀", {"pages": [1, None]})]
        assert await broker.progress(updates) == [True, True]
        found = await record(broker, lease)
        assert (found.progress, found.progress_message) == (0.6, "half ? 😀")
        assert found.progress_data == {"pages": [1, None]}


class CancelContract:
    """Queued tasks end at once, running ones are marked, ended ones stay."""

    async def test_a_queued_task_ends_at_once(self, broker: Broker, clock: FakeClock) -> None:
        now, later = await publish(broker, 1) + await publish(broker, 1, delay=60)
        assert await broker.cancel([now.id, later.id], reason="no more") == [TaskState.QUEUED] * 2
        for message in (now, later):
            found = await record(broker, message)
            assert (found.state, found.ended) == (TaskState.CANCELLED, clock.now())
            assert found.error is not None
            assert found.error.message == "no more"
        clock.move(60)
        assert await claim(broker) == []

    async def test_a_running_task_is_marked_and_its_lease_not_lost(self, broker: Broker) -> None:
        lease = await claimed(broker)
        assert await broker.cancel([lease.id, lease.id]) == [TaskState.RUNNING] * 2
        found = await record(broker, lease)
        assert (found.state, found.cancel_requested) == (TaskState.RUNNING, True)
        assert await broker.extend([lease], lease=30) == []
        assert await broker.finish([End(lease, TaskState.CANCELLED)]) == [True]

    async def test_unknown_tasks_have_no_state(self, broker: Broker) -> None:
        [message] = await publish(broker)
        assert await broker.cancel(["none", message.id, message.id]) == [None, TaskState.QUEUED, TaskState.QUEUED]

    @pytest.mark.parametrize("counted", [True, False])
    async def test_a_cancelled_task_is_not_queued_again_but_ended(self, broker: Broker, counted: bool) -> None:
        lease = await claimed(broker)
        await broker.cancel([lease.id])
        assert await broker.release([Release(lease, counted=counted, error=BROKE)]) == [True]
        found = await record(broker, lease)
        assert (found.state, found.history) == (TaskState.CANCELLED, [BROKE])
        assert await claim(broker) == []

    async def test_a_cancelled_task_whose_worker_falls_silent_is_ended(self, broker: Broker, clock: FakeClock) -> None:
        lease = await claimed(broker)
        await broker.cancel([lease.id])
        clock.move(31)
        [taken] = await broker.reclaim()
        assert (taken.id, taken.state) == (lease.id, TaskState.CANCELLED)

    async def test_work_that_was_done_before_the_cancel_came_is_done(self, broker: Broker) -> None:
        lease = await claimed(broker)
        await broker.cancel([lease.id])
        assert await broker.finish([End(lease, TaskState.SUCCEEDED, result=b"1")]) == [True]
        assert (await record(broker, lease)).state is TaskState.SUCCEEDED
