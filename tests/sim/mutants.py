"""Bugs of the kinds that engines like this one have had, one in each class. The oracle must see every one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from gristmill.base.errors import BrokerUnavailable
from gristmill.brokers.memory import MemoryBroker
from gristmill.brokers.memory.lanes import Kept, Lanes
from gristmill.engine.message import End, ErrorRecord, Lease, Message, Notice, Release, TaskRecord
from gristmill.engine.slots import Slots
from gristmill.engine.state import TaskState
from sim.line import Line
from sim.plan import What
from sim.runners import SimWorker

# Brokers


class ChecksNoToken(MemoryBroker):
    """Whoever once held a task may end it while another runs it."""

    def _held(self, lease: Lease) -> Kept | None:
        task = self._tasks.get(lease.id)
        return task if task is not None and task.record.state is TaskState.RUNNING else None


class ReclaimsWithoutToken(MemoryBroker):
    """What is taken back is given out again under the old token."""

    def _start(self, task: Kept, worker: str, lease: float) -> Lease:
        if task.record.token:
            task.set(token=task.record.token - 1)
        return super()._start(task, worker, lease)


class ReclaimsWhatIsHeld(MemoryBroker):
    """It takes back leases that have not expired."""

    async def reclaim(self, *, gone: Sequence[str] = ()) -> list[TaskRecord]:
        for task_id in self._running:
            task = self._tasks[task_id]
            task.set(lease_until=self._clock.now())
        return await super().reclaim(gone=gone)


class ReclaimsNothing(MemoryBroker):
    """What a worker held that has died is nobody's for ever."""

    async def reclaim(self, *, gone: Sequence[str] = ()) -> list[TaskRecord]:
        return []


class CountsNoReclaim(MemoryBroker):
    """A task that kills its workers goes round for ever."""

    def _back(self, task: Kept, *, counted: bool, delay: float, error: ErrorRecord | None) -> None:
        super()._back(
            task, counted=counted and error is not None and error.type != "LeaseExpired", delay=delay, error=error
        )


class ExtendsNothing(MemoryBroker):
    """It says that leases are renewed, and has not written it."""

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        await anyio.lowlevel.checkpoint()
        return [one for one in leases if self._held(one) is None]


class ForgetsCancels(MemoryBroker):
    """A cancel of what runs is told, but not written down."""

    async def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[TaskState | None]:
        before = await super().cancel(ids, reason=reason)
        for task in (self._tasks[one] for one in ids if one in self._tasks):
            if task.record.state is TaskState.RUNNING:
                task.set(cancel_requested=False)
        return before


class SleepsOn(MemoryBroker):
    """A lost wake-up: what comes back from a worker wakes nobody."""

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        wake, self._wake = self._wake, anyio.Event()
        try:
            return await super().release(releases)
        finally:
            self._wake = wake


class SleepsOnWhenALaneIsFree(MemoryBroker):
    """A lost wake-up: a lane that was full has room again, and nobody is told."""

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        self._capped, capped = 0, self._capped
        try:
            return await super().finish(ends)
        finally:
            self._capped = capped


class OneTooMany(MemoryBroker):
    """It counts the tasks of a lane after it has given out one more."""

    async def reserve(self, *args: Any, per_lane: int | None = None, **fields: Any) -> list[Lease]:
        return await super().reserve(*args, per_lane=None if per_lane is None else per_lane + 1, **fields)


class FirstComeFirstServed(MemoryBroker):
    """Lanes take no turns."""

    def _start(self, task: Kept, worker: str, lease: float) -> Lease:
        for lanes in self._lanes.values():
            for seat in sorted(lanes.turns):
                lanes.turns.move_to_end(seat)
        return super()._start(task, worker, lease)


class AcceptsTwice(MemoryBroker):
    """It looks for the id of what is published, not for its key."""

    def _accept(self, message: Message, raw: bytes) -> bool:
        self._keys.pop(message.key or "", None)
        return super()._accept(message, raw)


class BooksNothing(MemoryBroker):
    """It says how long to wait, and forgets that somebody does."""

    async def book(self, name: str, **fields: Any) -> float:
        wait = await super().book(name, **fields)
        self._empty.pop(name, None)
        return wait


class BeginsEarly(MemoryBroker):
    """What is to wait does not."""

    def _queue(self, task: Kept) -> None:
        self._lanes.setdefault(task.record.message.priority, Lanes()).push(task)


class LowestFirst(MemoryBroker):
    """Priorities the wrong way round."""

    def _queue(self, task: Kept) -> None:
        self._lanes.setdefault(-task.record.message.priority, Lanes()).push(task)


class GivesUpSoon(MemoryBroker):
    """The first failure kills."""

    def _back(self, task: Kept, *, counted: bool, delay: float, error: ErrorRecord | None) -> None:
        if counted and error is not None:
            self._end(task, TaskState.DEAD, error=error)
        else:
            super()._back(task, counted=counted, delay=delay, error=error)


class EndsTwice(MemoryBroker):
    """A cancel that comes too late makes a success a cancelled task."""

    async def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[TaskState | None]:
        before = await super().cancel(ids, reason=reason)
        for task in (self._tasks[one] for one in ids if one in self._tasks):
            if task.record.state is TaskState.SUCCEEDED:
                del self._tasks[task.record.id]
                self._accept(task.record.message, task.raw)
        return before


# Workers


class AcknowledgesFirst(SimWorker):
    """The end is written before the body has come to it."""

    async def _one(self, lease: Lease) -> None:
        await self._broker.finish([End(lease, TaskState.SUCCEEDED)])
        await super()._one(lease)


class RunsItTwice(SimWorker):
    """A task that comes again begins, though its own earlier body is still there, and however old the claim is."""

    async def _still_ours(self, leases: list[Lease]) -> list[Lease]:
        return leases

    def _begin(self, lease: Lease) -> bool:
        self._running[lease.id] = lease
        return True


class RetriesNothing(SimWorker):
    """A failure that may pass is the end."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields, middleware=[])


class HearsNoRoom(SimWorker):
    """A lost wake-up: there is room for a task again, and nobody is told."""

    def __init__(self, *args: Any, slots: int, async_slots: int, **fields: Any) -> None:
        super().__init__(*args, slots=slots, async_slots=async_slots, **fields)
        self._slots = _Deaf(slots, async_slots)


class _Deaf(Slots):
    async def more_room(self) -> None:
        await anyio.sleep_forever()


class LosesSlots(SimWorker):
    """A slot is left, and nobody else gets it."""

    def __init__(self, *args: Any, slots: int, async_slots: int, **fields: Any) -> None:
        super().__init__(*args, slots=slots, async_slots=async_slots, **fields)
        self._slots = _Leaky(slots, async_slots)


class _Leaky(Slots):
    def leave(self, kind: bool) -> None:
        if self._queues[kind]:
            super().leave(kind)


class DeafToTheEnd(SimWorker):
    """Asked to end, it goes on."""

    def drain(self, *, grace: float = 30.0) -> None:
        return None


# What a worker does with its broker


class RenewsNothing(Line):
    """Leases are not renewed."""

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        await anyio.lowlevel.checkpoint()
        return []


class KeepsWhatIsLost(Line):
    """A lease that is lost ends no body."""

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        await self._call("extend", (leases,), {"lease": lease})
        return []


class HearsNoCancel(Line):
    """Cancels are seen when leases are renewed, and no sooner."""

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        send, receive = anyio.create_memory_object_stream[Notice]()
        with send, receive:
            yield receive


class TrustsNotices(Line):
    """A cancel whose notice was missed is missed for good."""

    async def describe(self, ids: Sequence[str]) -> list[TaskRecord | None]:
        await anyio.lowlevel.checkpoint()
        return [None for _ in ids]


class WritesOnce(Line):
    """An end that could not be written is not written again, and its lease is renewed for ever."""

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        try:
            written: list[bool] = await self._call("finish", (ends,), {})
        except BrokerUnavailable:
            await anyio.sleep_forever()
        return written


class HandsNothingBack(Line):
    """Whoever ends takes his tasks with him."""

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        counted = [release for release in releases if release.counted]
        if counted:
            await self._call("release", (counted,), {})
        return [True for _ in releases]


class ReapsNothing(Line):
    """Nobody looks for leases that have expired."""

    async def reclaim(self) -> list[TaskRecord]:
        await anyio.lowlevel.checkpoint()
        return []


class TakesNoToken(Line):
    """Tasks with a rate begin at once."""

    async def book(self, name: str, **fields: Any) -> float:
        await anyio.lowlevel.checkpoint()
        return 0.0


BROKERS: list[type[MemoryBroker]] = [
    ChecksNoToken,
    ReclaimsWithoutToken,
    ReclaimsWhatIsHeld,
    ReclaimsNothing,
    CountsNoReclaim,
    ExtendsNothing,
    ForgetsCancels,
    SleepsOn,
    SleepsOnWhenALaneIsFree,
    OneTooMany,
    FirstComeFirstServed,
    AcceptsTwice,
    BooksNothing,
    BeginsEarly,
    LowestFirst,
    GivesUpSoon,
    EndsTwice,
]
WORKERS: list[type[SimWorker]] = [AcknowledgesFirst, RunsItTwice, RetriesNothing, HearsNoRoom, LosesSlots, DeafToTheEnd]
LINES: list[type[Line]] = [
    RenewsNothing,
    KeepsWhatIsLost,
    HearsNoCancel,
    TrustsNotices,
    WritesOnce,
    HandsNothingBack,
    ReapsNothing,
    TakesNoToken,
]
# What has to go wrong for these to show: only such schedules are tried.
NEEDS: dict[type, What] = {
    ChecksNoToken: "freezes",
    RunsItTwice: "freezes",
    KeepsWhatIsLost: "broker forgets",
    TrustsNotices: "hears nothing",
    WritesOnce: "calls fail",
    ReapsNothing: "dies",
}
