"""Which files a command is about."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gristmill.base.errors import SettingsError
from gristmill.pipeline.service import source_of


@dataclass(frozen=True)
class Found:
    """A file to ingest: its absolute path, the name to show, and how it looked. ``url``: where it was fetched from."""

    path: Path
    name: str
    size: int
    mtime_ns: int
    url: str = ""

    @property
    def source(self) -> str:
        """What the document is known by."""
        return self.url or source_of(self.path)


@dataclass(frozen=True)
class Skipped:
    """A path that is left out, and why."""

    path: Path
    reason: str


def is_url(given: str) -> bool:
    """Whether this is meant as a URL rather than as a path."""
    return given.lower().startswith(("http://", "https://"))


def check(paths: Sequence[Path]) -> None:
    """Raises SettingsError where a path does not exist."""
    for path in paths:
        if not os.path.lexists(path):
            raise SettingsError(f"{path}: there is no such file or folder")


def walk(paths: Sequence[Path], *, home: Path) -> Iterator[Found | Skipped]:
    """The files below these paths in order, each once.

    In folders, hidden entries, symlinks that leave the folder, our own ``home``, and what is no file (sockets, pipes) are
    skipped; a file named on the command line itself is taken whatever it is called.
    """
    seen: dict[str, Path] = {}
    named: set[Path] = set()
    for path in paths:
        for one in _at(path, home.resolve()):
            if one.path in named:
                continue
            named.add(one.path)
            first = seen.setdefault(os.path.realpath(one.path), one.path) if isinstance(one, Found) else one.path
            yield one if first == one.path else Skipped(one.path, f"the same file as {first}")


def _at(path: Path, home: Path) -> Iterator[Found | Skipped]:
    """What a path from the command line stands for. Paths are absolute and straight: they are a document's identity."""
    if path.is_dir():
        root = Path(os.path.realpath(path))
        yield from _below(root, root, home)
    else:
        yield _file(Path(os.path.realpath(path.parent), path.name), path.name)


def _below(folder: Path, root: Path, home: Path) -> Iterator[Found | Skipped]:
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
            yield from [Skipped(path, "the home of gristmill")] if path == home else _below(path, root, home)
        else:
            yield _file(path, path.relative_to(root).as_posix())


def _stays(link: Path, root: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(root)
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
