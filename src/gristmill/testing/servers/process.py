"""What all servers have in common: a port, a folder, a process, and its end."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Self

import psutil

from gristmill.testing import guardian

PATIENCE = 60.0  # seconds for a server to come up or go; a safety on a loaded machine, not a measure
_POLL = 0.005
# Below the ports that the system hands out to outgoing connections, so that a port is still free after a restart;
# ten thousand above each the bus of a cluster's node.
_PORTS = range(11000, 21000)
_BUS = 10000
_random = SystemRandom()  # a seeded one would choose the same ports in all test processes


class ServerMissing(Exception):
    """This machine has not got the program; the message says what to install."""


class ServerFailed(Exception):
    """The server did not come up, or did not go; the message ends with its log."""


def free_port() -> int:
    """A port of loopback that nobody listens on, and whose neighbour for a cluster's bus is free, too."""
    for _ in range(1000):
        port = _random.choice(_PORTS)
        if _is_free(port) and _is_free(port + _BUS):
            return port
    raise ServerFailed("no free port found on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server(ABC):
    """A server process on loopback. As a context manager it is started on entry, and ended and removed on exit.

    The port and the folder stay the same from ``start`` to ``close``, over any number of stops and starts.
    """

    name: str = "server"

    def __init__(self) -> None:
        self.port = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    # What a kind of server says about itself.

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect to; includes the password, if there is one."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line that runs it in the foreground."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether our own process answers (not another that took the port)."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make what it needs in its folder, unless it is there from an earlier start."""

    @abstractmethod
    def _forget(self) -> None:
        """Remove its data, so that the next start begins with none."""

    def _end(self, process: subprocess.Popen[bytes], *, keep_data: bool) -> None:
        process.send_signal(signal.SIGTERM)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)  # noqa: S603

    # What all can do.

    @property
    def folder(self) -> Path:
        """Where its data, its sockets and its log are."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="gristmill-"))
            guardian.watch_folder(str(self._folder))
        return self._folder

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """The process; only while it runs."""
        if self._process is None:
            raise ServerFailed(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be paused)."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start it, on the same port as before; with ``wait``, return when it answers."""
        if self._process is not None:
            return
        first = self.port == 0
        for _ in range(5):
            self.port = self.port or free_port()
            self._prepare()
            self._process = self._spawn(self._command())
            guardian.watch_process(self._process.pid)
            if not wait or self.wait_ready():
                return
            self._reap()
            if not first:
                break
            self.port = 0  # somebody was quicker: another
        raise ServerFailed(f"{self.name} did not start:\n{self._log_end()}")

    def wait_ready(self) -> bool:
        """Return when it answers (True), or has ended by itself (False)."""
        assert self._process is not None
        for _ in range(int(PATIENCE / _POLL)):
            if self._process.poll() is not None:
                return False
            if self._ready():
                return True
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL)
        raise ServerFailed(f"{self.name} did not answer within {PATIENCE:g} s:\n{self._log_end()}")

    def stop(self, *, keep_data: bool = True) -> None:
        """Ask it to end and wait until it has; with ``keep_data``, it writes down what it has first."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.resume()
            self._end(self._process, keep_data=keep_data)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise ServerFailed(f"{self.name} did not end within {PATIENCE:g} s:\n{self._log_end()}") from None
        self._reap()
        if not keep_data:
            self._forget()

    def kill(self) -> None:
        """SIGKILL: it has no chance to write anything down."""
        if self._process is None:
            return
        family = self._family()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family[1:], timeout=PATIENCE)  # they may hold the port and the memory
        self._reap()

    def restart(self, *, keep_data: bool = True, kill: bool = False, wait: bool = True) -> None:
        """Stop (or ``kill``) it and start it again, with what it kept or with nothing."""
        if kill:
            self.kill()
        self.stop(keep_data=keep_data)
        if not keep_data:
            self._forget()
        self.start(wait=wait)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self._paused and self._process is not None:
            self._signal(signal.SIGCONT)
        self._paused = False

    def close(self) -> None:
        """Kill it and remove all it had."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            guardian.forget_folder(str(self._folder))
            self._folder = None
        self.port = 0

    def _family(self) -> list[psutil.Process]:
        """The process and those that it started."""
        try:
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal(self, number: signal.Signals) -> None:
        for member in self._family():
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        guardian.forget_process(self._process.pid)
        self._process = None
        self._paused = False

    def _log_end(self) -> str:
        """What it said is wrong, and its last words."""
        if not self.log.exists():
            return "(no log)"
        text = self.log.read_text(errors="replace")
        wrong = [line for line in text.splitlines() if re.search(r"\b(ERROR|FATAL|PANIC)\b", line)]
        return "\n".join([*wrong[:20], "...", text[-2000:]])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
