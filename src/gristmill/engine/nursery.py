"""The nursery: a process that has imported the app and forks runners from itself.

The worker proper never imports the app, so it stays small and cannot be hurt by it; a fork of a warm process takes
milliseconds where a start from nothing takes seconds. One thread, no event loop: that is what makes forking safe.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gristmill.base.errors import EngineError
from gristmill.engine import async_runner, stacks, sync_runner
from gristmill.engine.outcome import clean
from gristmill.engine.task import App
from gristmill.engine.wire import Boot, Booted, Died, Fork, Forked, Unfit, Unpacker, pack

PR_SET_PDEATHSIG = 1  # prctl(2)
MAX_FDS = 3  # its socket, the step table, the file for its stacks


def load(target: str, config: dict[str, Any]) -> App:
    """The app at ``module:attribute``: an App, or a function that makes one from ``config``."""
    module, _, attribute = target.partition(":")
    found: Any = getattr(importlib.import_module(module), attribute or "app")
    app = found if isinstance(found, App) else found(config)
    if not isinstance(app, App):
        raise EngineError(f"{target} is no App and no function that returns one")
    return app


def main() -> None:
    """Serve the worker at the other end of the socket whose number is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the worker's business
    die_with_parent()
    stacks.serve()
    os.dup2(2, 1)  # what bodies print is talk; the standard output is the worker's
    control = socket.socket(fileno=int(sys.argv[1]))
    boot = _first_frame(control)
    if boot is None:
        return
    sys.path.extend(place for place in boot.path if place not in sys.path)
    try:
        app = load(boot.app, boot.config)
    except Exception as exc:  # noqa: BLE001  whatever an app's import raises is told, and is the end
        control.sendall(pack(Booted(error=clean(f"{type(exc).__name__}: {exc}\n{traceback.format_exc(limit=-8)}"))))
        return
    control.sendall(pack(Booted(app.policies(), app.periodics)))
    nursery = _Nursery(control, app)
    nursery.serve()
    nursery.end()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone (Linux; elsewhere the closed socket tells)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _first_frame(control: socket.socket) -> Boot | None:
    unpacker = Unpacker()
    while data := control.recv(65536):
        for frame in unpacker.feed(data):
            if isinstance(frame, Boot):
                return frame
    return None


class _Nursery:
    def __init__(self, control: socket.socket, app: App) -> None:
        self._control = control
        self._app = app
        self._numbers: dict[int, int] = {}  # pid -> runner
        self._unpacker = Unpacker()
        self._fds: list[int] = []

    def serve(self) -> None:
        """Fork on request, tell of deaths, until the worker is gone."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        control = self._control.fileno()
        while True:
            ready, _, _ = select.select([control, woken], [], [])
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            if control in ready and not self._listen():
                return

    def end(self) -> None:
        """End all runners and wait for them: what is not waited for is missing in the processor time of a command."""
        for pid in self._numbers:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        for pid in self._numbers:
            os.waitpid(pid, 0)

    def _listen(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, 65536, MAX_FDS * 64)
        except ConnectionError:
            return False
        self._fds.extend(fds)
        for frame in self._unpacker.feed(data):
            if isinstance(frame, Fork):
                self._fork(frame)
        return bool(data)

    def _fork(self, frame: Fork) -> None:
        mine, self._fds = self._fds[:MAX_FDS], self._fds[MAX_FDS:]
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_runner(frame, mine, parent)
        with suppress(OSError):  # the child does it, too: neither waits for the other
            os.setpgid(pid, pid)
        for fd in mine:
            os.close(fd)
        self._numbers[pid] = frame.number
        self._tell(Forked(frame.number, pid))

    def _become_runner(self, frame: Fork, fds: list[int], parent: int) -> None:
        """The child's life; never returns."""
        code = 1
        try:
            die_with_parent()
            os.setpgid(0, 0)  # what a body starts is in its runner's group, and goes with it
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            stacks.serve(fds[2])
            if os.getppid() == parent:
                serve: Callable[[App, socket.socket, int], None]
                serve = async_runner.serve if frame.is_async else sync_runner.serve
                sock = socket.socket(fileno=fds[0])
                self._prepare(sock)
                serve(self._app, sock, fds[1])
            code = 0
        except BaseException:  # noqa: BLE001  the last stop before the process ends
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _prepare(self, sock: socket.socket) -> None:
        try:
            for hook in self._app.runner_hooks:
                hook()
        except Exception as exc:
            sock.sendall(pack(Unfit(f"the runner could not start: {type(exc).__name__}: {clean(str(exc))}")))
            raise

    def _reap(self) -> None:
        while self._numbers:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            with suppress(OSError):  # before its number is free for others: what its body left running
                os.killpg(found.si_pid, signal.SIGKILL)
            pid, status = os.waitpid(found.si_pid, 0)
            if pid in self._numbers:
                self._tell(Died(self._numbers.pop(pid), status))

    def _tell(self, frame: Forked | Died) -> None:
        try:
            self._control.sendall(pack(frame))
        except ConnectionError:
            os._exit(0)  # the worker is gone


if __name__ == "__main__":
    main()
