"""What code that reads foreign bytes may not do: reach the network, start programs, write outside of a folder of its own.

It is held by an audit hook of the interpreter, so it holds for libraries written in Python, too. What native code does by
itself passes no hook: the libraries in use have neither sockets nor files for it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gristmill.base.errors import PluginError
from gristmill.base.scratch import scratch

_NET = frozenset(
    ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
     "socket.gethostbyaddr", "socket.getnameinfo", "urllib.Request", "http.client.connect", "ftplib.connect",
     "smtplib.connect", "telnetlib.Telnet.open")
)  # fmt: skip
_RUN = frozenset(
    ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn")
)
_CHANGES = {  # event -> where its paths are among the arguments, and where a folder's descriptor is that they begin at
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),), "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),), "os.symlink": ((1, 2),), "os.truncate": ((0, None),), "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),), "os.utime": ((0, 3),),
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _State(threading.local):
    """What holds for one thread."""

    what = ""  # what is confined, for the message; empty where nothing is
    programs = False


_state = _State()
_lock = threading.Lock()
_folders: list[str] = []  # of all that are confined now; what tempfile makes goes into the last
_usual: str | None = None  # where it goes otherwise
_free: set[int] = set()  # threads that began before the main thread was confined; later ones are taken for its own
_main_what = ""
_heard = False


@contextmanager
def confined(what: str) -> Iterator[None]:
    """Within the block this thread may not connect, run programs or write files elsewhere.

    Nor may threads that begin meanwhile, where this is the main thread, as it is in a runner. ``what`` is named in the
    PluginError that an attempt raises where it is made. Temporary files go into a folder of their own, which is gone at the
    end of the block; what a killed process leaves is found by ``sweep_scratch``.
    """
    with _own_folder(), _held(what):
        yield


@contextmanager
def programs_allowed() -> Iterator[None]:
    """Within the block a confined thread may start the program that it was made for, which confines itself."""
    outer, _state.programs = _state.programs, True
    try:
        yield
    finally:
        _state.programs = outer


def confined_steps(what: str, steps: Iterator[Any]) -> Iterator[Any]:
    """The same values; each step is confined, and what is done with its value is not. The folder lasts for all of them."""
    missing = object()
    with _own_folder():
        while True:
            with _held(what):
                value = next(steps, missing)
            if value is missing:
                return
            yield value


@contextmanager
def _held(what: str) -> Iterator[None]:
    _listen()
    with _threads_too(what):
        outer, _state.what = _state.what, what
        try:
            yield
        finally:
            _state.what = outer


@contextmanager
def _threads_too(what: str) -> Iterator[None]:
    global _main_what, _free
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outer = _main_what, _free
    _free = _free if _main_what else {thread.ident or 0 for thread in threading.enumerate()}
    _main_what = what
    try:
        yield
    finally:
        _main_what, _free = outer


@contextmanager
def _own_folder() -> Iterator[None]:
    global _usual
    if _state.what:  # it has one
        yield
        return
    with _lock:
        if not _folders:
            _usual = tempfile.tempdir
        folder = scratch(_usual)
        _folders.append(os.path.realpath(folder.name))
        tempfile.tempdir = folder.name
    try:
        yield
    finally:
        with _lock:
            _folders.remove(os.path.realpath(folder.name))
            tempfile.tempdir = _folders[-1] if _folders else _usual
        folder.cleanup()


def _listen() -> None:
    global _heard
    with _lock:
        if not _heard:  # a hook can be added to a process, but never removed
            sys.addaudithook(_hear)
            _heard = True


def _hear(event: str, args: tuple[Any, ...]) -> None:
    what = _state.what or (_main_what if _main_what and threading.get_ident() not in _free else "")
    if not what:
        return
    if event == "open":
        if isinstance(args[2], int) and args[2] & _WRITES:
            _check(what, args[0])
    elif event in _CHANGES:
        for path, folder in _CHANGES[event]:
            if folder is None or args[folder] == -1:  # else it begins at a folder that is open
                _check(what, args[path])
    elif event in _NET:
        raise PluginError(
            f"{what} tried to reach the network ({event} {_shown(args)}), which it may not: nothing was sent"
        )
    elif event in _RUN and not _state.programs:
        raise PluginError(f"{what} tried to run a program ({event} {_shown(args)}), which it may not")


def _check(what: str, path: Any) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a descriptor that is open
    given = os.fsdecode(path)
    if given == os.devnull or "__pycache__" in given:  # compiled modules of what is imported late
        return
    real = os.path.realpath(given)
    if not any(real == folder or real.startswith(folder + os.sep) for folder in _folders):
        raise PluginError(
            f"{what} tried to write {real!r}, which it may not: temporary files go where tempfile puts them"
        )


def _shown(args: tuple[Any, ...]) -> str:
    return ", ".join(repr(one)[:80] for one in args if not hasattr(one, "fileno"))
