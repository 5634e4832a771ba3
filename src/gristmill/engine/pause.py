"""Waiting by a clock: in real time, unless the clock is one that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import anyio

from gristmill.base.clock import Clock


@runtime_checkable
class AlarmClock(Protocol):
    """A clock whose time is not the machine's, and that says when a moment has come."""

    def alarm(self, seconds: float, ring: Callable[[], None]) -> Callable[[], None]:
        """Call ``ring`` once ``seconds`` have passed. Returns what takes the alarm back."""
        ...


@contextmanager
def limit(clock: Clock, seconds: float | None) -> Iterator[None]:
    """Leave the block after ``seconds`` on this clock; None: let it take its time."""
    if seconds is None or not isinstance(clock, AlarmClock):
        with anyio.move_on_after(seconds):
            yield
        return
    with anyio.CancelScope() as scope:
        off = clock.alarm(seconds, scope.cancel)
        try:
            yield
        finally:
            off()


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait until ``seconds`` have passed on this clock."""
    with limit(clock, seconds):
        await anyio.sleep_forever()
