"""Time as something that is passed in, so that tests can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """``now`` for what is stored and compared inside one store, ``monotonic`` for durations inside one process."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()  # noqa: TID251  the one home of the wall clock

    def monotonic(self) -> float:
        return time.monotonic()
