"""Periodic tasks: once in every period, whoever is up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from zoneinfo import ZoneInfo

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.message import Message, new_message
from gristmill.engine.schedule import KNOWN, MADE_UP, due, schedule
from gristmill.engine.task import Periodic
from gristmill.testing.clock import FakeClock
from gristmill.testing.flaky import FlakyBroker

pytestmark = pytest.mark.anyio

HOUR = 3_600.0
NOON = 1_800_000_000.0  # a multiple of an hour


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
async def broker(clock: FakeClock) -> AsyncIterator[MemoryBroker]:
    async with MemoryBroker(clock=clock) as broker:
        yield broker


async def pass_time(clock: FakeClock, seconds: float, *, schedulers: int = 1) -> None:
    await clock.waited_for(schedulers)
    clock.move(seconds)
    await anyio.wait_all_tasks_blocked()


def turn(periodic: Periodic, now: float) -> Message:
    message, _ = due(periodic, now)
    assert message is not None
    return message


@settings(deadline=None)
@given(st.floats(1, KNOWN), st.floats(0, 4e9))
def test_a_period_has_one_key_and_the_next_another(every: float, now: float) -> None:
    periodic = Periodic(new_message("sweep"), every)
    message, left = due(periodic, now)
    assert message is not None
    assert 0 <= left <= every * 1.001
    assert message.deadline == left
    assert turn(periodic, now + left * 0.5).key in (message.key, turn(periodic, now + left).key)
    assert turn(periodic, now + every * 1.001).key != message.key
    assert turn(periodic, now).id != message.id


def test_a_long_period_is_not_begun_again_when_its_task_may_be_forgotten() -> None:
    """A worker that starts in the middle of a week cannot know whether this week's task has run."""
    week = Periodic(new_message("report"), 7 * 24 * HOUR)
    monday = 3_000 * week.every
    assert turn(week, monday + KNOWN - 1).key == turn(week, monday).key
    assert due(week, monday + KNOWN + 1) == (None, week.every - KNOWN - 1)


def test_a_crontab_line_is_due_at_its_times_and_made_up_within_an_hour() -> None:
    nightly = Periodic(new_message("report"), cron="30 3 * * *", timezone="Europe/Berlin")
    night = datetime(2026, 7, 1, 3, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert turn(nightly, night).deadline == 24 * HOUR
    assert turn(nightly, night + MADE_UP).key == turn(nightly, night).key
    assert turn(nightly, night + 24 * HOUR).key != turn(nightly, night).key
    assert due(nightly, night + MADE_UP + 1) == (None, 24 * HOUR - MADE_UP - 1)


def test_the_same_task_with_other_arguments_is_another_and_the_same_in_every_process() -> None:
    one, two = new_message("sweep", "a"), new_message("sweep", "b")
    again = new_message("sweep", "a")
    keys = [turn(Periodic(message, HOUR), NOON).key for message in (one, two, again)]
    assert keys[0] == keys[2] != keys[1]


async def test_each_period_publishes_once_however_many_schedulers_there_are(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    periodics = [Periodic(new_message("sweep", lane="l"), HOUR), Periodic(new_message("reconcile"), HOUR / 2)]
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(lambda: schedule(broker, periodics, clock=clock))
        await pass_time(clock, HOUR / 2, schedulers=3)
        await pass_time(clock, HOUR / 2 - 1, schedulers=3)
        tasks = [record.message.task for record in await broker.tasks()]
        assert sorted(tasks) == ["reconcile"] * 2 + ["sweep"]
        await pass_time(clock, 1, schedulers=3)
        tasks = [record.message.task for record in await broker.tasks()]
        assert sorted(tasks) == ["reconcile"] * 3 + ["sweep"] * 2
        assert {record.message.lane for record in await broker.tasks() if record.message.task == "sweep"} == {"l"}
        group.cancel_scope.cancel()


async def test_a_broker_that_does_not_answer_is_asked_again_soon(broker: MemoryBroker, clock: FakeClock) -> None:
    flaky = FlakyBroker(broker)
    flaky.fail("publish", times=2)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: schedule(flaky.broker, [Periodic(new_message("sweep"), HOUR)], clock=clock))
        for expected in (0, 0, 1):
            await clock.waited_for()
            await anyio.wait_all_tasks_blocked()
            assert len(await broker.tasks()) == expected
            await pass_time(clock, 5)
        group.cancel_scope.cancel()


async def test_with_nothing_periodic_it_is_over_at_once(broker: MemoryBroker) -> None:
    await schedule(broker, [])
