"""Looking at processes from tests: who is a child of whom, and is it gone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio
import psutil

from gristmill.testing import guardian


def children(pid: int | None = None) -> set[int]:
    """The living descendants of a process (default: this one); a zombie is not alive, a test server is no child."""
    found: set[int] = set()
    for child in psutil.Process(pid).children():
        if child.pid in guardian.watched() or not alive(child.pid):
            continue
        found.add(child.pid)
        with suppress(psutil.NoSuchProcess):
            found |= children(child.pid)
    return found


def alive(pid: int) -> bool:
    """Whether this process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def settles(condition: Callable[[], bool], *, timeout: float = 60.0) -> None:
    """Return when it is so. For what the system does and tells nobody: a process that goes, a file that grows."""
    with anyio.fail_after(timeout):
        while not condition():  # noqa: ASYNC110  nobody there would set an event
            await anyio.sleep(0.005)
