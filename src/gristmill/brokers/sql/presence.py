"""Who of this host's processes is still there: each holds a lock on a file of its own, which the kernel frees with it.

Not a guess and no clock: a lock that can be taken has no living holder. So what a killed process held is handed on at once
instead of after its lease. A process that is only stopped keeps its lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from gristmill.base.ids import new_id

LEFT_BEHIND = 3_600.0  # seconds; a file as young as that may be about to be locked


class Presence:
    """This process's lock in ``folder``, from entering to leaving."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.id = new_id()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._folder / self.id, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._sweep(os.fstat(self._fd).st_mtime - LEFT_BEHIND)
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._folder / self.id)
        os.close(self._fd)

    def gone(self, holders: Iterable[str]) -> list[str]:
        """Those whose process is not there any more. What they left is removed."""
        return [holder for holder in holders if holder and holder != self.id and self._is_gone(self._folder / holder)]

    def _sweep(self, before: float) -> None:
        """Remove what processes that were killed long ago left; nobody asks for one that held nothing."""
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    self._is_gone(path)

    def _is_gone(self, path: Path) -> bool:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(fd)


class Nobody:
    """Where no kernel sees all processes that share a database: nobody is known to be gone, leases decide."""

    id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def gone(self, holders: Iterable[str]) -> list[str]:
        """None."""
        return []
