"""The stacks of running processes, on demand and at a crash.

A process that serves them has a file in memory. At SIGURG, which does nothing to a process that serves none, the stacks of
all threads are written there by C code, so also where no Python code comes to run; then, by Python, what the process knows
of its tasks. Whoever may look into the process (``gristmill debug stacks``) finds the file among its open ones.

It imports nothing of ours, for masters and nurseries use it.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

OWN, RUNNERS = "gristmill-stacks", "gristmill-runner"  # a runner's file is its keeper's, too
SIGNAL = signal.SIGURG
END = "-- end of the stacks"
FATAL = "Fatal Python error"
MOST = 65_536  # bytes that are read of one process
LONGEST_TRACEBACK = 8000  # characters kept of a crash
PYTHONS = 0.5  # seconds for what Python adds to the stacks
DEEPEST = 100  # frames of a coroutine

Tell = Callable[[], Iterable[str]]
tellers: list[Tell] = []  # what they say follows the stacks; they run in a signal's handler, so they only look

_served = {"fd": -1}


def make(name: str) -> int:
    """A file in memory to which everything is appended."""
    if sys.platform == "linux":
        fd = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def serve(fd: int | None = None) -> None:
    """Answer from now on. With ``fd`` in that file, and crashes leave their stack there; else in the log.

    Only a main thread can: from others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if fd is not None:
        if _served["fd"] >= 0:  # of the process that forked us
            os.close(_served["fd"])
        os.set_inheritable(fd, False)
        faulthandler.enable(file=fd)
        _served["fd"] = fd
    elif _served["fd"] >= 0:
        return
    else:
        if not faulthandler.is_enabled() and sys.stderr is not None:
            faulthandler.enable()
        _served["fd"] = make(OWN)
    faulthandler.unregister(SIGNAL)
    signal.signal(SIGNAL, _tell)
    faulthandler.register(SIGNAL, file=_served["fd"], all_threads=True, chain=True)


def _tell(number: int, frame: FrameType | None) -> None:
    try:
        lines = [line for tell in tellers for line in tell()]
    except Exception as exc:  # noqa: BLE001  a look must not hurt what is looked at
        lines = [f"what it does cannot be told: {type(exc).__name__}"]
    with suppress(OSError):
        os.write(_served["fd"], "\n".join(["", *lines, END, ""]).encode("utf-8", "backslashreplace"))


def of_coroutine(body: Any) -> Iterator[str]:
    """Where a coroutine waits, outermost first."""
    for _ in range(DEEPEST):
        frame = getattr(body, "cr_frame", None) or getattr(body, "gi_frame", None) or getattr(body, "ag_frame", None)
        if frame is None:
            return
        yield f'    File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_qualname}'
        body = getattr(body, "cr_await", None) or getattr(body, "gi_yieldfrom", None) or getattr(body, "ag_await", None)


def crash(fd: int) -> str:
    """The stack that a crash has left in the file; empty where it left none."""
    with suppress(OSError):
        text = os.pread(fd, MOST, max(0, os.fstat(fd).st_size - MOST)).decode("utf-8", "replace")
        _, found, rest = text.rpartition(FATAL)
        if found:
            kept, _, _ = (found + rest).partition("\nExtension modules:")
            return kept.strip()[:LONGEST_TRACEBACK]
    return ""


# -- looking at another process


def file_of(pid: int) -> Path | None:
    """The file in which that process answers; None where it does not, or we may not look."""
    found: dict[str, Path] = {}
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                name = os.readlink(entry).partition("memfd:")[2].partition(" ")[0]
                found.setdefault(name, entry)
    return found.get(OWN) or found.get(RUNNERS)


def ask(pid: int, *, within: float) -> str | None:
    """What that process answers: its stacks, and what it says of its tasks. As much as came within so many seconds.

    None where it serves no stacks. Raises OSError where it has gone or belongs to somebody else.
    """
    file = file_of(pid)
    if file is None:
        return None
    fd = os.open(file, os.O_RDWR)
    try:
        os.ftruncate(fd, 0)
        os.kill(pid, SIGNAL)
        text, until, seen = "", time.monotonic() + within, False
        while END not in text and time.monotonic() < until:
            threading.Event().wait(0.01)
            text = os.pread(fd, MOST, 0).decode("utf-8", "replace")
            if text and not seen:  # by C code; Python comes to a word soon, or is held up for long
                seen, until = True, min(until, time.monotonic() + PYTHONS)
        return text.replace(f"{END}\n", "").strip()
    finally:
        os.close(fd)
