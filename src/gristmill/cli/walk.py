"""Which files a command is about."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gristmill.base.errors import SettingsError


@dataclass(frozen=True)
class Found:
    """A file to ingest: its absolute path, the name to show, and how it looked."""

    path: Path
    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Skipped:
    """A path that is left out, and why."""

    path: Path
    reason: str


def walk(paths: Sequence[Path]) -> Iterator[Found | Skipped]:
    """The files below these paths in order, each once. Raises SettingsError where a path does not exist.

    In folders, hidden entries, symlinks that leave the folder, and what is no file (sockets, pipes) are skipped; a file
    named on the command line itself is taken whatever it is called.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise SettingsError(f"{path}: there is no such file or folder")
    seen: set[tuple[int, int]] = set()
    for path in paths:
        root = path.absolute()
        for one in _below(root, root) if root.is_dir() else [_file(root, root.name)]:
            if isinstance(one, Found):
                status = one.path.stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            yield one


def _below(folder: Path, root: Path) -> Iterator[Found | Skipped]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as exc:
        yield Skipped(folder, f"the folder cannot be read: {exc.strerror}")
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield Skipped(path, "hidden")
        elif entry.is_symlink() and not _stays(path, root):
            yield Skipped(path, "a symlink that leaves the folder")
        elif entry.is_symlink() and path.is_dir():
            yield Skipped(path, "a symlink to a folder")
        elif entry.is_dir(follow_symlinks=False):
            yield from _below(path, root)
        else:
            yield _file(path, path.relative_to(root).as_posix())


def _stays(link: Path, root: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # broken, or a ring
        return False


def _file(path: Path, name: str) -> Found | Skipped:
    try:
        status = path.stat()
    except OSError as exc:
        return Skipped(path, f"cannot be read: {exc.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path, "no ordinary file")
    if not os.access(path, os.R_OK):
        return Skipped(path, "cannot be read: permission denied")
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    return Found(path, shown, status.st_size, status.st_mtime_ns)
