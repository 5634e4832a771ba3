"""Hooks for workers that are to hang: at SIGWINCH the loop of such a worker stops turning for ever.

Unlike a stopped process it can still write its stacks, and its signals are heard by nobody, as in a body of C that holds the
main thread: ``Master(url, hooks="gristmill.testing.hang")``.
"""

from __future__ import annotations

import os
import signal
import threading

from gristmill.engine.worker import Worker

HANG = signal.SIGWINCH
SAID = "its loop hangs"


def post_fork(worker: Worker) -> None:
    """The hook of a worker that begins."""
    signal.signal(HANG, lambda *_: _hang())


def _hang() -> None:
    os.write(2, b'{"event": "%s"}\n' % SAID.encode())
    threading.Event().wait()
