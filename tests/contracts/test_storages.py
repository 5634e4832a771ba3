"""The storage contract over every registered storage, and what is the file system's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.base.errors import BlobMissing, StoreUnavailable
from gristmill.ports.storage import ObjectStore
from gristmill.storages import STORAGES
from gristmill.storages.files import FileStore
from gristmill.storages.memory import MemoryStore
from gristmill.testing.clock import FakeClock
from gristmill.testing.storages import StorageContract


def test_every_registered_storage_is_held_to_the_contract() -> None:
    assert STORAGES.names() == ["files", "memory"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


class TestFiles(StorageContract):
    @pytest.fixture(params=[True, False], ids=["durable", "quick"])
    def store(self, root: Path, request: pytest.FixtureRequest) -> ObjectStore:
        return FileStore(root, durable=request.param)


class TestMemory(StorageContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryStore()


def everything(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


DYING = """
import os, signal, sys
from pathlib import Path
from gristmill.storages.files import FileStore
step = sys.argv[2]
real = getattr(os, step)
def dying(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, step, dying)
FileStore(Path(sys.argv[1])).put("a/b", b"new" * 100_000)
"""


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("before", [b"", b"old"])
def test_a_put_that_is_killed_leaves_the_old_object_or_none(root: Path, step: str, before: bytes) -> None:
    clock = FakeClock()
    store = FileStore(root, clock=clock)
    if before:
        store.put("a/b", before)
    killed = subprocess.run([sys.executable, "-c", DYING, str(root), step], check=False)
    assert killed.returncode == -signal.SIGKILL
    if before:
        assert store.get("a/b") == before
    else:
        with pytest.raises(BlobMissing):
            store.get("a/b")
    assert len(everything(root)) == 1 + bool(before)  # what is left over is no object,
    assert list(store.keys()) == ["a/b"] * bool(before)
    store.put("a/b", b"after")  # and in nobody's way
    assert list(store.keys("a/")) == ["a/b"]
    for name in root.rglob(".put-*"):
        os.utime(name, (clock.now() - 3601, clock.now() - 3601))
    assert list(store.keys("a/")) == ["a/b"]  # an hour later it goes
    assert everything(root) == ["b"]


def test_a_put_in_progress_is_not_taken_for_a_left_over(root: Path) -> None:
    clock = FakeClock()
    store = FileStore(root, clock=clock)
    store.put("a/b", b"x")
    young = root / "a" / ".put-young"
    young.touch()
    os.utime(young, (clock.now() - 60, clock.now() - 60))
    assert list(store.keys()) == ["a/b"]
    assert young.exists()


@pytest.mark.parametrize("durable", [True, False])
def test_a_put_that_fails_cleans_up_and_keeps_the_old_object(
    root: Path, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(root, durable=durable)
    store.put("a/b", b"old")

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.put("a/b", b"new")
    assert store.get("a/b") == b"old"
    assert everything(root) == ["b"]


def test_a_durable_put_syncs_the_file_and_every_new_folder_and_a_quick_one_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", fsync)
    FileStore(root, durable=True).put("t/ab/x", b"x")
    assert synced[0].startswith(".put-")
    assert set(synced[1:]) == {"ab", "t", "blobs", root.parent.name}
    synced.clear()
    FileStore(root, durable=True).put("t/ab/y", b"x")
    assert synced[1:] == ["ab"]
    synced.clear()
    FileStore(root, durable=False).put("t/cd/x", b"x")
    assert synced == []


if not sys.platform.startswith("linux"):
    del test_a_durable_put_syncs_the_file_and_every_new_folder_and_a_quick_one_nothing


UNREACHABLE: dict[str, Callable[[ObjectStore], object]] = {
    "get": lambda store: store.get("a/b"),
    "exists": lambda store: store.exists("a/b"),
    "put": lambda store: store.put("a/b", b"x"),
    "delete": lambda store: store.delete("a/b"),
    "keys": lambda store: list(store.keys("a/")),
}


@pytest.mark.parametrize("use", UNREACHABLE)
def test_what_cannot_be_reached_is_not_taken_for_absent(root: Path, use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that answers every call with an input/output error."""
    store = FileStore(root)
    store.put("a/b", b"x")

    def broken(*args: object, **options: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("stat", "open", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, broken)
    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        UNREACHABLE[use](store)


def test_strange_files_are_no_objects(root: Path) -> None:
    store = FileStore(root)
    store.put("a/b", b"x")
    for name in ("no object.txt", ".hidden", "名"):
        (root / name).touch()
    assert list(store.keys()) == ["a/b"]


def test_a_storage_may_be_moved(root: Path, tmp_path: Path) -> None:
    FileStore(root).put("a/b", b"x")
    moved = Path(shutil.move(root, tmp_path / "elsewhere"))
    assert FileStore(moved).get("a/b") == b"x"
