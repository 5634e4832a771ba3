"""How fast and how stubbornly an endpoint is asked."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

from gristmill.base.clock import Clock
from gristmill.base.errors import ModelUnavailable

FIRST_DELAY = 0.5  # seconds
LONGEST_DELAY = 30.0
LONGEST_ASKED = 3_600.0  # what an endpoint asks for beyond this is taken as this


class Throttle:
    """How many requests may be in flight: half as many when the endpoint says "too many", slowly more while all is well.

    A pause that the endpoint asks for holds for every request, not only for the one that was told.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self.limit = float(most)
        self._most = most
        self._clock = clock
        self._in_flight = 0
        self._lowered = -1.0  # when `limit` was last lowered
        self._resume = 0.0  # when the pause that was asked for ends
        self._changed = threading.Condition()

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Waits for room; gives the moment at which the request begins."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight < int(self.limit))
            self._in_flight += 1
        try:
            yield self._clock.monotonic()
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def pause(self) -> float:
        """Seconds until the endpoint wants to be asked again."""
        return max(0.0, self._resume - self._clock.monotonic())

    def succeeded(self) -> None:
        """One more request in flight for each round of requests that all went well."""
        with self._changed:
            self.limit = min(float(self._most), self.limit + 1 / self.limit)
            self._changed.notify_all()

    def throttled(self, *, began: float, asked: float | None) -> None:
        """Half as many, once for all requests that were in flight together: ``began`` is when this one was sent."""
        with self._changed:
            now = self._clock.monotonic()
            if began >= self._lowered:
                self.limit = max(1.0, self.limit / 2)
                self._lowered = now
            if asked:
                self._resume = max(self._resume, now + asked)


class Breaker:
    """After ``failures`` in a row the endpoint is left alone for ``rest`` seconds; then one request tries it."""

    def __init__(self, *, failures: int, rest: float, clock: Clock) -> None:
        self._most = failures
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._reason = ""
        self._until = 0.0
        self._lock = threading.Lock()

    def check(self, endpoint: str) -> None:
        """Raises ModelUnavailable while the endpoint is left alone."""
        with self._lock:
            left = self._until - self._clock.monotonic()
            if self._failures < self._most:
                return
            if left > 0:
                raise ModelUnavailable(
                    f"{endpoint} failed {self._failures} times in a row and is left alone for {left:.0f} s more;"
                    f" the last time: {self._reason}",
                    retry_after=left,
                )
            self._until = self._clock.monotonic() + self._rest  # this caller tries; the others wait for what it finds

    def failed(self, reason: str) -> None:
        with self._lock:
            self._reason = reason
            self._failures += 1
            if self._failures >= self._most:
                self._until = self._clock.monotonic() + self._rest

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0


def backoff(attempt: int, asked: float | None) -> float:
    """Seconds before the next attempt (``attempt`` counts from 0): doubling, spread at random, never less than asked."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2**attempt)
    delay = random.uniform(longest / 2, longest)  # noqa: S311  spreads load, guards nothing
    return max(delay, asked or 0.0)


def retry_after(value: str | None, clock: Clock) -> float | None:
    """What a Retry-After header asks for, in seconds: a number or a date (RFC 9110, 10.2.3). None where it says nothing."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - clock.now()
        except ValueError:
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), LONGEST_ASKED)
