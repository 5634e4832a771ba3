"""The machine's clock, and the one that tests move."""

from __future__ import annotations

import time

from gristmill.base.clock import Clock, SystemClock
from gristmill.testing.clock import FakeClock


def test_the_systems_clock_tells_the_machines_time() -> None:
    clock = SystemClock()
    before, first = time.time_ns() / 1e9, clock.monotonic()
    assert before <= clock.now() <= time.time_ns() / 1e9
    assert first <= clock.monotonic()


def test_both_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), FakeClock()]
    assert all(isinstance(clock.now(), float) and isinstance(clock.monotonic(), float) for clock in clocks)
