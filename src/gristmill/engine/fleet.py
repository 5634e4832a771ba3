"""One worker process as the master sees it; and what the master is to do with all of them."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

FD = "GRISTMILL_MASTER_FD"  # in a worker's environment: the number of its socket to the master
FOR_PROBES = ("heads", "bounds", "meters", "depths")  # of what a worker says: not kept here
LISTEN_FD = "GRISTMILL_LISTEN_FD"  # in a server's: the number of the socket on which it answers
HEARD = 65536  # bytes of one read
LONGEST_LINE = 1_000_000  # bytes; a worker that says more in one line is out of its mind
TAKE_BACK_TIMEOUT = 10.0  # seconds
KILL_AFTER = 2.0  # seconds beyond its grace that a process has to end
ABORTED = 1.0  # seconds from SIGABRT (it writes its stacks) to SIGKILL
SETTLED = 5.0  # seconds; who dies younger than that is started again after a pause
LONGEST_PAUSE = 30.0  # seconds between two starts that fail
RELOAD_TIMEOUT = 30.0  # seconds for reading the configuration again


class Exit(IntEnum):
    """How a worker's process ends, for the master."""

    CLEAN = 0
    BOOT_FAILED = 2  # a wrong setting, an app that cannot be loaded: it will not start the next time either
    INTERRUPTED = 130  # told to stop before it had begun


@dataclass(frozen=True)
class Plan:
    """How many workers, how they are started, and when they are replaced or given up. Seconds and bytes."""

    argv: list[str]
    workers: int = 1
    grace: float = 30.0
    timeout: float = 30.0  # of silence of a worker's loop
    boot_timeout: float = 60.0
    max_tasks: int | None = None
    max_tasks_jitter: int = 0
    max_age: float | None = None
    max_rss: int | None = None
    pidfile: str = ""
    health: str = ""  # host:port
    server: list[str] = field(default_factory=list)  # a command that answers requests, beside the workers; empty: none
    listen: str = ""  # host:port where it does
    onlooker: int = 0  # an open file that is told how we are
    hooks: str = ""
    log_file: str = ""
    log_json: bool = False
    reload: list[str] = field(default_factory=list)  # a command that prints the plan anew
    take_back: list[str] = field(default_factory=list)  # a command that takes back what the workers it is given held

    @classmethod
    def load(cls, raw: str) -> Plan:
        """A plan from JSON. Raises ValueError where it is none."""
        found = json.loads(raw)
        known = {one.name for one in fields(cls)}
        if not isinstance(found, dict) or not set(found) <= known:
            raise ValueError("this is no plan of a master")
        plan = cls(**found)
        _voice.update(json=plan.log_json)
        return plan

    def dump(self) -> str:
        return json.dumps({one.name: getattr(self, one.name) for one in fields(self)})

    def read_again(self) -> Plan:
        """The plan by today's configuration. Raises ValueError with the reason where that cannot be read."""
        try:
            done = subprocess.run(  # noqa: S603  our own command
                self.reload, capture_output=True, text=True, timeout=RELOAD_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise ValueError(f"it took longer than {RELOAD_TIMEOUT:.0f} s") from exc
        if done.returncode:
            raise ValueError(done.stderr.strip()[-2000:])
        return Plan.load(done.stdout)

    def hand_back(self, names: list[str]) -> None:
        """Have the tasks of dead workers taken back, when there is no worker left to do it."""
        if not self.take_back:
            return
        try:
            subprocess.run([*self.take_back, *names], timeout=TAKE_BACK_TIMEOUT, check=True)  # noqa: S603  our own command
        except (subprocess.SubprocessError, OSError) as exc:
            say("their tasks go back when their leases expire", level="error", workers=names, error=str(exc))

    def reopen_log(self) -> None:
        """Go on in a fresh log file (after it was rotated away)."""
        if self.log_file:
            reopen_stderr(self.log_file)


class Starts:
    """When the next start may be: at once, unless those before it keep failing."""

    def __init__(self) -> None:
        self._failures = 0
        self._after = 0.0

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._after

    def failed(self) -> None:
        """One died young or did not get ready: a pause, twice as long as the one before."""
        self._failures += 1
        self._after = time.monotonic() + min(LONGEST_PAUSE, 0.25 * 2**self._failures)

    def succeeded(self) -> None:
        """One got ready: the next failure is the first again."""
        self._failures = 0

    def hurry(self) -> None:
        """Somebody asks for a start now."""
        self._after = 0.0


class Child:
    """A worker process. Times are of the monotonic clock."""

    def __init__(self, plan: Plan, *, jitter: float, kind: str = "worker") -> None:
        self.kind = kind
        self.pid = 0
        self.name = ""
        self.ready = False
        self._hung_up = False
        self._selector: selectors.BaseSelector | None = None
        self.code: int | None = None
        self.how = ""
        self.retiring: float | None = None  # until when it has to be gone
        self.told: dict[str, Any] = {}  # its latest beat
        self.born = self.beaten = time.monotonic()
        self.plan = plan
        self._max_tasks = plan.max_tasks and plan.max_tasks + int(jitter * plan.max_tasks_jitter)
        self._max_age = plan.max_age and plan.max_age * (1 + jitter / 10)
        self._aborted: float | None = None
        self._why = ""
        self._told = 0  # the last signal to end
        self._told_at = 0.0
        self._buffer = b""

    def start(self, given: Mapping[str, int] | None = None) -> None:
        """Start the process: exec'd, with one socket to us, in a session of its own. ``given``: more open files, by name."""
        self._link, theirs = socket.socketpair()
        self._link.setblocking(False)
        with theirs:
            files = {**(given or {}), FD: theirs.fileno()}
            self._process = subprocess.Popen(  # noqa: S603  our own program
                self.plan.argv,
                pass_fds=[*files.values()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **{name: str(fd) for name, fd in files.items()}},  # noqa: TID251  passed on
                start_new_session=True,
            )
        self.pid = self._process.pid

    def watch(self, selector: selectors.BaseSelector, heard: Callable[[], None]) -> None:
        """Have the loop over ``selector`` call ``heard`` when it has said something, until it has hung up."""
        self._selector = selector
        selector.register(self._link, selectors.EVENT_READ, heard)

    @property
    def held(self) -> list[str]:
        """The ids of the tasks it held, by its own word."""
        return list(self.told.get("held", ()))

    @property
    def as_told(self) -> bool:
        """Whether it ended because it was told to: it may have been told before it could listen, or once more after."""
        return bool(self.retiring) and self.code in (Exit.CLEAN, Exit.INTERRUPTED, -signal.SIGTERM, -signal.SIGINT)

    @property
    def suspect(self) -> bool:
        """Whether it has been silent for so long that nothing should be asked of it."""
        return self._aborted is not None or time.monotonic() - self.beaten > max(3.0, self.plan.timeout / 3)

    def hear(self) -> list[dict[str, Any]]:
        """What it has said meanwhile; nothing more once it has hung up."""
        if self._hung_up:
            return []
        try:
            data = self._link.recv(HEARD)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > LONGEST_LINE:
            self._buffer = b""
        heard: list[dict[str, Any]] = []
        for line in lines:
            with suppress(ValueError):
                told = json.loads(line)
                heard.append(told)
                self.beaten = time.monotonic()
                self.name = told.get("name", self.name)
                self.told.update((key, told[key]) for key in told if key not in FOR_PROBES)
        return heard

    def _hang_up(self) -> None:
        self._hung_up = True
        if self._selector is not None:
            self._selector.unregister(self._link)
        self._link.close()

    def tell(self, line: dict[str, Any]) -> None:
        """Say something, if it still listens."""
        with suppress(OSError):
            self._link.send(json.dumps(line).encode() + b"\n")

    def stop(self, number: int, *, within: float) -> None:
        """Have it end within so many seconds: on its own, or else killed. It is told the same only once."""
        self.retire(within=within)
        if number != self._told:
            self._told, self._told_at = number, time.monotonic()
            self._signal(number)

    def retire(self, *, within: float) -> None:
        """It ends, and is killed if it has not within so many seconds."""
        self.retiring = time.monotonic() + within

    def kill(self, why: str) -> None:
        self._why = self._why or why
        self.retiring = self.retiring or time.monotonic()
        self._signal(signal.SIGKILL)

    def keep_deadlines(self, now: float) -> bool:
        """End it where it is too late. True where it is silent, or does not get ready: the next is ``abort``."""
        if self.retiring is not None and now > self.retiring:
            self.kill("did not end in time")
        elif self._aborted is not None:
            if now - self._aborted > ABORTED:
                self._signal(signal.SIGKILL)
        elif self._deaf(now, ABORTED / 2) or now - self.beaten > self._patience:
            self._why = f"silent for {now - self.beaten:.0f} s" if self.ready else "did not get ready in time"
            say(f"a {self.kind} {self._why}", level="error", worker_pid=self.pid, worker=self.name, held=self.held)
            return True
        return False

    @property
    def _patience(self) -> float:
        return self.plan.timeout if self.ready else self.plan.boot_timeout

    def _deaf(self, now: float, before: float) -> bool:
        """Whether it will be killed soon, and did not answer since it was told to end: then its stacks are wanted."""
        late = self.retiring is not None and now > self.retiring - before
        return late and self.ready and self.beaten < self._told_at

    def abort(self, now: float) -> None:
        """SIGABRT, so that its stacks are in the log; what that does not end is killed soon."""
        self._aborted = now
        self._signal(signal.SIGABRT)

    def worn(self, now: float) -> str:
        """Why it is to be replaced; empty: it is not."""
        if self._max_tasks and self.told.get("done", 0) >= self._max_tasks:
            return f"{self.told['done']} tasks"
        if self._max_age and now - self.born > self._max_age:
            return f"{now - self.born:.0f} s old"
        if self.plan.max_rss and self.told.get("rss", 0) > self.plan.max_rss:
            return f"{self.told['rss'] >> 20} MiB large"
        return ""

    def ended(self, status: int) -> None:
        """It is gone, with this status of waitpid."""
        self.code = self._process.returncode = os.waitstatus_to_exitcode(status)
        how = f"signal {signal.Signals(-self.code).name}" if self.code < 0 else f"exit code {self.code}"
        self.how = f"{how}, {self._why}" if self._why else how

    @property
    def reason(self) -> str:
        """Why it ended, in one word."""
        if self._why:
            return "silent" if self._aborted is not None else "late"
        if self.as_told:
            return "told"
        if self.code == Exit.BOOT_FAILED and not self.ready:
            return "boot"
        return "signal" if self.code is not None and self.code < 0 else "exit"

    def status(self) -> dict[str, Any]:
        """What the probes tell of it."""
        state = "draining" if self.retiring else "silent" if self.suspect else "ready" if self.ready else "starting"
        numbers = {name: self.told.get(name, 0) for name in ("running", "done", "failed", "rss")}
        return {"pid": self.pid, "name": self.name, "state": state, **numbers}

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


_voice = {"json": False}


def say(event: str, *, level: str = "info", **fields: Any) -> None:
    """A line in the log: the master has no logging library, for it has to stay small."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if _voice["json"]:
        line = json.dumps({"event": event, "level": level, "logger": "master", "timestamp": at, **fields}, default=str)
    else:
        line = " ".join([at, f"[{level}]", f"master: {event}", *(f"{key}={value}" for key, value in fields.items())])
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def reopen_stderr(path: str) -> None:
    """Let the standard error stream go on in this file."""
    fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o640)
    os.dup2(fd, 2)
    os.close(fd)
