"""Every cell of the signal table, with real processes and signals: what happens, exit codes, and no task lost or doubled."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
from anyio import to_thread

from gristmill.engine.message import Message
from gristmill.testing.hang import HANG, SAID
from gristmill.testing.masters import Master
from gristmill.testing.processes import alive, children, settles
from gristmill.testing.signals import BUSY, DRAINING, HUNG, IDLE, STATES, Cell, Fate, cells
from gristmill.testing.workers import ends
from system.stage import Stage

pytestmark = pytest.mark.anyio
anyio_backend = pytest.fixture(lambda: "asyncio")

TABLE = list(cells())
MASTERS = [cell for cell in TABLE if cell.to == "master"]
SCALES = ("TTIN", "TTOU")
TWINS = ("QUIT", "SEGV", "ABRT", "USR2", "INT twice")  # of TERM, KILL, HUP and INT
LATE = "stopping: this signal does nothing now"
WITNESSED = {"USR1": "memory snapshot written", "USR2": "tracemalloc stopped"}
ENDING = [(names, state) for names in [("TERM", "INT", "KILL"), ("QUIT", "ABRT", "SEGV")] for state in STATES]

OUTCOMES = {  # attempt, begins, ends
    Fate.END: [(1, 1, 1)],
    Fate.BACK: [(1, 2, 1)],
    Fate.COUNTED: [(2, 2, 1)],
    Fate.EITHER: [(1, 2, 1), (2, 2, 1)],
    Fate.LEASE: [(2, 2, 1)],
    Fate.UNTOUCHED: [(1, 1, 1)],
}


def often(name: str, state: str) -> bool:
    """Whether it is for every run; the others, whose twins are, are for ``make fault``."""
    return state == BUSY or not (name in TWINS or (state == IDLE and name != "TERM"))


def each(chosen: Sequence[Cell]) -> list[object]:
    """As parameters."""
    faults = [[] if often(cell.signal, cell.state) else [pytest.mark.fault] for cell in chosen]
    return [pytest.param(cell, id=str(cell), marks=marks) for cell, marks in zip(chosen, faults, strict=True)]


async def right(stage: Stage, cell: Cell, message: Message) -> None:
    state, *found = await stage.told(message)
    assert (state, tuple(found) in OUTCOMES[cell.row.fate]) == ("succeeded", True), (str(cell), found)


async def dead(*pids: int) -> None:
    """Once none of these is there any more."""
    await settles(lambda: not any(map(alive, pids)))


async def prepared(master: Master, stage: Stage, state: str) -> list[Message]:
    """A master of one worker in this state, and the task that it runs."""
    await to_thread.run_sync(master.ready)
    running = await stage.begun() if state != IDLE else []
    if state == HUNG:
        os.kill(master.workers()[0], HANG)
        await to_thread.run_sync(master.said, SAID)
    if state == DRAINING:
        master.signal(signal.SIGTERM)
        await to_thread.run_sync(master.said, "draining: no new work")
    return running


def master_for(url: str, cell: Cell) -> Master:
    """Who waits long where waiting is right, and not where a hung one has to go. No lease expires by itself."""
    return Master(
        url,
        workers=1,
        slots=1,
        grace=0.2 if cell.state == HUNG else 30.0,
        lease=1.0 if cell.row.fate is Fate.LEASE else 600.0,
        hooks="gristmill.testing.hang",
    )


def test_the_table_has_every_signal_in_every_state_once() -> None:
    common = ("TERM", "QUIT", "INT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "CHLD", "ABRT", "SEGV", "KILL")
    wanted = {*product(common, ("master", "worker"), STATES), *product(["INT twice"], ["master"], STATES)}
    assert sorted(wanted) == sorted((cell.signal, cell.to, cell.state) for cell in TABLE)


@pytest.mark.parametrize("cell", each([cell for cell in MASTERS if cell.code is not None]))
async def test_what_ends_a_master(url: str, stage: Stage, cell: Cell) -> None:
    with master_for(url, cell) as master:
        running = await prepared(master, stage, cell.state)
        [worker] = master.workers()
        family = children(worker)
        for number in cell.numbers:
            master.signal(number)
            if number == signal.SIGINT:
                await to_thread.run_sync(lambda: master.said("stopping", how="quick"))
        if cell.row.fate is Fate.END and running:
            died = cell.code != 0
            await to_thread.run_sync(master.said, "the master is gone: draining" if died else "draining: no new work")
            stage.open()
        if cell.row.fate is Fate.LEASE:
            await to_thread.run_sync(master.wait)
            assert alive(worker)
            os.kill(worker, signal.SIGKILL)
        assert await to_thread.run_sync(master.wait) == cell.code
        await dead(worker, *family)
        assert (await stage.states(running) == [("succeeded", 1)] * len(running)) == (
            cell.row.fate is Fate.END or not running
        )
        await stage.rest(running)
        for message in running:
            await right(stage, cell, message)
        if cell.state == HUNG and cell.row.fate is Fate.COUNTED and cell.signal != "INT twice":
            assert any(event.startswith(("Current thread", "Thread")) for event in master.told())


@pytest.mark.parametrize(
    "cell", each([one for one in MASTERS if one.signal in ("HUP", "USR2") and one.state != DRAINING])
)
async def test_what_replaces_workers(url: str, stage: Stage, cell: Cell) -> None:
    """And what is published afterwards is taken by the new one."""
    with master_for(url, cell) as master:
        running = await prepared(master, stage, cell.state)
        [before] = master.workers()
        family = children(before)
        master.signal(cell.numbers[0])
        await to_thread.run_sync(master.said, "a worker is ready", 2)
        if cell.row.fate is Fate.COUNTED:
            await settles(lambda: len(stage.lines("start")) == 2)
            await dead(*family)
        elif running:
            await to_thread.run_sync(master.said, "draining: no new work")
        stage.open()
        await settles(lambda: len(master.workers()) == 1 and not alive(before))
        await ends(stage.broker, [*running, *await stage.begun()])
        for message in running:
            await right(stage, cell, message)


@pytest.mark.parametrize("state", [pytest.param(IDLE, marks=pytest.mark.fault), BUSY, HUNG])
async def test_what_scales(url: str, stage: Stage, state: str) -> None:
    """One more; one less, and that is the oldest."""
    more, less = [cell for name in SCALES for cell in MASTERS if (cell.signal, cell.state) == (name, state)]
    with master_for(url, less) as master:
        running = await prepared(master, stage, state)
        [oldest] = master.workers()
        family = children(oldest)
        master.signal(more.numbers[0])
        await to_thread.run_sync(master.said, "a worker is ready", 2)
        assert len(stage.lines("start")) == len(running)
        master.signal(less.numbers[0])
        if less.row.fate is Fate.COUNTED:
            await settles(lambda: len(stage.lines("start")) == 2)
            await dead(*family)
        else:
            await to_thread.run_sync(master.said, "draining: no new work")
        stage.open()
        await ends(stage.broker, running)
        await settles(lambda: oldest not in master.workers())  # it is among them until the master has heard of its end
        [left] = master.workers()
        for message in running:
            await right(stage, less, message)
        master.signal(less.numbers[0])  # never less than one
        await to_thread.run_sync(master.said, "one worker less", 2)
        assert master.workers() == [left]


async def test_what_does_nothing_to_a_draining_master(url: str, stage: Stage) -> None:
    chosen = [one for one in MASTERS if one.state == DRAINING and one.code is None]
    with master_for(url, chosen[0]) as master:
        running = await prepared(master, stage, DRAINING)
        for cell in chosen:
            master.signal(cell.numbers[0])
            if cell.signal == "USR1":
                await to_thread.run_sync(master.said, "log files reopened")
            elif cell.signal != "CHLD":
                await to_thread.run_sync(lambda name=cell.signal: master.said(LATE, signal=name))  # type: ignore[misc]
        assert len(master.started()) == 1
        stage.open()
        assert await to_thread.run_sync(master.wait) == 0
        for cell in chosen:
            await right(stage, cell, running[0])


class Crew:
    """A master with a worker for each signal that ends one, and a witness that gets all the others."""

    def __init__(self, master: Master, state: str, names: Sequence[str]) -> None:
        self.master, self.state = master, state
        mine = [cell for cell in TABLE if cell.to == "worker" and cell.state == state]
        self._ending = [cell for cell in mine if cell.signal in names]
        self.others = [cell for cell in mine if cell.code is None]
        self.messages: dict[int, Message] = {}

    async def ready(self, stage: Stage) -> None:
        """All are in that state; each has one task, unless they are idle."""
        await to_thread.run_sync(self.master.ready)
        lines = [line for line in self.master.log if line["event"] == "a worker is ready"]
        names = {line["worker"]: line["worker_pid"] for line in lines}
        *pids, self.witness = names.values()
        self.cells = dict(zip(pids, self._ending, strict=True))
        for message in await stage.begun(len(names)) if self.state != IDLE else []:
            [record] = await stage.broker.describe([message.id])
            assert record is not None
            assert record.worker is not None
            self.messages[names[record.worker]] = message
        number, said = {HUNG: (HANG, SAID), DRAINING: (signal.SIGTERM, "a worker drains")}.get(self.state, (0, ""))
        for pid in names.values() if said else ():
            os.kill(pid, number)
        if said:
            await to_thread.run_sync(self.master.said, said, len(names))

    async def witnessed(self) -> None:
        """The witness has got its signals, and lives."""
        for cell in self.others:
            os.kill(self.witness, cell.numbers[0])
            if cell.signal in WITNESSED and self.state != HUNG:
                await to_thread.run_sync(self.master.said, WITNESSED[cell.signal])
        assert alive(self.witness)

    def begin_again(self) -> list[int]:
        """Whose tasks do: those of a hung witness do, by the watchdog."""
        again = [pid for pid, cell in self.cells.items() if cell.row.fate is not Fate.END]
        again += [self.witness] if self.state == HUNG else []
        return again if self.messages else []

    async def right(self, stage: Stage, pid: int, cell: Cell) -> None:
        """The one with this process id has ended as the cell says, and its task has."""
        event = "a worker has ended" if cell.code == 0 else "a worker died"
        line = await to_thread.run_sync(lambda: self.master.said(event, worker_pid=pid))
        how = "exit code 0" if cell.code == 0 else f"signal {signal.Signals(-(cell.code or 0)).name}"
        assert line["how"].partition(",")[0] == how, str(cell)
        if self.messages:
            await right(stage, cell, self.messages[pid])


@pytest.mark.parametrize(
    ("names", "state"),
    [pytest.param(*one, marks=[] if one in (ENDING[1], ENDING[2]) else [pytest.mark.fault]) for one in ENDING],
)
async def test_what_workers_hear(url: str, stage: Stage, tmp_path: Path, state: str, names: tuple[str, ...]) -> None:
    """Workers of a master, which replaces who ends."""
    with Master(
        url, workers=len(names) + 1, slots=1, lease=600.0, timeout=5.0 if state == HUNG else 60.0,
        hooks="gristmill.testing.hang", traces=str(tmp_path / "traces"),
    ) as master:  # fmt: skip
        crew = Crew(master, state, names)
        await crew.ready(stage)
        await crew.witnessed()
        master.signal(signal.SIGCHLD)
        master.signal(signal.SIGUSR1)
        await to_thread.run_sync(master.said, "log files reopened")
        families = {pid: children(pid) for pid in [*crew.cells, crew.witness]}
        for pid, cell in crew.cells.items():
            os.kill(pid, cell.numbers[0])
        again = crew.begin_again()
        await settles(lambda: all(stage.lines("start").count(crew.messages[pid].id) == 2 for pid in again))
        await dead(*(one for pid in again for one in families[pid]))
        stage.open()
        await ends(stage.broker, list(crew.messages.values()))
        for pid, cell in crew.cells.items():
            await crew.right(stage, pid, cell)
        for cell in crew.others if state in (BUSY, DRAINING) else ():
            await right(stage, cell, crew.messages[crew.witness])
        if state in (IDLE, BUSY):
            assert alive(crew.witness)
        assert "Traceback (most recent call last):" not in master.told()
