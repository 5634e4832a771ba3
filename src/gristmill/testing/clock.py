"""A clock that a test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio


class FakeClock:
    """Time that only moves when somebody waits or says so. Safe for several threads.

    Whoever waits by this clock (``gristmill.engine.pause``) is woken by ``move``; then it has to be called in the thread
    of their event loop.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._alarms: dict[int, tuple[float, Callable[[], None]]] = {}
        self._number = 0
        self._set = anyio.Event()
        self.waits: list[float] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def move(self, seconds: float) -> None:
        """Let time pass, and wake who waited for it."""
        with self._lock:
            self._now += seconds
            due = [number for number, (at, _) in self._alarms.items() if at <= self._now]
            rings = [self._alarms.pop(number)[1] for number in due]
        for ring in rings:
            ring()

    def pause(self, seconds: float) -> None:
        """In the place of a sleep: time passes at once, and the wait is noted."""
        with self._lock:
            self._now += seconds
            self.waits.append(seconds)

    def alarm(self, seconds: float, ring: Callable[[], None]) -> Callable[[], None]:
        """Call ``ring`` when the clock has been moved by ``seconds``. Returns what takes the alarm back."""
        with self._lock:
            number = self._number = self._number + 1
            self._alarms[number] = (self._now + seconds, ring)
        if seconds <= 0:
            self.move(0.0)
        self._set.set()
        self._set = anyio.Event()
        return lambda: self._off(number)

    async def waited_for(self, count: int = 1) -> None:
        """Return once ``count`` alarms are set: that many wait for this clock to be moved."""
        while len(self._alarms) < count:
            await self._set.wait()

    def _off(self, number: int) -> None:
        with self._lock:
            self._alarms.pop(number, None)
