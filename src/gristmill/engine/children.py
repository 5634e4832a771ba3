"""The child processes of a worker, seen from the worker: runners, and the nursery that forks them."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread
from anyio.abc import TaskGroup

from gristmill.base import meters
from gristmill.base.errors import EngineError, RunnerCrashed
from gristmill.base.logs import get_logger
from gristmill.engine import stacks
from gristmill.engine.outcome import Outcome, ended
from gristmill.engine.task import Policy
from gristmill.engine.wire import Boot, Booted, Channel, Died, Forked, Frame, Work

log = get_logger(__name__)

OWED = 5.0  # seconds that a nursery has to tell of a runner: that it is there, or that it is gone after it was killed
STARTS = 3  # of a nursery, when it ends or hangs while it is starting

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Attempt:
    work: Work
    policy: Policy
    runner: Runner
    base: int = 0  # resident bytes of the runner before the task
    over: anyio.Event = field(default_factory=anyio.Event)
    outcome: Outcome | None = None
    verdict: Outcome | None = None  # what it came to if its runner dies now
    until: float | None = None  # its hard limit, as ``time.monotonic`` tells

    def end(self, outcome: Outcome | None) -> None:
        if not self.over.is_set():
            self.outcome = outcome
            self.over.set()

    def told(self) -> str:
        """What runs where, for eyes."""
        message = self.work.message
        return f"runner {self.runner.pid}: task {message.id} ({message.task}, attempt {self.work.attempt})"


class Runner:
    """A child process that runs bodies."""

    def __init__(self, number: int, is_async: bool, channel: Channel, table: mmap.mmap, stacks: int) -> None:
        self.number = number
        self.stacks = stacks  # a file for its stacks, until it has gone
        self.is_async = is_async
        self.channel = channel
        self.table = table
        self.born = self.beaten = time.monotonic()
        self.burned = 0.0  # processor time at the last beat
        self.jobs: dict[str, Attempt] = {}
        self.count = 0
        self.rss = 0  # bytes after its latest task; 0 where that is not known
        self.size = 0  # the same, the latest that is known
        self.heaviest = ""  # the task that took the most memory, as the runner says
        self.pid = 0
        self.owed: float | None = self.born  # since when the nursery is to tell something of it
        self.known = anyio.Event()
        self.gone = anyio.Event()
        self.killed = False
        self.sentenced = False  # killed for the verdict on one of its tasks
        self.stack = ""  # where it crashed
        self.crashed: list[str] = []  # the tasks that its crash is told of
        self.unfit = ""  # why it could not begin to work
        self.hear: Callable[[Runner, Frame], None] = lambda runner, frame: None

    @property
    def usable(self) -> bool:
        """Whether it may get another task."""
        return not (self.killed or self.channel.over or self.gone.is_set())

    async def kill(self) -> None:
        """End the process now; returns when it is gone."""
        self.killed = True
        await self.known.wait()
        if not self.gone.is_set():
            for end in (os.kill, os.killpg):  # the body's own children are in the runner's group
                with suppress(ProcessLookupError):
                    end(self.pid, signal.SIGKILL)
            self.owed = self.owed or time.monotonic()
        await self.gone.wait()

    def hear_out(self) -> None:
        """The last words of a process that is gone: they may come in the same moment as the news of its death."""
        with suppress(msgspec.DecodeError):
            for frame in self.channel.receive_now():
                self.hear(self, frame)

    def died(self, status: int | None) -> None:
        """The process is gone: every task of it gets its outcome, or None where another one was to blame."""
        self.known.set()
        self.gone.set()
        stack = self._last_stack()
        culprit = self.stepping()
        sentenced = self.sentenced and status in (None, signal.SIGKILL)  # else it was quicker than its sentence
        for job in list(self.jobs.values()):
            if job.verdict is not None:
                job.end(job.verdict)
            elif sentenced or (culprit is not None and culprit is not job):
                job.end(None)
            else:
                self.crashed.append(job.work.message.id)
                job.end(_with(stack, ended(RunnerCrashed(self.unfit or _how(status)), attempt=job.work.attempt)))
        self.stack = stack

    def _last_stack(self) -> str:
        """Where it crashed, as far as it could say so."""
        fd, self.stacks = self.stacks, -1
        if fd < 0:
            return ""
        try:
            return stacks.crash(fd)
        finally:
            os.close(fd)

    def stepping(self) -> Attempt | None:
        """The task of an async runner whose step runs now."""
        slot = int.from_bytes(self.table[:], sys.byteorder)
        return next((job for job in self.jobs.values() if job.work.slot == slot and slot), None)

    def processor_time(self) -> float:
        """Seconds of processor time used so far (0 where the system does not tell)."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> int:
        """Resident bytes now (0 where the system does not tell)."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
        except OSError:
            return 0


class Nursery:
    """The process that forks runners, seen from the worker."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # On the loop's own thread: the kernel ends the child when the thread that made it is gone.
            self._process = subprocess.Popen(  # noqa: S603  our own module, by our own interpreter
                [sys.executable, "-m", "gristmill.engine.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.channel = Channel(ours)
        self.runners: dict[int, Runner] = {}
        self.over = anyio.Event()
        self._overdue = False  # at the latest look
        self.answered = False  # whether it said how the import of the app went
        self._booted = anyio.Event()
        self._answer = Booted(error="its process ended while it was starting")

    async def boot(self, boot: Boot, *, within: float) -> Booted:
        """Have it import the app. Raises EngineError where that fails, or takes more than so many seconds."""
        with suppress(ConnectionError):
            await self.channel.send(boot)
        with anyio.move_on_after(within) as scope:
            await self._booted.wait()
        if scope.cancelled_caught:
            raise EngineError(f"the app {boot.app!r} was not loaded within {within:.0f} s, although it was before")
        if self._answer.error:
            raise EngineError(f"the app {boot.app!r} cannot be loaded: {self._answer.error}")
        return self._answer

    async def listen(self) -> None:
        try:
            while frames := await self.channel.receive():
                for frame in frames:
                    self._hear(frame)
        finally:
            self._end()
            self.channel.close()

    def _hear(self, frame: Frame) -> None:
        if isinstance(frame, Booted):
            self._answer, self.answered = frame, True
            self._booted.set()
        elif isinstance(frame, Forked) and frame.number in self.runners:
            runner = self.runners[frame.number]
            runner.pid, runner.owed = frame.pid, None
            runner.known.set()
        elif isinstance(frame, Died) and frame.number in self.runners:
            runner = self.runners.pop(frame.number)
            runner.hear_out()
            runner.died(frame.status)
            if os.WIFSIGNALED(frame.status) and (runner.crashed or not runner.killed):
                meters.count("runner_deaths", how=_signal(frame.status))
                told = {"how": _how(frame.status), "tasks": runner.crashed, "stack": runner.stack}
                log.warning("a runner died", pid=runner.pid, **told)

    def _end(self) -> None:
        self.over.set()
        self._booted.set()
        for runner in self.runners.values():
            runner.died(None)
        self.runners.clear()

    def look(self) -> None:
        """Kill it where it has told nothing of a runner for too long: it is stopped, or hangs.

        Only at the second look: if it was we who did not run for a while, its word is heard in between.
        """
        now = time.monotonic()
        before, self._overdue = self._overdue, any(one.owed and now - one.owed > OWED for one in self.runners.values())
        if before and self._overdue:
            log.error("a nursery does not answer and is killed", pid=self._process.pid, seconds=OWED)
            self._process.kill()

    async def close(self) -> None:
        """End it, and with it its runners; returns when it is gone."""
        self.channel.hang_up()
        if not self._booted.is_set():  # it may be in the middle of an import, and hear nothing
            self._process.kill()
        await to_thread.run_sync(self._wait)
        self._end()

    def _wait(self) -> None:
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


async def start_nursery(boot: Boot, group: TaskGroup, *, within: float) -> tuple[Nursery, Booted]:
    """A nursery that has imported the app. One that is killed or stopped meanwhile is no fault of the app: another is tried.

    Raises EngineError where the app cannot be loaded, or it did not work out ``STARTS`` times.
    """
    start = 1
    while True:
        nursery = Nursery()
        group.start_soon(nursery.listen)
        try:
            return nursery, await nursery.boot(boot, within=within)
        except BaseException as exc:
            with anyio.CancelScope(shield=True):
                await nursery.close()
            if nursery.answered or start == STARTS or not isinstance(exc, EngineError):
                raise
            log.warning("a nursery ended while it was starting; another is started", error=str(exc))
            start += 1


def _how(status: int | None) -> str:
    if status is None:
        return "the process that ran the task died together with its parent"
    if os.WIFSIGNALED(status):
        return f"the process that ran the task died of signal {_signal(status)}"
    return f"the process that ran the task ended with exit code {os.waitstatus_to_exitcode(status)}"


def _signal(status: int) -> str:
    number = os.WTERMSIG(status)
    return signal.Signals(number).name if number in signal.valid_signals() else str(number)


def _with(stack: str, outcome: Outcome) -> Outcome:
    """The outcome with the crash's stack as its traceback."""
    if not stack or outcome.error is None:
        return outcome
    return msgspec.structs.replace(outcome, error=msgspec.structs.replace(outcome.error, traceback=stack))
