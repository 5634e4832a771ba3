"""Ends what was started here when this process is gone, however it went.

A process of its own reads from a pipe what runs and where it lives; at the end of the pipe it kills the one and
removes the other. (A death signal of the kernel would follow the thread that started the server, not the process.)
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading

_LOCK = threading.Lock()
_guardian: subprocess.Popen[bytes] | None = None
_owner = 0

_PROGRAM = """
import os, shutil, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
pids, folders = set(), set()
for line in sys.stdin:
    what, _, name = line.rstrip("\\n").partition(" ")
    if what == "+pid": pids.add(int(name))
    elif what == "-pid": pids.discard(int(name))
    elif what == "+folder": folders.add(name)
    elif what == "-folder": folders.discard(name)
for pid in pids:
    try: os.kill(pid, signal.SIGKILL)
    except OSError: pass
for folder in folders: shutil.rmtree(folder, ignore_errors=True)
"""


_watched: set[int] = set()


def watched() -> set[int]:
    """The servers of this process that run, and the guardian."""
    return _watched | ({_guardian.pid} if _guardian is not None else set())


def watch_process(pid: int) -> None:
    """Kill this process when we are gone."""
    _watched.add(pid)
    _tell(f"+pid {pid}")


def forget_process(pid: int) -> None:
    """It has ended, and its number may be another's soon."""
    _watched.discard(pid)
    _tell(f"-pid {pid}")


def watch_folder(folder: str) -> None:
    """Remove this folder when we are gone."""
    _tell(f"+folder {folder}")


def forget_folder(folder: str) -> None:
    """It is removed already."""
    _tell(f"-folder {folder}")


def _tell(line: str) -> None:
    with _LOCK:
        pipe = _start().stdin
        assert pipe is not None
        pipe.write(line.encode() + b"\n")
        pipe.flush()


def _start() -> subprocess.Popen[bytes]:
    global _guardian, _owner
    if _guardian is None or _owner != os.getpid():
        _owner = os.getpid()
        _guardian = subprocess.Popen(  # noqa: S603  our own interpreter and text
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    return _guardian


@atexit.register
def _end() -> None:
    """Let the guardian see to what is left, and wait for it."""
    if _guardian is not None and _owner == os.getpid():
        assert _guardian.stdin is not None
        _guardian.stdin.close()
        _guardian.wait()
