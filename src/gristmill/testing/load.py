"""Constant load on workers, and the account of it afterwards: what was lost, what was done twice, and when nothing moved."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import anyio
import msgspec
from anyio import to_thread

from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.testing import bodies
from gristmill.testing.masters import Master

LOOK_EVERY = 0.02  # seconds between looks for what has ended
READY, ENDED = "a worker is ready", "a worker has ended"  # what a master says
LIMITS = {"HardTimeLimitExceeded", "LoopBlocked"}  # how a task ends whose process was stopped for good


@dataclass
class Ledger:
    """What bodies wrote: by task, in order; times are of the monotonic clock."""

    begun: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))  # id -> attempt, nonce
    done: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    times: list[float] = field(default_factory=list)  # of the ends

    @classmethod
    def read(cls, path: Path) -> Ledger:
        found = cls()
        for line in path.read_text(encoding="utf-8").splitlines():
            what, task_id, attempt, nonce, at = line.split()
            (found.begun if what == "start" else found.done)[task_id].append((int(attempt), nonce))
            if what == "end":
                found.times.append(float(at))
        return found

    def longest_gap(self) -> float:
        """The longest time between two ends that follow each other, seconds."""
        return max((later - earlier for earlier, later in pairwise(sorted(self.times))), default=0.0)


class Load:
    """Keeps ``ahead`` tasks of ``seconds`` (from, to) unfinished until it is told to stop; then all have to end.

    Of the tasks, ``shared`` (0 to 1) are ``async def``. ``rng`` says how long each one takes.
    """

    def __init__(
        self,
        broker: Broker,
        ledger: Path,
        rng: Random,
        *,
        ahead: int = 40,
        seconds: tuple[float, float] = (0.005, 0.06),
        shared: float = 0.3,
    ) -> None:
        self.published: list[str] = []
        self.ended: dict[str, TaskRecord] = {}
        self.failures: dict[
            str, tuple[float, float]
        ] = {}  # of tasks that ended otherwise: since when, when it was seen
        self._broker, self._path, self._rng = broker, ledger, rng
        self._ahead, self._seconds, self._shared = ahead, seconds, shared
        self._open: dict[str, float] = {}  # id -> published at
        self._stopped = False
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Publish and look until ``stop``, and then until all have ended."""
        while self._open or not self._stopped:
            if not self._stopped:
                await self._publish(self._ahead - len(self._open))
            await anyio.sleep(LOOK_EVERY)
            await self._look()

    def stop(self) -> None:
        """Nothing new from now on."""
        self._stopped = True

    async def ends(self, more: int) -> None:
        """Return when so many more have ended."""
        target = len(self.ended) + more
        while len(self.ended) < target:
            await self._changed.wait()

    def ledger(self) -> Ledger:
        return Ledger.read(self._path)

    def wrong(self, excused: Callable[[float, float], bool] = lambda since, until: False) -> list[str]:
        """Everything that is not as it must be, after ``run``: each task ended, by a body that ran to its end, and no
        attempt was done twice. ``excused`` says whether a task of that time may have been ended by its time limit.
        """
        ledger = self.ledger()
        found = [f"LOST {one}" for one in self.published if one not in self.ended]
        for record in self.ended.values():
            found += self._ending(record, ledger, excused)
            done = Counter(attempt for attempt, _ in ledger.done[record.id])
            found += [
                f"DOUBLED {record.id}: attempt {number} done {times} times"
                for number, times in done.items()
                if times > 1
            ]
        found += [f"NOBODY'S {one}" for one in ledger.begun.keys() - set(self.published)]
        return found

    def _ending(self, record: TaskRecord, ledger: Ledger, excused: Callable[[float, float], bool]) -> Iterator[str]:
        if record.state is TaskState.SUCCEEDED:
            nonce = None if record.result is None else msgspec.json.decode(record.result)
            if (record.attempt, nonce) not in ledger.done[record.id]:
                yield f"WRONG RESULT {record.id}: {nonce} in attempt {record.attempt}, done were {ledger.done[record.id]}"
        elif record.error is None or record.error.type not in LIMITS or not excused(*self.failures[record.id]):
            yield f"WRONG END {record.id} is {record.state}: {record.error}"

    async def _publish(self, count: int) -> None:
        messages = [self._message() for _ in range(count)]
        if messages:
            now = time.monotonic()
            self.published += [message.id for message in messages]
            self._open.update(dict.fromkeys((message.id for message in messages), now))
            await self._broker.publish(messages)

    def _message(self) -> Message:
        body = bodies.works_async if self._rng.random() < self._shared else bodies.works
        return body.message(str(self._path), self._rng.uniform(*self._seconds))

    async def _look(self) -> None:
        for record in await self._broker.describe(list(self._open)):
            if record is not None and record.state.final:
                since = self._open.pop(record.id)
                self.ended[record.id] = record
                if record.state is not TaskState.SUCCEEDED:
                    self.failures[record.id] = since, time.monotonic()
                self._changed.set()
                self._changed = anyio.Event()


async def replace_all(master: Master) -> None:
    """Have the master replace its workers (SIGHUP); returns when all are others, and the old ones have ended."""
    ready, gone = (master.told().count(event) for event in (READY, ENDED))
    master.signal(signal.SIGHUP)
    workers = master.plan.workers
    await to_thread.run_sync(partial(master.said, READY, ready + workers))
    await to_thread.run_sync(partial(master.said, ENDED, gone + workers))
