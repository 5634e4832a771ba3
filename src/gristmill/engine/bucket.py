"""Rates by name: the arithmetic of a token bucket that may go into debt, so that who comes first goes first."""

from __future__ import annotations

from typing import NamedTuple

from gristmill.base.errors import EngineError


class Booking(NamedTuple):
    """``wait`` seconds to go on after; the bucket is empty at the time ``empty`` then. Both only if it ``holds``."""

    empty: float
    wait: float
    holds: bool


def check(rate: float, burst: float, cost: float) -> None:
    """Raises EngineError for numbers that no bucket can have."""
    if not (rate > 0 and burst >= 0 and cost >= 0):
        raise EngineError(f"a rate limit needs rate > 0, burst >= 0, cost >= 0; got {rate}, {burst}, {cost}")


def book(empty: float | None, now: float, *, rate: float, burst: float, cost: float, most: float | None) -> Booking:
    """Take ``cost`` tokens out of a bucket that was empty at ``empty`` (None: nobody has taken any, it is full).

    A bucket fills at ``rate`` tokens a second up to ``burst``, so one number says how full it is at any time. In debt it
    is empty in the future, and that is how long the caller waits (the generic cell rate algorithm, ITU-T I.371).
    """
    full = now - burst / rate
    after = (full if empty is None else max(empty, full)) + cost / rate
    wait = max(0.0, after - now)
    return Booking(after, wait, most is None or wait <= most)
