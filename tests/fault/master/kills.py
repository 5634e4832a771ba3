"""Who is killed how, in which order: all of it follows from the seed; whom it meets, from what runs at that moment."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

import psutil

from gristmill.testing.masters import Master
from gristmill.testing.processes import settles

Role = Literal["keeper", "nursery", "runner"]
NUMBERS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP, signal.SIGABRT)
STOPPED = 30.0  # seconds for which a stop may be what a task's time limit ended; a safety


@dataclass(frozen=True)
class Kill:
    """One stroke: at how many processes of that kind at once, and how long until the next one, seconds."""

    role: Role
    number: signal.Signals
    count: int
    pause: float


def plan(seed: int, count: int) -> list[Kill]:
    """So many processes are to be struck."""
    rng, made, left = Random(seed), list[Kill](), count
    while left:
        several = min(left, rng.choice([1, 1, 1, 2]))
        made.append(Kill(rng.choice(get_args(Role)), rng.choice(NUMBERS), several, rng.uniform(0.0, 0.3)))
        left -= several
    return made


class Hunter:
    """Strikes the processes below one master."""

    def __init__(self, master: Master, rng: Random) -> None:
        self.struck: Counter[str] = Counter()
        self.stops: list[float] = []  # when
        self._master, self._rng = master, rng
        self._met: set[int] = set()

    async def strike(self, kill: Kill) -> None:
        """Return when as many were met as the stroke is for."""
        for _ in range(kill.count):
            await settles(lambda: self._hit(kill), timeout=120.0)

    def excused(self, since: float, until: float) -> bool:
        """Whether a task of that time may have met a process that was stopped for good."""
        return any(since - STOPPED < at < until for at in self.stops)

    def bury(self) -> None:
        """End what is still stopped: a nursery that was, before it could ask the kernel to end it with its parent."""
        for pid in self._met:
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                    os.kill(pid, signal.SIGKILL)

    def whole(self) -> bool:
        """Whether all workers are there and none of those that were struck is left."""
        workers = self._master.workers()
        return len(workers) == self._master.plan.workers and not self._met & set(workers)

    def _hit(self, kill: Kill) -> bool:
        assert self._master.process.poll() is None, f"the master is gone: {self._master.told()[-20:]}"
        victims = self._victims(kill.role)
        if not victims:
            return False
        role, pid = self._rng.choice(victims)
        with suppress(ProcessLookupError):
            os.kill(pid, kill.number)
        self._met.add(pid)
        self.struck[f"{role} {kill.number.name}"] += 1
        if kill.number == signal.SIGSTOP:
            self.stops.append(time.monotonic())
        return True

    def _victims(self, role: Role) -> list[tuple[Role, int]]:
        """Of that kind; where all of it are stopped, of any: nobody looks for a stopped nursery until it is needed."""
        keepers = [pid for pid in self._master.workers() if _below(pid)]
        nurseries = [pid for keeper in keepers for pid in _below(keeper)]
        runners = [pid for nursery in nurseries for pid in _below(nursery)]
        all_of: dict[Role, list[int]] = {"keeper": keepers, "nursery": nurseries, "runner": runners}
        found: list[tuple[Role, int]] = [
            (one, pid) for one, pids in all_of.items() for pid in sorted(pids) if pid not in self._met
        ]
        return [one for one in found if one[0] == role] or found


def _below(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []
