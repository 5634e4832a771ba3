"""A broker inside one process: for tests, notebooks and inline use. Nothing survives the process."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectSendStream

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.ids import new_id
from gristmill.brokers.memory.lanes import Kept, Lanes, seat_of
from gristmill.engine import bucket, pause
from gristmill.engine.broker import Broker, QueueDepth
from gristmill.engine.message import (
    End,
    ErrorRecord,
    Heartbeat,
    Lease,
    Message,
    Notice,
    Progress,
    Release,
    TaskRecord,
    decode,
    encode,
    too_late,
    used_up,
)
from gristmill.engine.state import TaskState

NOTICE_BUFFER = 10_000  # notices a watcher may lag behind before it misses some


class MemoryBroker(Broker):
    """Every method runs to its end without a checkpoint in between, and so is atomic."""

    def __init__(self, url: str = "memory://", *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._tasks: dict[str, Kept] = {}
        self._keys: dict[str, str] = {}
        self._running: dict[str, None] = {}  # in the order of the claims
        self._busy: Counter[tuple[str, str]] = Counter()  # how many of them, by queue and lane
        self._capped = 0  # reserves that wait and may be waiting for a full lane
        self._lanes: dict[int, Lanes] = {}
        self._delayed: list[tuple[float, int, str]] = []
        self._seq = 0
        self._wake = anyio.Event()
        self._watchers: dict[MemoryObjectSendStream[Notice], None] = {}
        self._beats: dict[str, tuple[float, Heartbeat]] = {}
        self._locks: dict[str, tuple[str, float]] = {}
        self._empty: dict[str, float] = {}  # since when, or from when on, a bucket is empty

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        raws = [encode(message) for message in messages]
        accepted = [self._accept(message, raw) for message, raw in zip(messages, raws, strict=True)]
        self._wake_up()
        await anyio.lowlevel.checkpoint()
        return accepted

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
        await anyio.lowlevel.checkpoint()
        until = None if wait is None else self._clock.monotonic() + wait
        while limit > 0:
            claimed = list(self._claim(queues, worker, limit, lease, per_lane))
            left = None if until is None else until - self._clock.monotonic()
            if claimed or (left is not None and left <= 0):
                return claimed
            due = self._delayed[0][0] - self._clock.now() if self._delayed else None
            pauses = [max(seconds, 0.0) for seconds in (left, due) if seconds is not None]
            with pause.limit(self._clock, min(pauses) if pauses else None), self._waiting(per_lane is not None):
                await self._wake.wait()
        return []

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        until = self._clock.now() + lease
        lost = []
        for held in leases:
            task = self._held(held)
            if task is None:
                lost.append(held)
            else:
                task.set(lease_until=until)
        await anyio.lowlevel.checkpoint()
        return lost

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        done = []
        for end in ends:
            task = self._held(end.lease)
            done.append(task is not None)
            if task is not None:
                self._end(task, end.state, result=end.result, error=end.error)
        if self._capped:
            self._wake_up()
        await anyio.lowlevel.checkpoint()
        return done

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        done = []
        for release in releases:
            task = self._held(release.lease)
            done.append(task is not None)
            if task is not None:
                self._back(task, counted=release.counted, delay=release.delay, error=release.error)
        self._wake_up()
        await anyio.lowlevel.checkpoint()
        return done

    async def progress(self, updates: Sequence[Progress]) -> list[bool]:
        done = []
        for update in updates:
            task = self._held(update.lease)
            done.append(task is not None)
            if task is not None:
                data = msgspec.json.decode(msgspec.json.encode(update.data))
                task.set(progress=update.value, progress_message=update.message, progress_data=data)
                self._tell("progress", task.record)
        await anyio.lowlevel.checkpoint()
        return done

    async def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[TaskState | None]:
        found = [self._tasks.get(task_id) for task_id in ids]
        before = [None if task is None else task.record.state for task in found]
        for task in found:
            if task is not None and task.record.state is TaskState.QUEUED:
                self._end(task, TaskState.CANCELLED, error=self._error(task, "TaskCancelled", reason or "cancelled"))
            elif task is not None and task.record.state is TaskState.RUNNING:
                task.set(cancel_requested=True)
                self._tell("cancel", task.record, message=reason)
        await anyio.lowlevel.checkpoint()
        return before

    async def reclaim(self, *, gone: Sequence[str] = ()) -> list[TaskRecord]:
        now, ended = self._clock.now(), frozenset(gone)
        running = [self._tasks[task_id] for task_id in self._running]
        expired = [task for task in running if task.record.worker in ended or (task.record.lease_until or now) <= now]
        for task in expired:
            how = "is gone" if task.record.worker in ended else "went silent"
            error = self._error(task, "LeaseExpired", f"worker {task.record.worker} {how}")
            self._back(task, counted=True, delay=0.0, error=error)
        taken = [task.record for task in expired]
        self._wake_up()
        await anyio.lowlevel.checkpoint()
        return taken

    async def describe(self, ids: Sequence[str]) -> list[TaskRecord | None]:
        await anyio.lowlevel.checkpoint()
        return [task.record if (task := self._tasks.get(task_id)) else None for task_id in ids]

    async def tasks(
        self,
        *,
        states: Sequence[TaskState] = (),
        queue: str | None = None,
        lane: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[TaskRecord]:
        await anyio.lowlevel.checkpoint()
        found = [
            task.record
            for task in sorted(self._tasks.values(), key=lambda task: -task.seq)
            if (not states or task.record.state in states)
            and (queue is None or task.record.message.queue == queue)
            and (lane is None or task.record.message.lane == lane)
        ]
        return found[offset : offset + limit]

    async def find(self, keys: Sequence[str]) -> dict[str, TaskRecord]:
        await anyio.lowlevel.checkpoint()
        return {key: self._tasks[self._keys[key]].record for key in keys if key in self._keys}

    async def replay(self, ids: Sequence[str]) -> list[str]:
        fresh = []
        for task_id in dict.fromkeys(ids):
            task = self._tasks.get(task_id)
            if task is None or not task.record.state.final or task.record.state is TaskState.SUCCEEDED:
                continue
            old = task.record.message
            if old.key is not None and self._keys.get(old.key) != task_id:
                continue
            if old.key is not None:
                del self._keys[old.key]
            message = msgspec.structs.replace(old, id=new_id(), delay=0.0)
            self._accept(message, encode(message))
            fresh.append(message.id)
        self._wake_up()
        await anyio.lowlevel.checkpoint()
        return fresh

    async def purge(self, *, states: Sequence[TaskState], older_than: float = 0.0) -> int:
        limit = self._clock.now() - older_than
        gone = [
            task
            for task in self._tasks.values()
            if task.record.state.final and task.record.state in states and (task.record.ended or 0.0) <= limit
        ]
        for task in gone:
            del self._tasks[task.record.id]
            key = task.record.message.key
            if key is not None and self._keys.get(key) == task.record.id:
                del self._keys[key]
        await anyio.lowlevel.checkpoint()
        return len(gone)

    async def depth(self) -> list[QueueDepth]:
        now = self._clock.now()
        counts: dict[str, list[float]] = {}
        for task in self._tasks.values():
            record = task.record
            if record.state.final:
                continue
            row = counts.setdefault(record.message.queue, [0, 0, 0, 0.0])
            if record.state is TaskState.RUNNING:
                row[2] += 1
            elif record.not_before > now:
                row[1] += 1
            else:
                row[0] += 1
                row[3] = max(row[3], now - record.not_before)
        await anyio.lowlevel.checkpoint()
        return [QueueDepth(name, int(q), int(d), int(r), age) for name, (q, d, r, age) in sorted(counts.items())]

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        send, receive = anyio.create_memory_object_stream[Notice](NOTICE_BUFFER)
        self._watchers[send] = None
        try:
            with receive:
                yield receive
        finally:
            del self._watchers[send]
            send.close()

    async def beat(self, heartbeat: Heartbeat, *, timeout: float) -> None:
        now = self._clock.now()
        self._beats[heartbeat.name] = (now + timeout, heartbeat)
        self._beats = {name: beat for name, beat in self._beats.items() if beat[0] >= now}
        await anyio.lowlevel.checkpoint()

    async def workers(self) -> list[Heartbeat]:
        await anyio.lowlevel.checkpoint()
        now = self._clock.now()
        return [beat for _, (until, beat) in sorted(self._beats.items()) if until >= now]

    async def lock(self, name: str, *, owner: str, ttl: float) -> bool:
        await anyio.lowlevel.checkpoint()
        holder, until = self._locks.get(name, (owner, 0.0))
        if holder != owner and until > self._clock.now():
            return False
        self._locks[name] = (owner, self._clock.now() + ttl)
        return True

    async def unlock(self, name: str, *, owner: str) -> None:
        await anyio.lowlevel.checkpoint()
        if self._locks.get(name, ("", 0.0))[0] == owner:
            del self._locks[name]

    async def book(
        self, name: str, *, rate: float, burst: float = 1.0, cost: float = 1.0, most: float | None = None
    ) -> float:
        bucket.check(rate, burst, cost)
        await anyio.lowlevel.checkpoint()
        booking = bucket.book(self._empty.get(name), self._clock.now(), rate=rate, burst=burst, cost=cost, most=most)
        if booking.holds:
            self._empty[name] = booking.empty
        return booking.wait

    async def now(self) -> float:
        await anyio.lowlevel.checkpoint()
        return self._clock.now()

    def _accept(self, message: Message, raw: bytes) -> bool:
        if message.id in self._tasks or (message.key is not None and message.key in self._keys):
            return False
        now = self._clock.now()
        self._seq += 1
        record = TaskRecord(decode(raw), TaskState.QUEUED, published=now, not_before=now + message.delay)
        deadline = None if message.deadline is None else now + message.deadline
        self._tasks[message.id] = task = Kept(record, raw, self._seq, deadline)
        if message.key is not None:
            self._keys[message.key] = message.id
        self._queue(task)
        return True

    def _queue(self, task: Kept) -> None:
        record = task.record
        if record.not_before > self._clock.now():
            heapq.heappush(self._delayed, (record.not_before, task.seq, record.id))
        else:
            self._lanes.setdefault(record.message.priority, Lanes()).push(task)

    def _waits(self, task_id: str, due: float) -> bool:
        """Whether a task still waits under the entry that was made when it was to be due at ``due``."""
        task = self._tasks.get(task_id)
        return task is not None and task.record.state is TaskState.QUEUED and task.record.not_before == due

    def _claim(
        self, queues: Sequence[str], worker: str, limit: int, lease: float, per_lane: int | None
    ) -> Iterator[Lease]:
        self._queue_due()
        for _ in range(limit):
            task = self._next(queues, per_lane)
            if task is None:
                return
            yield self._start(task, worker, lease)

    def _queue_due(self) -> None:
        now = self._clock.now()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, task_id = heapq.heappop(self._delayed)
            if self._waits(task_id, due):
                self._queue(self._tasks[task_id])

    def _next(self, queues: Sequence[str], per_lane: int | None) -> Kept | None:
        def full(seat: tuple[str, str]) -> bool:
            return per_lane is not None and self._busy[seat] >= per_lane

        for priority in sorted(self._lanes, reverse=True):
            task_id = self._lanes[priority].pop(queues, full, self._may_start)
            if not self._lanes[priority].turns:
                del self._lanes[priority]
            if task_id is not None:
                return self._tasks[task_id]
        return None

    def _may_start(self, task_id: str, due: float) -> bool:
        """Whether a task still waits. One that is too late goes to the dead letters, and takes no turn of its lane."""
        if not self._waits(task_id, due):
            return False
        task, now = self._tasks[task_id], self._clock.now()
        reason = too_late(task.record.attempt, task.record.message.max_attempts, task.deadline, now)
        if reason is not None:
            self._end(task, TaskState.DEAD, error=self._error(task, "TaskDead", reason))
        return reason is None

    def _start(self, task: Kept, worker: str, lease: float) -> Lease:
        record, now = task.record, self._clock.now()
        record = task.set(
            state=TaskState.RUNNING,
            token=record.token + 1,
            attempt=record.attempt + 1,
            worker=worker,
            started=now,
            lease_until=now + lease,
        )
        self._running[record.id] = None
        self._busy[seat_of(record)] += 1
        return Lease(decode(task.raw), record.token, worker, record.attempt)

    def _held(self, lease: Lease) -> Kept | None:
        task = self._tasks.get(lease.id)
        if task is None or task.record.state is not TaskState.RUNNING or task.record.token != lease.token:
            return None
        return task

    def _back(self, task: Kept, *, counted: bool, delay: float, error: ErrorRecord | None) -> None:
        record = task.record
        if error is not None:
            task.set(history=[*record.history, error])
        if record.cancel_requested:
            self._end(task, TaskState.CANCELLED, error=self._error(task, "TaskCancelled", "cancelled"))
        elif counted and record.attempt >= record.message.max_attempts:
            self._end(
                task, TaskState.DEAD, error=error or self._error(task, "TaskDead", used_up(record.message.max_attempts))
            )
        else:
            self._leave(record)
            task.set(
                state=TaskState.QUEUED,
                attempt=record.attempt if counted else record.attempt - 1,
                worker="",
                lease_until=None,
                not_before=self._clock.now() + delay if delay > 0 else record.not_before,
            )
            self._queue(task)
            self._tell("state", task.record)

    def _end(
        self, task: Kept, state: TaskState, *, result: bytes | None = None, error: ErrorRecord | None = None
    ) -> None:
        self._leave(task.record)
        task.set(state=state, ended=self._clock.now(), lease_until=None, result=result, error=error)
        self._tell("state", task.record)

    def _leave(self, record: TaskRecord) -> None:
        """It runs no more, if it did."""
        if record.id in self._running:
            del self._running[record.id]
            self._busy[seat_of(record)] -= 1
            if not self._busy[seat_of(record)]:
                del self._busy[seat_of(record)]

    @contextmanager
    def _waiting(self, capped: bool) -> Iterator[None]:
        self._capped += capped
        try:
            yield
        finally:
            self._capped -= capped

    def _tell(self, kind: str, record: TaskRecord, *, message: str = "") -> None:
        notice = Notice(
            kind, record.id, str(record.state), record.progress, message or record.progress_message, record.worker
        )
        for watcher in list(self._watchers):
            try:
                watcher.send_nowait(notice)
            except (anyio.WouldBlock, anyio.BrokenResourceError):
                continue  # a notice is a hint; the record has the truth

    def _error(self, task: Kept, kind: str, message: str) -> ErrorRecord:
        return ErrorRecord(kind, message, attempt=task.record.attempt, at=self._clock.now())

    def _wake_up(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()
