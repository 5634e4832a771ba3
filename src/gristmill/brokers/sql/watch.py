"""Seeing what other processes do, by a look at one counter: in a thread of its own, only while somebody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio import to_thread

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger

log = get_logger(__name__)

BUSY_LOOK, IDLE_LOOK = 0.005, 0.2  # seconds between looks: a fifth of the time since the last change, within these
PAUSE = 1.0  # seconds after a look that failed


class Watch:
    """Calls ``changed`` whenever ``counter`` gives another number than before.

    The thread sleeps between looks and comes back to the event loop only with news, so that an idle process costs a few
    hundred microseconds a second.
    """

    def __init__(self, counter: Callable[[], int], changed: Callable[[], None]) -> None:
        self._counter = counter
        self._changed = changed
        self._stop = threading.Event()
        self._thread = anyio.CapacityLimiter(1)
        self._waiting = 0
        self._awaited = anyio.Event()

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Somebody waits for what others do."""
        self._waiting += 1
        self._awaited.set()
        try:
            yield
        finally:
            self._waiting -= 1

    def stop(self) -> None:
        """End the thread. ``run`` does not outlive a cancellation by more than this."""
        self._stop.set()

    async def run(self) -> None:
        seen = -1
        while True:
            if not self._waiting:
                self._awaited = anyio.Event()
                await self._awaited.wait()
            try:
                found = await to_thread.run_sync(self._next, seen, limiter=self._thread)
            except BrokerUnavailable as exc:
                log.warning("changes of other processes cannot be seen", error=str(exc))
                await anyio.sleep(PAUSE)
                continue
            if found != seen:
                seen = found
                self._changed()

    def _next(self, seen: int) -> int:
        """In the thread: the number that is not ``seen``; or ``seen`` when nobody waits any more."""
        quiet = 0.0
        while self._waiting:
            pause = min(max(BUSY_LOOK, quiet / 5), IDLE_LOOK)
            if self._stop.wait(pause):
                break
            found = self._counter()
            if found != seen:
                return found
            quiet += pause
        return seen
