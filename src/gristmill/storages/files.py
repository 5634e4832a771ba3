"""Objects as files under one folder. A put shows the whole object or nothing, also after a crash."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import BlobMissing, StoreUnavailable
from gristmill.base.ids import new_id
from gristmill.ports.storage import ObjectStore
from gristmill.storages.keys import checked, is_key

_TEMPORARY = ".put-"
_LEFT_OVER = 3600.0  # seconds after which an unfinished put is a crashed one
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_PIECE = 1024 * 1024


class FileStore(ObjectStore):
    """``durable``: wait until an object is on the disk before its put returns."""

    def __init__(self, root: Path, *, durable: bool = True, clock: Clock | None = None) -> None:
        self._root = root
        self._durable = durable
        self._clock = clock or SystemClock()

    def put(self, key: str, data: bytes) -> None:
        self._put(key, lambda file: file.write(data))

    def put_file(self, key: str, path: Path) -> None:
        with path.open("rb") as source:
            self._put(key, lambda file: shutil.copyfileobj(source, file, _PIECE))

    def get(self, key: str) -> bytes:
        with _named_errors(key):
            return self._path(key).read_bytes()

    def exists(self, key: str) -> bool:
        path = self._path(key)
        try:
            return stat.S_ISREG(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as exc:
            raise StoreUnavailable(f"object {key!r} cannot be looked for: {exc}") from exc

    def delete(self, key: str) -> None:
        with suppress(BlobMissing), _named_errors(key):
            self._path(key).unlink()

    def keys(self, prefix: str = "") -> Iterator[str]:
        inside, _, _ = prefix.rpartition("/")
        if inside and not is_key(inside):
            return
        for folder, _, names in os.walk(self._root / inside, onerror=_no_listing):
            above = Path(folder).relative_to(self._root).as_posix()
            for name in names:
                if name.startswith(_TEMPORARY):
                    self._remove_left_over(Path(folder, name))
                    continue
                key = name if above == "." else f"{above}/{name}"
                if key.startswith(prefix) and is_key(key):
                    yield key

    def _put(self, key: str, write: Callable[[BinaryIO], object]) -> None:
        path = self._path(key)
        temporary = path.with_name(_TEMPORARY + new_id())
        with _named_errors(key, absent=()):
            fresh = [folder for folder in path.parents if not folder.exists()] if self._durable else []
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    write(file)
                    if self._durable:
                        file.flush()
                        os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with suppress(FileNotFoundError):
                    temporary.unlink()
                raise
            if self._durable:
                for folder in (path.parent, *(one.parent for one in fresh)):
                    _sync_folder(folder)

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    def _remove_left_over(self, path: Path) -> None:
        """A put that died a while ago."""
        with suppress(FileNotFoundError):
            if self._clock.now() - path.stat().st_mtime > _LEFT_OVER:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_listing(exc: OSError) -> None:
    """A folder that is not there has no keys; one that cannot be read is no empty one."""
    if not isinstance(exc, FileNotFoundError | NotADirectoryError):
        raise StoreUnavailable(f"objects cannot be listed: {exc}") from exc


@contextmanager
def _named_errors(key: str, *, absent: tuple[type[OSError], ...] = _ABSENT) -> Iterator[None]:
    try:
        yield
    except absent as exc:
        raise BlobMissing(f"there is no object {key!r}") from exc
    except OSError as exc:
        raise StoreUnavailable(f"object {key!r} cannot be read or written: {exc}") from exc
