"""A runner dies: who is to blame, and whose attempt it costs."""

from __future__ import annotations

import mmap
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from gristmill.engine.async_runner import STEP_TABLE
from gristmill.engine.children import Attempt, Runner
from gristmill.engine.message import new_message
from gristmill.engine.outcome import Outcome, stopped
from gristmill.engine.task import Policy
from gristmill.engine.wire import Channel, Work

KILLED = int(signal.SIGKILL)  # as waitpid tells it


@pytest.fixture
def runner() -> Iterator[Runner]:
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(mmap.mmap(-1, STEP_TABLE)) as table:
        yield Runner(1, True, Channel(ours), table)


def job(runner: Runner, slot: int, *, verdict: Outcome | None = None) -> Attempt:
    message = new_message("body")
    runner.jobs[message.id] = Attempt(
        Work(message, 1, slot, None), Policy("body", is_async=True), runner, verdict=verdict
    )
    return runner.jobs[message.id]


def steps(runner: Runner, slot: int) -> None:
    runner.table[:] = slot.to_bytes(STEP_TABLE, sys.byteorder)


def blamed(one: Attempt) -> bool:
    """Whether the death is this task's error; if not, it is begun again, uncounted."""
    assert one.over.is_set()
    return one.outcome is not None and one.outcome.error is not None and one.outcome.error.type == "RunnerCrashed"


def test_who_kills_the_runner_is_to_blame_though_another_is_just_being_cancelled(runner: Runner) -> None:
    poison, neighbour = job(runner, 7), job(runner, 8)
    cancelled = job(runner, 9, verdict=stopped("cancel"))
    steps(runner, 7)
    runner.killed = True  # the end of its socket was seen before its death, and it was killed to make sure
    runner.died(KILLED)
    assert blamed(poison)
    assert neighbour.outcome is None
    assert cancelled.outcome == stopped("cancel")


def test_who_was_judged_is_to_blame_when_the_runner_was_ended_for_it(runner: Runner) -> None:
    neighbour, bad = job(runner, 7), job(runner, 9, verdict=stopped("cancel"))
    steps(runner, 7)
    runner.killed = runner.sentenced = True
    runner.died(KILLED)
    assert neighbour.outcome is None
    assert bad.outcome == stopped("cancel")


def test_nobody_in_particular_means_all(runner: Runner) -> None:
    one, other = job(runner, 7), job(runner, 8)
    cancelled = job(runner, 9, verdict=stopped("cancel"))
    runner.died(KILLED)
    assert blamed(one)
    assert blamed(other)
    assert cancelled.outcome == stopped("cancel")


def test_who_ends_the_runner_itself_is_to_blame_though_it_was_about_to_be_killed_for_another(runner: Runner) -> None:
    poison, cancelled = job(runner, 7), job(runner, 9, verdict=stopped("cancel"))
    steps(runner, 7)
    runner.killed = runner.sentenced = True
    runner.died(3 << 8)  # its own exit code
    assert blamed(poison)
    assert cancelled.outcome == stopped("cancel")
