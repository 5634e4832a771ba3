"""Who is killed how, in which order: all of it follows from the seed; whom it meets, from what runs at that moment."""

from __future__ import annotations

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
        self._met: set[psutil.Process] = set()  # a number may be another process's later

    async def strike(self, kill: Kill) -> None:
        """Return when as many were met as the stroke is for."""
        for _ in range(kill.count):
            await settles(lambda: self._hit(kill), timeout=120.0)

    def excused(self, since: float, until: float) -> bool:
        """Whether a task of that time may have met a process that was stopped for good."""
        return any(since - STOPPED < at < until for at in self.stops)

    def bury(self) -> None:
        """End what is still stopped: a nursery that was, before it could ask the kernel to end it with its parent."""
        for one in self._met:
            with suppress(psutil.NoSuchProcess):
                if one.status() == psutil.STATUS_STOPPED:
                    one.kill()

    def whole(self) -> bool:
        """Whether all workers are there and none of those that were struck is left."""
        workers = self._workers()
        return len(workers) == self._master.plan.workers and not self._met & set(workers)

    def _hit(self, kill: Kill) -> bool:
        assert self._master.process.poll() is None, f"the master is gone: {self._master.told()[-20:]}"
        victims = self._victims(kill.role)
        if not victims:
            return False
        role, victim = self._rng.choice(victims)
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(kill.number)
        self._met.add(victim)
        self.struck[f"{role} {kill.number.name}"] += 1
        if kill.number == signal.SIGSTOP:
            self.stops.append(time.monotonic())
        return True

    def _victims(self, role: Role) -> list[tuple[Role, psutil.Process]]:
        """Of that kind; where all of it are stopped, of any: nobody looks for a stopped nursery until it is needed."""
        keepers = [one for one in self._workers() if _below(one)]
        nurseries = [child for one in keepers for child in _below(one)]
        runners = [child for one in nurseries for child in _below(one)]
        all_of: dict[Role, list[psutil.Process]] = {"keeper": keepers, "nursery": nurseries, "runner": runners}
        found = [(name, one) for name, those in all_of.items() for one in those if one not in self._met]
        return [one for one in found if one[0] == role] or found

    def _workers(self) -> list[psutil.Process]:
        found = []
        for pid in self._master.workers():
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return sorted(process.children(), key=lambda one: one.pid)
    except psutil.NoSuchProcess:
        return []
