"""The workers of a theatre: processes that are started, struck, and replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from fault.engine.host import Start, set_offset
from fault.engine.ledger import ROOM, WORKER

PATIENCE = 60.0  # seconds for a process to come up or go; a safety


@dataclass
class Actor:
    """One worker process. ``place`` stays when it is replaced."""

    name: str
    place: int
    clock: Path
    process: subprocess.Popen[bytes]
    log: Path
    doomed: bool = False  # we ended it
    stopped: bool = False
    idle: int = 0  # rounds since it took a task
    since: float = field(default_factory=time.monotonic)
    hits: list[str] = field(default_factory=list)  # what this round did to it

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.doomed = True
        self.process.kill()

    def drain(self) -> None:
        self.doomed = True
        self.process.send_signal(signal.SIGTERM)

    def family(self) -> list[int]:
        """The keeper, its nursery, its runners."""
        try:
            keeper = psutil.Process(self.process.pid)
            return [keeper.pid, *(one.pid for one in keeper.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def nursery(self) -> int | None:
        return next(iter(self.family()[1:]), None)

    def stop(self, *, whole: bool) -> None:
        """SIGSTOP; ``whole``: its runners, too."""
        self.stopped = True
        _signal(self.family() if whole else [self.process.pid], signal.SIGSTOP)

    def go_on(self) -> None:
        if self.stopped:
            _signal(reversed(self.family()), signal.SIGCONT)
            self.stopped = False

    def words(self) -> str:
        """The end of what it said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""


def start(name: str, place: int, room: Path, told: Start) -> Actor:
    """Start a worker; the ledger says when it is up."""
    clock = room / f"clock-{name}"
    set_offset(clock, 0.0)
    here = Path(__file__).parents[2]
    paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]  # noqa: TID251  passed on
    environ = {**os.environ, ROOM: str(room), WORKER: name, "PYTHONPATH": os.pathsep.join(paths)}  # noqa: TID251
    told = msgspec.structs.replace(told, clock=told.clock or str(clock))
    log = room / f"log-{name}"
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "fault.engine.host", msgspec.json.encode(told).decode()],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
        )
    return Actor(name, place, Path(told.clock), process, log)


def _signal(pids: list[int] | Iterator[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
