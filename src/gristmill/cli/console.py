"""A master with a live view on the terminal: the master is a process of its own, and this one only looks and passes signals on.

The master's log goes into a file, whose end is shown. Nothing that happens here hurts it: it waits for nobody who looks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
from anyio import to_thread
from rich.console import Console
from rich.live import Live
from rich.text import Text

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.settings import Settings
from gristmill.brokers import open_broker
from gristmill.cli.main import first
from gristmill.cli.view import View, log_line
from gristmill.engine.fleet import Plan
from gristmill.pipeline.overview import look

EVERY = 0.5  # seconds between two drawings
ASK_EVERY = 1.0  # seconds between two questions to the broker
MOST_LOG = 10 * 1024**2  # bytes of the log's file, above which a fresh one is begun
MOST_READ = 1024**2  # bytes of the log that are read at a time
LAST_LINES = 5  # of the log, shown at the end where not all went well

PASSED_ON = tuple(
    getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU")
)


def wanted() -> bool:
    """Whether there is a terminal to draw on. The first process of a container is the master itself: it has to reap."""
    console = Console()
    return console.is_terminal and not console.is_dumb_terminal and sys.stderr.isatty() and os.getpid() != 1


def run_master(settings: Settings, plan: Plan, title: str) -> int:
    """Run a master and show how it is, until it has ended. Returns its exit code."""
    path = log_file(settings)
    log = path.open("ab")
    look_in, tell = os.pipe()
    given = replace(plan, onlooker=tell, log_file=str(path), log_json=True)
    environ = {**os.environ, "GRISTMILL_SUPERVISOR__LOG_FILE": str(path)}  # noqa: TID251  passed on
    with log:
        start = log.tell()

        def begin() -> subprocess.Popen[bytes]:
            return subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", "gristmill.engine.supervisor", given.dump()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[tell], env=environ,
                start_new_session=True,  # what the terminal says is said to us, and passed on once
            )  # fmt: skip

        live = _Live(settings, View(title, time.monotonic()), path, start)
        try:
            return anyio.run(live.run, begin, look_in, tell)
        finally:
            os.close(look_in)


def log_file(settings: Settings) -> Path:
    """Where a master with a view writes its log."""
    if settings.supervisor.log_file:
        return Path(settings.supervisor.log_file)
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "master.log"
    with suppress(FileNotFoundError):
        if path.stat().st_size > MOST_LOG:
            path.replace(f"{path}.1")
    return path


class _Live:
    """The view, while the master runs."""

    def __init__(self, settings: Settings, view: View, path: Path, start: int) -> None:
        self._settings, self._view = settings, view
        self._path, self._read = path, start
        self._console = Console()

    async def run(self, begin: Callable[[], subprocess.Popen[bytes]], look_in: int, tell: int) -> int:
        with anyio.open_signal_receiver(*PASSED_ON) as signals:
            master = await to_thread.run_sync(begin)
            os.close(tell)
            async with anyio.create_task_group() as group:
                group.start_soon(self._pass_on, signals, master)
                group.start_soon(self._ask)
                drawing = anyio.CancelScope()
                group.start_soon(self._draw, drawing)
                await self._listen(look_in)
                drawing.cancel()
                code = await to_thread.run_sync(master.wait, abandon_on_cancel=True)
                group.cancel_scope.cancel()
        self._end(code)
        return code if code >= 0 else 128 - code

    async def _pass_on(self, signals: AsyncIterator[signal.Signals], master: subprocess.Popen[bytes]) -> None:
        async for number in signals:
            closed = number == signal.SIGHUP and not self._terminal()
            with suppress(ProcessLookupError):
                master.send_signal(signal.SIGTERM if closed else number)

    def _terminal(self) -> bool:
        """Whether the terminal is still there: who closes it wants an end, not the configuration read again."""
        return os.isatty(sys.stdout.fileno())

    async def _listen(self, look_in: int) -> None:
        """Hear what the master says, until its end."""
        os.set_blocking(look_in, False)
        rest = b""
        while True:
            await anyio.wait_readable(look_in)
            with suppress(BlockingIOError):
                data = os.read(look_in, 65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._view.told(json.loads(line), time.monotonic())

    async def _ask(self) -> None:
        """Ask the broker what waits and what runs, as long as it answers; then say that it does not."""
        while True:
            try:
                async with open_broker(self._settings.broker_url) as broker:
                    while True:
                        self._view.house = await look(broker)
                        await anyio.sleep(ASK_EVERY)
            except* BrokerUnavailable as group:
                self._view.house, self._view.trouble = None, f"the broker does not answer: {first(group)}"
            await anyio.sleep(ASK_EVERY)

    async def _draw(self, drawing: anyio.CancelScope) -> None:
        live = Live(console=self._console, auto_refresh=False, transient=True)
        with drawing, suppress(OSError), live:  # a terminal that is gone is not drawn on; the master goes on
            while True:
                await to_thread.run_sync(self._draw_once, live, abandon_on_cancel=True)
                await anyio.sleep(EVERY)

    def _draw_once(self, live: Live) -> None:
        self._tail()
        live.update(self._view.draw(time.monotonic(), self._console.height), refresh=True)

    def _tail(self) -> None:
        """Read what the log has got meanwhile. A file that was begun anew is read from its start."""
        with suppress(OSError), self._path.open("rb") as file:
            if self._read > file.seek(0, os.SEEK_END):
                self._read = 0
            file.seek(self._read)
            whole, end, _ = file.read(MOST_READ).rpartition(b"\n")
            self._read += len(whole) + len(end)
            self._view.log.extend(log_line(line.decode(errors="replace")) for line in whole.splitlines())

    def _end(self, code: int) -> None:
        self._tail()
        done, failed = self._view.totals
        with suppress(OSError):
            for line in list(self._view.log)[-LAST_LINES:] if code else ():
                self._console.print(line)
            self._console.print(Text(f"stopped: {done} done, {failed} failed; the log is in {self._path}"))
