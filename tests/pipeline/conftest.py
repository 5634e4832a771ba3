"""A fresh home for each test; its catalog is migrated once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.catalogs.sql.catalog import SqlCatalog
from gristmill.testing.clock import FakeClock
from pipeline.home import Home


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "catalog.db"
    SqlCatalog(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def home(tmp_path: Path, migrated: Path, clock: FakeClock) -> Iterator[Home]:
    (tmp_path / "home").mkdir()
    shutil.copy(migrated, tmp_path / "home" / "catalog.db")
    home = Home(tmp_path, clock)
    yield home
    home.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
