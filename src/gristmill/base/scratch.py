"""Folders for the length of one step. A process that is killed leaves its own behind: those are found by name and age."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "gristmill-scratch-"


def scratch(above: str | None = None) -> tempfile.TemporaryDirectory[str]:
    """A folder of one's own, which no other user can look into, gone at the end of the block.

    ``above``: where it is made, if not where temporary files belong.
    """
    return tempfile.TemporaryDirectory(prefix=PREFIX, dir=above)


def sweep_scratch(*, before: float) -> int:
    """Remove those that nobody has changed since the moment ``before`` (seconds since the epoch). Returns how many.

    Only folders of our own user are touched, and links are not followed. Safe in any number of processes at once.
    """
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            found = path.lstat()
        except OSError:  # another one was faster
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mtime < before:
            shutil.rmtree(path, ignore_errors=True)
            removed += not path.exists()
    return removed
