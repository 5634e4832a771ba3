"""A broker in a SQL database: durable, shared by every process that opens it, fast by group commit."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import msgspec
import sqlalchemy as sa
from anyio import to_thread

from gristmill.base.clock import Clock, SystemClock
from gristmill.brokers.sql import steps, tables
from gristmill.brokers.sql.commit import GroupCommit
from gristmill.brokers.sql.dialect import dialect_for
from gristmill.brokers.sql.lanes import Claimant, claim, first_due, queue_up, take_seats
from gristmill.brokers.sql.link import Link, time_of
from gristmill.brokers.sql.listen import Listener
from gristmill.brokers.sql.notices import NoticeBoard
from gristmill.brokers.sql.presence import Nobody, Presence
from gristmill.brokers.sql.rows import NEWS_QUEUED, NEWS_TOLD
from gristmill.brokers.sql.watch import Watch
from gristmill.engine import bucket, pause
from gristmill.engine.broker import Broker, QueueDepth
from gristmill.engine.message import End, Heartbeat, Lease, Message, Notice, Progress, Release, TaskRecord
from gristmill.engine.state import TaskState

T = TypeVar("T")

PURGED_AT_ONCE = 2_000  # rows of one transaction

LOCKED = 0.02  # seconds until tasks that others are at just now are looked at again

_heartbeat = msgspec.json.Decoder(Heartbeat)


class SqlBroker(Broker):
    """Writes of all callers that wait at one moment share one transaction; reads have a connection of their own.

    Within the process a publish wakes a waiting reserve at once. What other processes do is told by PostgreSQL; elsewhere
    it shows within 5 to 200 ms, by a look at one number. On a server its clock decides, unless one is given. What the
    network breaks is connected again, and what was under way is repeated until it is known to have happened once.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._dialect = dialect_for(url)
        self._given = clock is not None or not self._dialect.server  # whether the clock is the broker's, too
        self._opened = AsyncExitStack()
        self._capped = 0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            connections = ExitStack()
            self._stop = threading.Event()
            self._writing = Link(self._dialect, stop=self._stop)
            self._looking = Link(self._dialect, stop=self._stop, reads=True)
            self._changed = anyio.Event()
            self._reading = anyio.CapacityLimiter(1)
            self._commits = GroupCommit(self._writing, self._last_steps, split=self._dialect.server)
            self._board = NoticeBoard(self._read, gaps=self._dialect.server)
            await to_thread.run_sync(self._connect, connections)
            stack.push_async_callback(_in_thread, connections.close)
            stack.push_async_callback(self._commits.close)
            children = await stack.enter_async_context(anyio.create_task_group())
            children.start_soon(self._commits.run, self._committed)
            children.start_soon(self._board.run)
            children.start_soon(self._watch.run)
            stack.callback(children.cancel_scope.cancel)
            stack.callback(self._stop.set)
            stack.callback(self._watch.stop)
            self._opened = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        return await self._commits.write(lambda c: steps.publish(c, self._time(c), messages))

    async def reserve(
        self,
        queues: Sequence[str],
        *,
        worker: str,
        limit: int,
        lease: float,
        wait: float | None = None,
        per_lane: int | None = None,
    ) -> list[Lease]:
        until = None if wait is None else self._clock.monotonic() + wait
        claimant = Claimant(worker, self._presence.id, lease, per_lane)
        while limit > 0:
            changed = self._changed
            leases, due = await self._commits.write(
                lambda c: self._claim_or_due(c, queues, claimant, limit), undo=self._unclaim, apart=True
            )
            left = None if until is None else until - self._clock.monotonic()
            if leases or (left is not None and left <= 0):
                return leases
            if due == 0.0:
                await anyio.sleep(LOCKED)
                continue
            pauses = [seconds for seconds in (left, due) if seconds is not None]
            with pause.limit(self._clock, min(pauses) if pauses else None), self._waiting(per_lane is not None):
                await changed.wait()
        return []

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        return await self._commits.write(lambda c: steps.extend(c, self._time(c), leases, lease))

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        return await self._commits.write(lambda c: steps.finish(c, self._time(c), ends))

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        return await self._commits.write(lambda c: steps.release(c, self._time(c), releases))

    async def progress(self, updates: Sequence[Progress]) -> list[bool]:
        return await self._commits.write(lambda c: steps.progress(c, self._time(c), updates))

    async def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[TaskState | None]:
        return await self._commits.write(lambda c: steps.cancel(c, self._time(c), ids, reason))

    async def reclaim(self, *, gone: Sequence[str] = ()) -> list[TaskRecord]:
        return await self._commits.write(lambda c: steps.reclaim(c, self._time(c), self._presence.gone, gone))

    async def describe(self, ids: Sequence[str]) -> list[TaskRecord | None]:
        found = {one.id: one for one in await self._read(lambda c: steps.records(c, tables.task.c.id, ids))}
        return [found.get(task_id) for task_id in ids]

    async def tasks(
        self,
        *,
        states: Sequence[TaskState] = (),
        queue: str | None = None,
        lane: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[TaskRecord]:
        query = sa.select(tables.task).order_by(tables.task.c.seq.desc()).limit(limit).offset(offset)
        if states:
            query = query.where(tables.task.c.state.in_([state.value for state in states]))
        if queue is not None:
            query = query.where(tables.task.c.queue == queue)
        if lane is not None:
            query = query.where(tables.task.c.lane == lane)
        return [tables.record(row) for row in await self._read(lambda c: c.execute(query).all())]

    async def find(self, keys: Sequence[str]) -> dict[str, TaskRecord]:
        found = await self._read(lambda c: steps.records(c, tables.task.c.key, keys))
        return {one.message.key: one for one in found if one.message.key is not None}

    async def replay(self, ids: Sequence[str]) -> list[str]:
        return await self._commits.write(lambda c: steps.replay(c, self._time(c), ids))

    async def purge(self, *, states: Sequence[TaskState], older_than: float = 0.0) -> int:
        gone, last = 0, PURGED_AT_ONCE
        while last == PURGED_AT_ONCE:  # by the piece: others write meanwhile
            last = await self._commits.write(
                lambda c: steps.purge(c, self._time(c) - older_than, states, PURGED_AT_ONCE)
            )
            gone += last
        return gone

    async def depth(self) -> list[QueueDepth]:
        def look(c: sa.Connection) -> list[QueueDepth]:
            now = self._time(c, fresh=True)
            known = tables.task.c
            due = known.not_before <= now
            query = (
                sa.select(
                    known.queue,
                    known.state,
                    sa.func.count().label("number"),
                    sa.func.count(sa.case((due, 1))).label("due"),
                    sa.func.min(sa.case((due, known.not_before))).label("oldest"),
                )
                .where(known.state.in_([TaskState.QUEUED.value, TaskState.RUNNING.value]))
                .group_by(known.queue, known.state)
            )
            return _depths(c.execute(query).all(), now)

        return await self._read(look)

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        async with self._board.watching() as stream:
            with self._watch.wanted():
                yield stream

    async def beat(self, heartbeat: Heartbeat, *, timeout: float) -> None:
        await self._commits.write(lambda c: steps.beat(c, self._time(c), heartbeat, timeout))

    async def workers(self) -> list[Heartbeat]:
        def look(c: sa.Connection) -> Sequence[bytes]:
            known = tables.worker.c
            query = sa.select(known.body).where(known.until >= self._time(c, fresh=True)).order_by(known.name)
            return c.execute(query).scalars().all()

        return [_heartbeat.decode(body) for body in await self._read(look)]

    async def lock(self, name: str, *, owner: str, ttl: float) -> bool:
        return await self._commits.write(lambda c: steps.take_lock(c, self._time(c), name, owner, ttl))

    async def unlock(self, name: str, *, owner: str) -> None:
        mine = sa.delete(tables.lock).where(tables.lock.c.name == name, tables.lock.c.owner == owner)
        await self._commits.write(lambda c: c.execute(mine).rowcount)

    async def book(
        self, name: str, *, rate: float, burst: float = 1.0, cost: float = 1.0, most: float | None = None
    ) -> float:
        bucket.check(rate, burst, cost)
        terms = {"rate": rate, "burst": burst, "cost": cost, "most": most}
        return await self._commits.write(lambda c: steps.book(c, self._time(c), name, terms))

    async def now(self) -> float:
        if not self._given:
            return await self._read(lambda c: self._time(c, fresh=True))
        await anyio.lowlevel.checkpoint()
        return self._clock.now()

    def _unclaim(self, claimed: tuple[list[Lease], float | None]) -> Callable[[sa.Connection], object] | None:
        """The step that gives back, uncounted, leases whose caller has gone."""
        releases = [Release(lease, counted=False) for lease in claimed[0]]
        return (lambda c: steps.release(c, self._time(c), releases)) if releases else None

    async def _read(self, run: Callable[[sa.Connection], T]) -> T:
        return await to_thread.run_sync(self._look, run, limiter=self._reading)

    def _look(self, run: Callable[[sa.Connection], T]) -> T:
        try:
            return self._looking.read(run)
        except Exception as exc:
            raise self._looking.meaning(exc) from exc

    def _look_at_counter(self) -> int:
        try:
            return self._counter()
        except Exception as exc:
            raise self._looking.meaning(exc) from exc

    def _time(self, c: sa.Connection, *, fresh: bool = False) -> float:
        """The broker's time."""
        return self._clock.now() if self._given else time_of(c, self._dialect, fresh=fresh)

    def _claim_or_due(
        self, c: sa.Connection, queues: Sequence[str], claimant: Claimant, limit: int
    ) -> tuple[list[Lease], float | None]:
        """What can be claimed; or nothing, and for how many seconds there will be nothing."""
        if self._dialect.server:  # nobody is held off where there is nothing
            first = first_due(c, queues)
            if first is None or first > (now := self._time(c)):
                return [], None if first is None else first - now
            queue_up(c, queues)
        now = self._time(c, fresh=True)
        leases = claim(c, now, queues, claimant=claimant, limit=limit)
        if leases:
            return leases, None
        # Lanes that are full give nothing, whatever the time.
        first = first_due(c, queues, after=None if claimant.per_lane is None else now)
        return [], None if first is None else max(0.0, first - now)

    def _last_steps(self, c: sa.Connection) -> None:
        """At the end of every transaction."""
        take_seats(c)
        if c.info[NEWS_QUEUED] or c.info[NEWS_TOLD]:
            self._dialect.tell(c)

    def _committed(self) -> None:
        """Tell of what the transactions of this process did."""
        news, self._writing.news = self._writing.news, set()
        if NEWS_QUEUED in news or (NEWS_TOLD in news and self._capped):
            self._wake_up()
        if NEWS_TOLD in news:
            self._board.look()

    @contextmanager
    def _waiting(self, capped: bool) -> Iterator[None]:
        """``capped``: it may be waiting for a lane that has as many running as it may."""
        self._capped += capped
        try:
            with self._watch.wanted():
                yield
        finally:
            self._capped -= capped

    def _others_did(self) -> None:
        self._wake_up()
        self._board.look()

    def _wake_up(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _connect(self, opened: ExitStack) -> None:
        """In a thread: connections, tables."""
        with ExitStack() as stack:
            try:
                self._presence: Presence | Nobody = self._dialect.presence()
                stack.enter_context(self._presence)
                engine = self._dialect.engine()
                for link in (self._writing, self._looking):
                    stack.callback(link.close)
                    link.open(engine)
                self._watch = self._open_watch(stack)
            except Exception as exc:
                raise self._writing.meaning(exc) from exc
            opened.enter_context(stack.pop_all())

    def _open_watch(self, stack: ExitStack) -> Watch | Listener:
        if self._dialect.listens:
            listener = Listener(self._dialect, self._others_did, meaning=self._looking.meaning)
            stack.callback(listener.close)
            listener.open()
            return listener
        self._counter = stack.enter_context(closing(self._dialect.counter()))
        return Watch(self._look_at_counter, self._others_did)


async def _in_thread(run: Callable[[], object]) -> None:
    with anyio.CancelScope(shield=True):
        await to_thread.run_sync(run)


def _depths(rows: Sequence[Any], now: float) -> list[QueueDepth]:
    queues: dict[str, dict[str, float]] = {}
    for row in rows:
        counts = queues.setdefault(row.queue, {"queued": 0, "delayed": 0, "running": 0, "oldest": 0.0})
        if row.state == TaskState.RUNNING.value:
            counts["running"] += row.number
        else:
            counts["queued"] += row.due
            counts["delayed"] += row.number - row.due
            counts["oldest"] = now - row.oldest if row.due else 0.0
    return [
        QueueDepth(name, int(c["queued"]), int(c["delayed"]), int(c["running"]), c["oldest"])
        for name, c in sorted(queues.items())
    ]
