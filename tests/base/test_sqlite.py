"""Which SQLite is used, and that writers wait for each other instead of failing."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gristmill.base import sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "x.db"


@pytest.fixture
def connection(path: Path) -> Iterator[Any]:
    made = sqlite.connect(path)
    made.execute("CREATE TABLE t (a INTEGER)")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 4), False),
        ((4, 0, 0), False),
    ],
)
def test_releases_that_may_corrupt_a_database_are_known(version: tuple[int, ...], affected: bool) -> None:
    assert sqlite.affected(version) is affected


def test_the_driver_is_one_without_the_bug_or_says_so(caplog: pytest.LogCaptureFixture) -> None:
    module = sqlite.driver()
    assert module is sqlite3 or not sqlite.affected(module.sqlite_version_info)
    assert sqlite.driver() is module


def test_without_pysqlite3_the_standard_library_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert sqlite.driver.__wrapped__() is sqlite3


def test_a_connection_is_set_up_for_several_processes(connection: Any, path: Path) -> None:
    def value(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert value("journal_mode") == "wal"
    assert value("synchronous") == 1  # NORMAL: a power cut may take the last commits, never consistency
    assert value("busy_timeout") == 30_000
    assert value("foreign_keys") == 1
    assert connection.isolation_level is None
    assert path.exists()


def test_what_is_written_is_there_after_the_block_and_not_after_an_error(connection: Any, path: Path) -> None:
    other = sqlite.connect(path)
    with sqlite.writing(connection) as same:
        same.execute("INSERT INTO t VALUES (1)")
        assert same is connection
        assert other.execute("SELECT * FROM t").fetchall() == []
    with pytest.raises(KeyboardInterrupt), sqlite.writing(connection):  # noqa: PT012
        connection.execute("INSERT INTO t VALUES (2)")
        raise KeyboardInterrupt
    assert other.execute("SELECT * FROM t").fetchall() == [(1,)]
    with sqlite.writing(other):  # the lock was given back
        other.execute("INSERT INTO t VALUES (3)")
    other.close()


def test_writers_that_read_first_wait_and_never_fail(connection: Any, path: Path) -> None:
    """A transaction that begins as a reader fails at its first write when another one was faster, without waiting."""
    connection.execute("INSERT INTO t VALUES (0)")

    def count_up(_: int) -> None:
        mine = sqlite.connect(path)
        for _ in range(50):
            with sqlite.writing(mine):
                [(before,)] = mine.execute("SELECT a FROM t").fetchall()
                mine.execute("UPDATE t SET a = ?", (before + 1,))
        mine.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(4)))
    assert connection.execute("SELECT a FROM t").fetchall() == [(200,)]


def test_readers_do_not_wait_for_a_writer(connection: Any, path: Path) -> None:
    reader = sqlite.connect(path)
    reader.execute("PRAGMA busy_timeout=0")
    with sqlite.writing(connection):
        connection.execute("INSERT INTO t VALUES (1)")
        assert reader.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
    reader.close()
