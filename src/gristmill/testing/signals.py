"""What every signal does to a master and to its workers, as data: the documentation shows it, and the tests hold it true."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

IDLE, BUSY, HUNG, DRAINING = STATES = ("idle", "busy", "hung", "draining")


class Fate(StrEnum):
    """What becomes of the tasks that were running."""

    END = "end where they are"
    BACK = "go back at once, uncounted"
    COUNTED = "go back at once, counted"
    EITHER = "go back at once; counted, if it was killed"
    LEASE = "go back when their leases expire, counted"
    UNTOUCHED = "go on"


@dataclass(frozen=True)
class Row:
    """One or more signals to a master or a worker in one or more states: what happens is the same.

    ``code`` is the exit code of who got the signal: 0, the ``signal`` that killed it, ``ABRT`` of the watchdog, or empty
    where it goes on.
    """

    signals: tuple[str, ...]
    to: str
    states: tuple[str, ...]
    happens: str
    code: str
    fate: Fate

    def exit_code(self, name: str) -> int | None:
        """As ``waitpid`` tells it; None: it goes on."""
        if not self.code:
            return None
        return 0 if self.code == "0" else -signal.Signals[f"SIG{name if self.code == 'signal' else self.code}"]


M, W = "master", "worker"
STOP, FATAL = ("TERM", "QUIT"), ("ABRT", "SEGV", "KILL")
WATCHDOG = "nothing, for its loop does not hear it; the watchdog ends it (ABRT, a second later KILL), another starts"

ROWS = (
    Row(STOP, M, (IDLE,), "its workers end, then it does", "0", Fate.END),
    Row(STOP, M, (BUSY,), "`/ready` turns false; its workers take nothing new and end what runs within the grace; what does"
        " not end in time goes back, uncounted", "0", Fate.END),
    Row(STOP, M, (HUNG,), "the hung worker writes its stacks and is killed, 2 s after the grace at the latest",
        "0", Fate.COUNTED),
    Row(STOP, M, (DRAINING,), "it hurries: workers hand back at once", "0", Fate.BACK),
    Row(("INT",), M, (IDLE, BUSY, DRAINING), "workers hand back at once", "0", Fate.BACK),
    Row(("INT",), M, (HUNG,), "the hung worker writes its stacks and is killed, after 5 s at the latest",
        "0", Fate.COUNTED),
    Row(("INT twice",), M, (HUNG,), "workers that are still there are killed", "0", Fate.COUNTED),
    Row(("INT twice",), M, (IDLE, BUSY, DRAINING), "workers hand back at once; who is still there at the second one is"
        " killed", "0", Fate.EITHER),
    Row(("HUP",), M, (IDLE, BUSY), "reads the configuration again; replaces the workers one by one: first the new one, when"
        " that is ready the old one drains", "", Fate.END),
    Row(("USR2",), M, (IDLE, BUSY), "replaces the workers one by one", "", Fate.END),
    Row(("HUP", "USR2"), M, (HUNG,), "the same; the hung worker writes its stacks and is killed when its successor is ready",
        "", Fate.COUNTED),
    Row(("USR1",), M, STATES, "opens the log files anew, its workers' too", "", Fate.UNTOUCHED),
    Row(("TTIN",), M, (IDLE, BUSY, HUNG), "one worker more", "", Fate.UNTOUCHED),
    Row(("TTOU",), M, (IDLE, BUSY), "one worker less, if there are two: the oldest drains", "", Fate.END),
    Row(("TTOU",), M, (HUNG,), "the same; the hung worker writes its stacks and is killed, 2 s after the grace at the latest",
        "", Fate.COUNTED),
    Row(("HUP", "USR2", "TTIN", "TTOU"), M, (DRAINING,), "nothing", "", Fate.UNTOUCHED),
    Row(("CHLD",), M, STATES, "looks who has ended; as the first process of a container it reaps orphans", "",
        Fate.UNTOUCHED),
    Row(FATAL, M, (IDLE, BUSY, DRAINING), "it dies; its workers notice and drain", "signal", Fate.END),
    Row(FATAL, M, (HUNG,), "it dies; the hung worker stays until somebody kills it", "signal", Fate.LEASE),
    Row(STOP, W, (IDLE, BUSY), "takes nothing new and ends what runs within the grace; another starts at once", "0",
        Fate.END),
    Row(STOP, W, (DRAINING,), "hands back at once", "0", Fate.BACK),
    Row(("INT",), W, (IDLE, BUSY, DRAINING), "hands back at once; another starts at once", "0", Fate.BACK),
    Row((*STOP, "INT"), W, (HUNG,), WATCHDOG, "ABRT", Fate.COUNTED),
    Row(("HUP", "TTIN", "TTOU", "CHLD"), W, STATES, "nothing", "", Fate.UNTOUCHED),
    Row(("USR1",), W, (IDLE, BUSY, DRAINING), "starts tracemalloc, writes a snapshot into `logs/` of the home", "",
        Fate.UNTOUCHED),
    Row(("USR2",), W, (IDLE, BUSY, DRAINING), "stops tracemalloc", "", Fate.UNTOUCHED),
    Row(("USR1", "USR2"), W, (HUNG,), "nothing", "", Fate.UNTOUCHED),
    Row(("ABRT", "SEGV"), W, STATES, "writes the stacks of all threads into the log and dies; another starts", "signal",
        Fate.COUNTED),
    Row(("KILL",), W, STATES, "dies; another starts", "signal", Fate.COUNTED),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One signal to one kind of process in one state."""

    signal: str
    to: str
    state: str
    row: Row

    @property
    def numbers(self) -> list[int]:
        """What is sent, one after the other."""
        word, _, twice = self.signal.partition(" ")
        return [signal.Signals[f"SIG{word}"]] * (2 if twice else 1)

    @property
    def code(self) -> int | None:
        return self.row.exit_code(self.signal)

    def __str__(self) -> str:
        return f"{self.signal} to a {self.to} that is {self.state}"


def cells() -> Iterator[Cell]:
    """The whole table, cell by cell."""
    for row in ROWS:
        for state in row.states:
            for name in row.signals:
                yield Cell(name, row.to, state, row)


def table() -> str:
    """The rows as Markdown."""
    lines = [
        "| signal | to a | that is | what happens | its exit code | tasks that run |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        states = "anything" if row.states == STATES else ", ".join(row.states)
        fate = "" if row.states == (IDLE,) else row.fate.value
        code = {"signal": "killed by it", "ABRT": "killed by ABRT", "": "goes on"}.get(row.code, row.code)
        lines.append(f"| {', '.join(row.signals)} | {row.to} | {states} | {row.happens} | {code} | {fate} |")
    return "\n".join(lines)
