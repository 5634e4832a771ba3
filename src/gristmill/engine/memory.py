"""How much memory this process has, and a bound on what a body may add to it."""

from __future__ import annotations

import os
import resource
import time

from gristmill.base.errors import MemoryLimitExceeded

_PAGE = os.sysconf("SC_PAGE_SIZE")
_HARD = resource.getrlimit(resource.RLIMIT_AS)[1]
_UNBOUND = (_HARD, _HARD)  # made beforehand: lifting the bound must not need memory
LOOK_EVERY = 0.02  # seconds: what looking costs is more than the shortest tasks do
ROOM = 1024 * 1024  # bytes that a body over its limit still gets, to end with


def over_limit(limit: int) -> MemoryLimitExceeded:
    """The error of a body that was ended for its memory."""
    return MemoryLimitExceeded(f"the task used more than its memory limit of {limit} bytes")


def resident() -> int:
    """Resident bytes of this process now (0 where the system does not tell)."""
    return _sizes()[1]


def bound(limit: int | None) -> None:
    """Bound the address space to what is used now plus ``limit`` bytes; None lifts the bound."""
    if limit is None:
        resource.setrlimit(resource.RLIMIT_AS, _UNBOUND)
    else:
        _bound(_sizes()[0] + limit)


def _bound(wanted: int) -> None:
    soft = wanted if _HARD == resource.RLIM_INFINITY else min(wanted, _HARD)
    resource.setrlimit(resource.RLIMIT_AS, (soft, _HARD))


def _sizes() -> tuple[int, int]:
    """Bytes of address space and resident bytes."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            total, held = file.read(64).split()[:2]
    except OSError:
        return 0, 0
    return int(total) * _PAGE, int(held) * _PAGE


class Scale:
    """How large this process is, looked at only so often."""

    def __init__(self) -> None:
        self._looked = 0.0

    def resident(self, *, anew: bool) -> int:
        """Resident bytes now; 0 where that was looked at a moment ago and ``anew`` does not insist."""
        now = time.monotonic()
        if not anew and now - self._looked < LOOK_EVERY:
            return 0
        self._looked = now
        return resident()


class Share:
    """What one of many bodies on a loop has taken, counted step by step; a single step cannot take more than is left."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._before = 0

    @property
    def over(self) -> bool:
        return self.used > self.limit

    def begin(self) -> None:
        """A step of the body begins."""
        total, self._before = _sizes()
        if total:
            _bound(total + max(self.limit - self.used, 0) + ROOM)

    def end(self) -> None:
        """The step is over."""
        resource.setrlimit(resource.RLIMIT_AS, _UNBOUND)
        self.used = max(0, self.used + resident() - self._before)
