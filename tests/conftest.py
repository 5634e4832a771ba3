"""For every test: real servers, started when first asked for, one of each for a test process; files kept in memory; logs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.base.logs import setup_logs
from servers.pool import ServerPool

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes that have to be free there


def pytest_configure() -> None:
    """Put temporary files into memory, where there is room: no test has the power cut, and a disk's fsync takes longer than
    most tests. ``TMPDIR`` says otherwise.
    """
    environ = os.environ  # noqa: TID251  the tests' own switch
    if "TMPDIR" not in environ and _fits(MEMORY):
        environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _fits(folder: Path) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC and shutil.disk_usage(folder).free >= ROOM


@pytest.fixture(autouse=True)
def _logs_as_they_are_set_up() -> Iterator[None]:
    """No level of the log is left by another test."""
    yield
    setup_logs("warning")


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerPool]:
    """All servers by name; a missing one skips the test that asks for it, and fails it in CI."""
    with ServerPool(must_have=bool(os.environ.get("CI"))) as pool:  # noqa: TID251  the tests' own switch
        yield pool


@pytest.fixture
def valkey_url(servers: ServerPool) -> str:
    """Valkey 9 with nothing in it."""
    return servers.fresh("valkey-9")


@pytest.fixture
def postgres_url(servers: ServerPool) -> str:
    """PostgreSQL with no row in it; tables of earlier tests may be there, migrated."""
    return servers.fresh("postgres")


@pytest.fixture
def mariadb_url(servers: ServerPool) -> str:
    """MariaDB with no row in it; tables of earlier tests may be there, migrated."""
    return servers.fresh("mariadb")
