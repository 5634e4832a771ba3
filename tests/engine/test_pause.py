"""Waiting by a clock: the machine's, or a test's."""

from __future__ import annotations

import anyio
import pytest

from gristmill.base.clock import SystemClock
from gristmill.engine import pause
from gristmill.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


async def test_a_sleep_ends_when_the_clock_was_moved_far_enough() -> None:
    clock, ended = FakeClock(), []

    async def sleep(seconds: float) -> None:
        await pause.sleep(clock, seconds)
        ended.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (10.0, 5.0):
            group.start_soon(sleep, seconds)
        await clock.waited_for(2)
        for moved, expected in [(0.0, []), (4.9, []), (0.1, [5.0]), (5.0, [5.0, 10.0])]:
            clock.move(moved)
            await anyio.wait_all_tasks_blocked()
            assert ended == expected


async def test_no_time_is_over_at_once() -> None:
    await pause.sleep(FakeClock(), 0.0)
    await pause.sleep(FakeClock(), -1.0)


async def test_a_limit_ends_the_block_only_when_time_is_over() -> None:
    clock = FakeClock()
    with pause.limit(clock, 5.0):
        clock.move(4.0)
        await anyio.lowlevel.checkpoint()
        left = "by itself"
    assert left == "by itself"
    clock.move(99.0)  # nobody waits any more
    await anyio.lowlevel.checkpoint()
    with pause.limit(clock, 5.0):
        clock.move(5.0)
        await anyio.sleep_forever()


@pytest.mark.parametrize("clock", [FakeClock(), SystemClock()])
async def test_without_seconds_there_is_no_limit(clock: FakeClock | SystemClock) -> None:
    with pause.limit(clock, None):
        await anyio.lowlevel.checkpoint()
        return
    raise AssertionError("the block was left")


async def test_the_machines_clock_waits_in_real_time() -> None:
    with anyio.fail_after(30):
        await pause.sleep(SystemClock(), 0.001)
        with pause.limit(SystemClock(), 0.001):
            await anyio.sleep_forever()
