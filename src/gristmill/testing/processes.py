"""Looking at processes from tests: who is a child of whom, and is it gone."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import psutil


def children(pid: int | None = None) -> set[int]:
    """The living descendants of a process (default: this one); a zombie is not alive."""
    found = set()
    for child in psutil.Process(pid).children(recursive=True):
        if alive(child.pid):
            found.add(child.pid)
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
