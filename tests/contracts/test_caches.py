"""The cache contract over every registered stage cache, and what is SQLite's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.base import sqlite
from gristmill.base.errors import StoreUnavailable
from gristmill.catalogs import CACHES
from gristmill.catalogs.cache import SqlCache
from gristmill.ports.cache import StageCache
from gristmill.testing.caches import CacheContract


def test_every_registered_cache_is_held_to_the_contract() -> None:
    assert CACHES.names() == ["sqlite"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache.db"


@pytest.fixture
def cache(path: Path) -> Iterator[StageCache]:
    made: Any = CACHES.load("sqlite")
    cache: StageCache = made(path)
    yield cache
    cache.close()


class TestSqlite(CacheContract):
    @pytest.fixture
    def cache(self, cache: StageCache) -> StageCache:
        return cache


@pytest.mark.parametrize("opened", [True, False], ids=["while it is open", "before it is opened"])
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(
    cache: StageCache, path: Path, opened: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put_many("vector", {f"k{n}": b"x" * 2000 for n in range(50)})
    cache.close()
    path.write_bytes(b"this is no database" * 1000)
    if opened:
        (path.parent / "cache.db-wal").write_bytes(b"of the old one")
    assert cache.get_many("vector", ["k1"]) == {}
    cache.put_many("vector", {"k1": b"new"})
    assert cache.get_many("vector", ["k1"]) == {"k1": b"new"}
    assert (path.parent / "cache.damaged").read_bytes().startswith(b"this is no database")


def test_a_locked_cache_is_unavailable_and_not_thrown_away(
    cache: StageCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PRAGMAS", tuple(p.replace("=30000", "=1") for p in sqlite.PRAGMAS))
    cache.put_many("vector", {"a": b"x"})
    other = sqlite.connect(path)
    with sqlite.writing(other), pytest.raises(StoreUnavailable, match="locked"):
        cache.put_many("vector", {"b": b"y"})
    other.close()
    assert cache.get_many("vector", ["a", "b"]) == {"a": b"x"}


PUTTING = """
import sys
from pathlib import Path
from gristmill.catalogs.cache import SqlCache
sys.stdin.readline()
cache = SqlCache(Path(sys.argv[1]))
for number in range(50):
    cache.put_many("vector", {f"{sys.argv[2]}:{number}": b"x" * 100, "same": b"y" * 100})
    cache.evict(max_bytes=1_000_000)
cache.close()
"""


def test_processes_that_begin_a_cache_at_once_share_it(cache: StageCache, path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", PUTTING, str(path), str(n)], stdin=subprocess.PIPE) for n in range(3)
    ]
    for one in processes:
        one.communicate(b"\n", timeout=60)
    assert [one.returncode for one in processes] == [0, 0, 0]
    keys = [f"{worker}:{n}" for worker in range(3) for n in range(50)]
    assert len(cache.get_many("vector", [*keys, "same"])) == 151
    assert cache.evict(max_bytes=151 * 100) == 0
    assert cache.evict(max_bytes=151 * 100 - 1) == 1


def test_what_is_held_is_counted_and_not_added_up(cache: StageCache, path: Path) -> None:
    """Adding up would read gigabytes at every sweep."""
    assert isinstance(cache, SqlCache)
    cache.put_many("vector", {"a": b"x" * 100, "b": b"y" * 50})
    cache.evict(max_bytes=60)
    connection = sqlite.connect(path)
    assert connection.execute("SELECT bytes, (SELECT sum(length(value)) FROM result) FROM held").fetchall() == [
        (50, 50)
    ]
    connection.close()
