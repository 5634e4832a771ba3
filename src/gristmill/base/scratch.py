"""Folders for the length of one step. A process that is killed leaves its own behind: those are found by name, lock and age."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "gristmill-scratch-"


class Scratch(tempfile.TemporaryDirectory[str]):
    """A folder that no other user can look into, locked for as long as its process lives."""

    def __init__(self, above: str | None = None) -> None:
        super().__init__(prefix=PREFIX, dir=above)
        self._held = os.open(self.name, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # a file system without locks: its age has to do
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def cleanup(self) -> None:
        """Remove it. What is gone already is no trouble."""
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)
        super().cleanup()


def scratch(above: str | None = None) -> Scratch:
    """A folder of one's own, gone at the end of the block. ``above``: where it is made, if not where temporary files belong."""
    return Scratch(above)


def sweep_scratch(*, before: float) -> int:
    """Remove those of dead processes that nobody has changed since the moment ``before`` (seconds since the epoch).

    Returns how many. Only folders of our own user are touched, and links are not followed. Safe in any number of processes
    at once. ``before`` has to be some seconds ago: a folder is made first, and locked then.
    """
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            found = path.lstat()
        except OSError:  # another one was faster
            continue
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if ours and found.st_mtime < before and _is_left(path):
            shutil.rmtree(path, ignore_errors=True)
            removed += not path.exists()
    return removed


def _is_left(path: Path) -> bool:
    """Whether no process holds it any more."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    finally:
        os.close(folder)
    return True
