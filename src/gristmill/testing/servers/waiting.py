"""Waiting for what a server does and tells nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gristmill.testing.servers.process import PATIENCE, ServerFailed

_POLL = 0.02


def until(condition: Callable[[], bool], failure: str) -> None:
    """Return when it is so; raise ``ServerFailed`` with this text if it never is."""
    never = threading.Event()
    for _ in range(int(PATIENCE / _POLL)):
        if condition():
            return
        never.wait(_POLL)
    raise ServerFailed(f"{failure} within {PATIENCE:g} s")
