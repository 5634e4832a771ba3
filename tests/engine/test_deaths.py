"""A runner dies: who is to blame, and whose attempt it costs."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from gristmill.base.errors import EngineError
from gristmill.engine import children, isolate
from gristmill.engine.async_runner import STEP_TABLE
from gristmill.engine.broker import Broker
from gristmill.engine.children import STARTS, Attempt, Runner
from gristmill.engine.message import new_message
from gristmill.engine.outcome import Outcome, stopped
from gristmill.engine.task import Policy
from gristmill.engine.wire import Channel, Work
from gristmill.testing import bodies
from gristmill.testing.processes import alive, settles
from gristmill.testing.workers import again, ends, run, said, working

KILLED = int(signal.SIGKILL)  # as waitpid tells it


@pytest.fixture
def runner() -> Iterator[Runner]:
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(mmap.mmap(-1, STEP_TABLE)) as table:
        yield Runner(1, True, Channel(ours), table, -1)


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


FRAIL = """
import os, pathlib, signal
from gristmill.engine.task import App

app = App("frail")
starts = pathlib.Path(__file__).with_suffix(".starts")
with starts.open("a") as file:
    file.write("x")
if len(starts.read_text()) <= {deaths}:
    os.kill(os.getpid(), signal.SIGKILL)

@app.task(name="body")
def body() -> int:
    return 7
"""


@pytest.fixture
def frail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int) -> str:
    """An app during whose first imports its process is killed."""
    (tmp_path / f"frail{deaths}.py").write_text(FRAIL.format(deaths=deaths), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return f"frail{deaths}:app"


@pytest.mark.anyio
@pytest.mark.parametrize("deaths", [STARTS - 1])
async def test_a_nursery_that_is_killed_while_it_starts_is_started_again(memory_broker: Broker, frail: str) -> None:
    async with working(memory_broker, frail):
        assert (await run(memory_broker, new_message("body"))).result == b"7"


@pytest.mark.anyio
@pytest.mark.parametrize("deaths", [STARTS])
async def test_an_app_whose_process_never_survives_its_import_is_an_error(memory_broker: Broker, frail: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(EngineError, match="ended while it was starting"), flatten_subgroups=True):
        async with working(memory_broker, frail):
            pass


def the_nursery() -> psutil.Process:
    """The only nursery among our children; servers of other tests may be there, too."""
    [nursery] = [child for child in psutil.Process().children() if "gristmill.engine.nursery" in child.cmdline()]
    return nursery


def stop_nursery() -> None:
    the_nursery().send_signal(signal.SIGSTOP)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "OWED", 0.2)
    monkeypatch.setattr(isolate, "BOOT_AGAIN", 3.0)
    monkeypatch.setattr(isolate, "BOOT_LEAST", 0.5)


@pytest.mark.anyio
@pytest.mark.usefixtures("impatient")
async def test_a_nursery_that_is_stopped_when_a_runner_is_needed_is_replaced(memory_broker: Broker) -> None:
    """A task for which there is no runner yet loses no attempt, and its time limit does not begin."""
    async with working(memory_broker, slots=1):
        assert (await run(memory_broker, bodies.add.message(1, 2))).result == b"3"
        stop_nursery()
        record = await run(memory_broker, bodies.works_async.message(os.devnull, 0.0))
        assert record.result


@pytest.mark.anyio
@pytest.mark.usefixtures("impatient")
async def test_a_runner_whose_death_a_stopped_nursery_does_not_tell_is_given_up(memory_broker: Broker) -> None:
    async with working(memory_broker, slots=1):
        pid = int((await run(memory_broker, bodies.whoami.message())).result or b"0")
        message = bodies.waits.message()
        await memory_broker.publish([message])
        await said(memory_broker, message)
        stop_nursery()
        os.kill(pid, signal.SIGKILL)
        await again(memory_broker, message)
        await memory_broker.cancel([message.id])
        await ends(memory_broker, [message])


HANGS_LATER = FRAIL.replace("<= {deaths}", "== 2").replace("SIGKILL", "SIGSTOP")


@pytest.mark.anyio
@pytest.mark.usefixtures("impatient")
async def test_a_nursery_that_is_stopped_while_it_loads_the_app_anew_is_replaced(
    memory_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hangs_later.py").write_text(HANGS_LATER.format(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    async with working(memory_broker, "hangs_later:app"):
        await run(memory_broker, new_message("body"))
        nursery = the_nursery()
        runners = [runner.pid for runner in nursery.children()]
        nursery.kill()
        await settles(lambda: not any(map(alive, runners)))  # or one of them is still quick enough
        assert (await run(memory_broker, new_message("body"))).result == b"7"
    assert (tmp_path / "hangs_later.starts").read_text() >= "xxx"
