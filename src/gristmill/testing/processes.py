"""Looking at processes from tests: who is a child of whom, and is it gone."""

from __future__ import annotations

import psutil


def children(pid: int | None = None) -> set[int]:
    """The living descendants of a process (default: this one); a zombie is not alive."""
    found = set()
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found
