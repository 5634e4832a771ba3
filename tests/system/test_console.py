"""A master with a live view, on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from gristmill.brokers import open_broker
from gristmill.engine.state import TaskState
from gristmill.testing.masters import PATIENCE
from gristmill.testing.processes import alive
from system.stage import Stage


class Terminal:
    """A command on a terminal of its own. ``text`` is all that it has written."""

    def __init__(self, home: Path, *words: str) -> None:
        self.home, self.text = home, ""
        self.log = home / "logs" / "master.log"
        argv = [sys.executable, "-m", "gristmill", "--home", str(home), *words]
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            environ = {**os.environ, "TERM": "xterm", "GRISTMILL_LOG__LEVEL": "info"}  # noqa: TID251
            for name in ("COLUMNS", "LINES"):
                environ.pop(name, None)  # the terminal's own size counts
            os.execve(argv[0], argv, environ)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def shows(self, pattern: str) -> re.Match[str]:
        """Returns when this was written. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.text)) is None:
            if time.monotonic() > end or not self._read():
                raise TimeoutError(f"{pattern!r} was not shown, but {self.text[-3000:]!r}")
        return found

    def press(self, key: bytes) -> None:
        os.write(self._fd, key)

    def code(self) -> int:
        """The exit code, once it has ended and all was read."""
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._fd)

    def master(self) -> int:
        """The process id by the log."""
        found = re.search(r'"event": "starting".*?"pid": (\d+)', self.log.read_text())
        assert found is not None
        return int(found[1])

    def says(self, words: str) -> None:
        """Returns when the log has these. Raises TimeoutError."""
        end, turn = time.monotonic() + PATIENCE, select.poll()
        while words not in self.log.read_text():
            if time.monotonic() > end:
                raise TimeoutError(f"{words!r} is not in the log: {self.log.read_text()[-3000:]}")
            turn.poll(20)

    def _read(self) -> bool:
        """False at the end."""
        ready, _, _ = select.select([self._fd], [], [], PATIENCE)
        with suppress(OSError):
            data = os.read(self._fd, 65536) if ready else b""
            self.text += data.decode(errors="replace")
            return bool(data)
        return False


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    own = Terminal(home, "worker", "-w", "1", "--slots", "1", "--app", "gristmill.testing.bodies:app")
    yield own
    own.close()
    with suppress(AssertionError, ProcessLookupError, OSError):
        os.kill(own.master(), signal.SIGKILL)
    if own.pid:
        with suppress(ProcessLookupError):
            os.kill(own.pid, signal.SIGKILL)
        os.waitpid(own.pid, 0)


def test_the_view_shows_workers_and_tasks_and_ctrl_c_hands_back(terminal: Terminal, home: Path) -> None:
    """P9: the key is passed on once, to the master; the exit code is the master's."""
    terminal.shows(r"worker\s.*ready")

    async def begin() -> str:
        async with open_broker(f"sqlite:///{home / 'broker.db'}") as broker:
            [message] = await Stage(home, broker).begun()
            return message.id

    async def state(task_id: str) -> tuple[TaskState, int]:
        async with open_broker(f"sqlite:///{home / 'broker.db'}") as broker:
            [record] = await broker.describe([task_id])
            assert record is not None
            return record.state, record.attempt

    task_id = anyio.run(begin)
    terminal.shows(rf"passes_gate\s.*{task_id}")
    assert os.getsid(terminal.master()) != os.getsid(terminal.pid), "the key would reach the master twice"
    terminal.press(b"\x03")
    assert terminal.code() == 0
    assert "stopped: 0 done, 0 failed; the log is in " in terminal.text
    assert anyio.run(state, task_id) == (TaskState.QUEUED, 0)
    assert terminal.log.read_text().count('"event": "stopping"') == 1


def test_the_views_death_is_nothing_to_the_master(terminal: Terminal) -> None:
    terminal.shows(r"worker\s.*ready")
    master = terminal.master()
    os.kill(terminal.pid, signal.SIGKILL)
    assert terminal.code() == -signal.SIGKILL
    os.kill(master, signal.SIGTTIN)  # it goes on: hears, and starts another
    terminal.says("one worker more")
    assert alive(master)
    os.kill(master, signal.SIGTERM)
    terminal.says('"event": "stopped", "level": "info", "logger": "master"')


def test_who_closes_the_terminal_has_the_master_drain(terminal: Terminal) -> None:
    terminal.shows(r"worker\s.*ready")
    terminal.close()
    terminal.says('"event": "stopping", "level": "info", "logger": "master"')
    terminal.says('"how": "drain"')
    terminal.says('"event": "stopped", "level": "info", "logger": "master"')


def test_plain_lines_are_the_master_itself(home: Path) -> None:
    terminal = Terminal(home, "worker", "--plain", "-w", "1", "--app", "no.such.module:app")
    assert terminal.code() == 2
    assert re.search(r"master: starting .*pid=\d+", terminal.text)
    assert "no worker can start; its reason is above" in terminal.text
    assert not terminal.log.exists()
    terminal.close()
