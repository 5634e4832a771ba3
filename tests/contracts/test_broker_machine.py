"""Any order of steps keeps the promises of every built-in broker; and bugs planted on purpose are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gristmill.base.clock import Clock
from gristmill.brokers import open_broker
from gristmill.brokers.memory import MemoryBroker
from gristmill.brokers.memory.lanes import Kept
from gristmill.brokers.sql.broker import SqlBroker
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Message, Release, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.testing.brokers import check

PLANTED = 500  # examples at most; each of these bugs is found within the first hundred


def memory(_: Path, clock: Clock) -> Broker:
    return open_broker("memory://", clock=clock)


def sql(folder: Path, clock: Clock) -> Broker:
    return open_broker(f"sqlite:///{folder / 'broker.db'}", clock=clock)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_memory_broker_keeps_its_promises_in_any_order(backend: str) -> None:
    """P1, P2, P3."""
    check(memory, backend=backend)


@pytest.mark.parametrize(("backend", "examples"), [("asyncio", 12), ("trio", 4)])
def test_the_sql_broker_keeps_its_promises_in_any_order_over_restarts(backend: str, examples: int) -> None:
    """P1, P2, P3."""
    check(sql, durable=True, backend=backend, examples=examples)


class GivesOutWhatRuns(Broker):
    """A double holder: with room left, it gives out what others are working on."""

    async def reserve(self, queues: Sequence[str], *, worker: str, limit: int, **terms: Any) -> list[Lease]:
        got = await super().reserve(queues, worker=worker, limit=limit, **terms)  # type: ignore[safe-super]
        running = await self.tasks(states=[TaskState.RUNNING], limit=limit - len(got)) if len(got) < limit else []
        return got + [Lease(one.message, one.token, worker, one.attempt) for one in running]


class ForgivesOldTokens(Broker):
    """A double holder: whoever once held a task may end it while another runs it."""

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        found = await self.describe([end.lease.id for end in ends])
        fresh = [
            end
            if known is None
            else msgspec.structs.replace(end, lease=msgspec.structs.replace(end.lease, token=known.token))
            for end, known in zip(ends, found, strict=True)
        ]
        return await super().finish(fresh)  # type: ignore[safe-super]


class DropsTheWrite(Broker):
    """A lost ack: it says that the end is written, and has not written it."""

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        return [lease not in await self.extend([lease], lease=30.0) for lease in (end.lease for end in ends)]


class WritesLater(SqlBroker):
    """A lost ack: it answers, and writes with the next step. Nobody sees it, unless it crashes in between."""

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        super().__init__(url, clock=clock)
        self.meant: list[End] = []

    async def write(self) -> None:
        ends, self.meant = self.meant, []
        await super().finish(ends)

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        await self.write()
        found = await self.describe([end.lease.id for end in ends])
        done = []
        for end, known in zip(ends, found, strict=True):
            first = all(meant.lease.id != end.lease.id for meant in self.meant)
            held = known is not None and known.state is TaskState.RUNNING and known.token == end.lease.token
            done.append(first and held)
            self.meant += [end] * (first and held)
        return done

    async def tasks(self, **wanted: Any) -> list[TaskRecord]:
        ends = {end.lease.id: end.state for end in self.meant}
        return [
            msgspec.structs.replace(one, state=ends[one.id], lease_until=None) if one.id in ends else one
            for one in await super().tasks(**wanted)
        ]


def _after_writing(name: str) -> Any:
    async def step(self: WritesLater, *args: Any, **fields: Any) -> Any:
        await self.write()
        return await getattr(SqlBroker, name)(self, *args, **fields)

    return step


for _name in ("publish", "reserve", "extend", "release", "progress", "cancel", "reclaim", "replay", "purge"):
    setattr(WritesLater, _name, _after_writing(_name))


class AcknowledgesAtTheClaim(Broker):
    """A lost ack: what was given out is never taken back, whatever becomes of its worker."""

    async def reclaim(self, *, gone: Sequence[str] = ()) -> list[TaskRecord]:
        return []


class CountsNoAttempts(Broker):
    """A task that kills its workers goes round for ever."""

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        return await super().release([msgspec.structs.replace(one, counted=False) for one in releases])  # type: ignore[safe-super]


class ChecksNoLease(MemoryBroker):
    """It does not ask whether anybody holds the task."""

    def _held(self, lease: Lease) -> Kept | None:
        task = self._tasks.get(lease.id)
        return None if task is None or task.record.state.final else task


class OverwritesKeys(MemoryBroker):
    """A second message with a known key takes the place of the first."""

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        for message in messages:
            if message.key in self._keys:
                del self._tasks[self._keys.pop(message.key)]
        return await super().publish(messages)


class ChangesItsMind(MemoryBroker):
    """A cancel that comes too late still makes a success a cancelled task."""

    async def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[TaskState | None]:
        before = await super().cancel(ids, reason=reason)
        for task in (self._tasks[one] for one in ids if one in self._tasks):
            if task.record.state is TaskState.SUCCEEDED:
                task.record = msgspec.structs.replace(task.record, state=TaskState.CANCELLED)
        return before


@pytest.mark.parametrize("base", [MemoryBroker, SqlBroker])
@pytest.mark.parametrize(
    ("bug", "found"),
    [
        (GivesOutWhatRuns, "two hold one task|what is due is given out, and no more|was claimed"),
        (ForgivesOldTokens, "by the holder, and only by him|written by the holder"),
        (DropsTheWrite, "no step explains|written by the holder"),
        (AcknowledgesAtTheClaim, "expired leases are taken"),
        (CountsNoAttempts, "no step explains"),
    ],
)
def test_a_bug_planted_in_any_broker_is_found(bug: type[Broker], base: Any, found: str) -> None:
    planted = type(bug.__name__, (bug, base), {})

    def opener(folder: Path, clock: Clock) -> Broker:
        broker: Broker = planted(f"sqlite:///{folder / 'broker.db'}", clock=clock)
        return broker

    with pytest.raises(AssertionError, match=found):
        check(opener, examples=PLANTED)


@pytest.mark.parametrize(
    ("bug", "found"),
    [
        (ChecksNoLease, "holder|illegal step"),
        (OverwritesKeys, "a key is known or it is not|== \\[False\\]|lost, or made up"),
        (ChangesItsMind, "no step explains"),
    ],
)
def test_a_bug_planted_inside_the_memory_broker_is_found(bug: type[MemoryBroker], found: str) -> None:
    with pytest.raises(AssertionError, match=found):
        check(lambda _, clock: bug(clock=clock), examples=PLANTED)


@pytest.mark.timeout(500)  # how many orders are tried before the bug shows is a matter of luck
def test_an_end_that_is_answered_before_it_is_written_is_found() -> None:
    """P1."""

    def opener(folder: Path, clock: Clock) -> Broker:
        return WritesLater(f"sqlite:///{folder / 'broker.db'}", clock=clock)

    check(opener, examples=10)
    with pytest.raises(AssertionError, match="no step explains"):
        check(opener, durable=True, examples=PLANTED)
