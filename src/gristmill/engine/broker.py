"""The engine's only port: where messages wait, and who holds which task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import ClassVar, Self

import msgspec

from gristmill.engine.message import End, Heartbeat, Lease, Message, Notice, Progress, Release, TaskRecord
from gristmill.engine.state import TaskState


class QueueDepth(msgspec.Struct, frozen=True):
    """How much waits and runs in one queue. ``oldest`` is the age in seconds of the oldest task that could run now."""

    queue: str
    queued: int
    delayed: int
    running: int
    oldest: float


class Broker(ABC):
    """Keeps messages, leases, results. Every method is one atomic step, and every batch is one round trip.

    Delivery is at least once; each claim carries a fencing token, and whoever comes with an older token is refused, so
    effects that go through ``finish`` happen once. Only the broker's own clock decides whether a lease is over, and it is
    lost only when ``reclaim`` has taken it. Attempts are counted at the claim.

    All methods raise BrokerUnavailable when the broker cannot be reached, and EngineError when it can, but refuses what it
    was given (then nothing of the call has happened, and repeating does not help). All are cancellable; a cancelled call
    has happened wholly or not at all, and what a cancelled ``reserve`` had claimed goes back at once, uncounted.
    """

    backends: ClassVar[frozenset[str]] = frozenset({"asyncio", "trio"})

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Accept messages. False where the key (or id) is known already, in this batch too: that message is left out."""

    @abstractmethod
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
        """Claim up to ``limit`` tasks that are due, for ``lease`` seconds.

        Highest priority first; inside a priority, lanes take turns, a lane that is new or was empty behind those that
        wait; inside a lane, what has been due longest goes first. The queues have no order among each other: each is
        another set of lanes. With nothing due it waits, without polling delay, up to ``wait`` seconds (None: for ever, 0:
        not at all) and returns an empty list when that is over. A task whose deadline has passed goes to the dead letters
        instead. A lane of a queue of which ``per_lane`` tasks run already, whoever runs them and whatever their priority,
        keeps its turn and gives nothing until one of them ends or goes back.
        """

    @abstractmethod
    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        """Renew leases for ``lease`` seconds from now. Returns the ones that are lost; cancel requests are not losses."""

    @abstractmethod
    async def finish(self, ends: Sequence[End]) -> list[bool]:
        """State, result, acknowledgement and notice in one step. False where the lease was lost: nothing was written."""

    @abstractmethod
    async def release(self, releases: Sequence[Release]) -> list[bool]:
        """Give leases back. False where the lease was lost.

        Out of attempts means dead instead of queued, and cancelled where a cancel had been asked for. Errors are kept in
        the task's history.
        """

    @abstractmethod
    async def progress(self, updates: Sequence[Progress]) -> list[bool]:
        """Keep the latest progress and tell watchers. False where the lease was lost."""

    @abstractmethod
    async def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[TaskState | None]:
        """Queued tasks become cancelled now; running ones get a notice and a mark. Returns the states before the call."""

    @abstractmethod
    async def reclaim(self, *, gone: Sequence[str] = ()) -> list[TaskRecord]:
        """Take expired leases back, as a counted release without delay would. Returns what was taken back.

        So it does, at once, with what the workers of the names ``gone`` hold: the caller knows for certain that their
        processes have ended (a master has waited for them). A broker that knows that itself does so, too.
        """

    @abstractmethod
    async def describe(self, ids: Sequence[str]) -> list[TaskRecord | None]:
        """What is known of these tasks."""

    @abstractmethod
    async def tasks(
        self,
        *,
        states: Sequence[TaskState] = (),
        queue: str | None = None,
        lane: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[TaskRecord]:
        """Known tasks, newest first."""

    @abstractmethod
    async def find(self, keys: Sequence[str]) -> dict[str, TaskRecord]:
        """Known tasks by their keys."""

    @abstractmethod
    async def replay(self, ids: Sequence[str]) -> list[str]:
        """Queue failed, cancelled or dead tasks anew as new tasks with new ids. The old records stay as they are.

        Returns the new ids. A key moves to the new task; a task whose key has moved on is not replayed again.
        """

    @abstractmethod
    async def purge(self, *, states: Sequence[TaskState], older_than: float = 0.0) -> int:
        """Forget ended tasks that ended more than ``older_than`` seconds ago. Returns how many."""

    @abstractmethod
    async def depth(self) -> list[QueueDepth]:
        """What waits and runs, by queue."""

    @abstractmethod
    def notices(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """Notices from now on. Subscribed when the context is entered, so nothing after that is missed."""

    @abstractmethod
    async def beat(self, heartbeat: Heartbeat, *, timeout: float) -> None:
        """Keep a worker's sign of life for ``timeout`` seconds. For eyes only. With 0 it is the last: the worker leaves."""

    @abstractmethod
    async def workers(self) -> list[Heartbeat]:
        """The latest sign of life of every worker that is not silent for too long, by name."""

    @abstractmethod
    async def lock(self, name: str, *, owner: str, ttl: float) -> bool:
        """Take or renew a named lock for ``ttl`` seconds. False while another owner has it."""

    @abstractmethod
    async def unlock(self, name: str, *, owner: str) -> None:
        """Give the lock back if ``owner`` still has it."""

    @abstractmethod
    async def book(
        self, name: str, *, rate: float, burst: float = 1.0, cost: float = 1.0, most: float | None = None
    ) -> float:
        """Book ``cost`` tokens of the bucket of that name, and return in how many seconds they may be used (0: now).

        All workers share the bucket: it fills at ``rate`` tokens a second, up to ``burst``. Who comes first goes first.
        Would the wait be longer than ``most`` seconds, nothing is booked, and that wait is returned.
        """

    @abstractmethod
    async def now(self) -> float:
        """The broker's clock, seconds since the epoch."""
