"""The catalog contract over every registered catalog, and what is SQLite's own: migrations, guards, second processes."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.base import sqlite
from gristmill.base.errors import Conflict, SettingsError, StoreUnavailable
from gristmill.catalogs import CATALOGS
from gristmill.ports.catalog import Catalog, GenState, RunState
from gristmill.testing.catalogs import PASSING, CatalogContract, a_dataset, brought_to
from gristmill.testing.clock import FakeClock
from gristmill.testing.generations import GenerationContract


def opened(path: Path, clock: FakeClock | None = None) -> Catalog:
    made: Any = CATALOGS.load("sqlite")
    catalog: Catalog = made(f"sqlite:///{path}", clock=clock)
    return catalog


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without rows: to be copied, for migrating takes its time."""
    path = tmp_path_factory.mktemp("catalog") / "empty.db"
    opened(path).close()
    return path


@pytest.fixture
def path(empty: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty, tmp_path / "catalog.db"))


class Sqlite:
    @pytest.fixture
    def catalog(self, path: Path, clock: FakeClock) -> Iterator[Catalog]:
        catalog = opened(path, clock)
        yield catalog
        catalog.close()


class TestSqliteDocuments(Sqlite, CatalogContract): ...


class TestSqliteGenerations(Sqlite, GenerationContract): ...


def test_every_registered_catalog_is_held_to_the_contract() -> None:
    assert CATALOGS.names() == ["mariadb", "mysql", "postgres", "postgresql", "sqlite"]


# -- migrations


OPENING = """
import sys
from gristmill.catalogs import CATALOGS
sys.stdin.readline()
catalog = CATALOGS.load("sqlite")("sqlite:///" + sys.argv[1])
print(catalog.create_dataset("t", "demo", embedder="e", dim=4, settings={}).id)
catalog.close()
"""


def test_processes_that_open_a_new_catalog_at_once_make_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "catalog.db"
    command = [sys.executable, "-c", OPENING, str(path)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for one in started:  # all have imported what they need, or nearly
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    told = [one.communicate(timeout=60) for one in started]
    assert [one.returncode for one in started] == [0] * 4, told
    assert len({out for out, _ in told}) == 1


def test_a_catalog_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(Conflict, match=r"newer release \(revision 0999.*install that release"):
        opened(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0999",)]
    connection.close()


def test_opening_a_catalog_waits_for_no_writer(path: Path) -> None:
    writer = sqlite.connect(path)
    with sqlite.writing(writer):
        opened(path).close()
    writer.close()


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "oracle://h/db", "no url", "mysql://h", "postgresql://h/db?sslmode=maybe"],
)
def test_a_url_that_names_no_database_is_a_setting_to_mend(url: str) -> None:
    made: Any = CATALOGS.load("sqlite")
    with pytest.raises(SettingsError, match=r"stores\.catalog"):
        made(url)


@pytest.mark.parametrize("damage", [b"this is no database", b""], ids=["garbage", "a folder"])
def test_a_file_that_is_no_database_is_an_unavailable_store(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(damage * 100) if damage else path.mkdir()
    with pytest.raises(StoreUnavailable, match="catalog"):
        opened(path)


# -- guards in the database itself


@pytest.fixture
def catalog(path: Path) -> Iterator[Catalog]:
    catalog = opened(path)
    yield catalog
    catalog.close()


@pytest.mark.parametrize("end", [RunState.DONE, RunState.FAILED, RunState.CANCELLED])
@pytest.mark.parametrize("later", list(RunState))
def test_the_database_itself_keeps_an_end_state(catalog: Catalog, path: Path, end: RunState, later: RunState) -> None:
    run = brought_to(catalog, a_dataset(catalog), end).run
    connection = sqlite.connect(path)
    step = ("UPDATE run SET state = ? WHERE id = ?", (later.value, run.id))
    if later is end:
        connection.execute(*step)
    else:
        with pytest.raises(sqlite.driver().IntegrityError, match="does not change"):
            connection.execute(*step)
    connection.close()
    assert catalog.run(run.id).state is end


LEGAL = {
    (GenState.PENDING, GenState.LIVE),
    (GenState.PENDING, GenState.DEAD),
    (GenState.LIVE, GenState.RETIRED),
}


@pytest.mark.parametrize("state", list(GenState))
@pytest.mark.parametrize("later", list(GenState))
def test_the_database_itself_knows_the_steps_of_a_generation(path: Path, state: GenState, later: GenState) -> None:
    connection = sqlite.connect(path)
    row = (state.value,)
    connection.execute("INSERT INTO generation VALUES (1, 'd', 'doc', 1, ?, 0, 0)", row)
    step = ("UPDATE generation SET state = ?", (later.value,))
    if state is later or (state, later) in LEGAL:
        connection.execute(*step)
    else:
        with pytest.raises(sqlite.driver().IntegrityError, match="no such step"):
            connection.execute(*step)
    connection.close()


@pytest.mark.parametrize("table", ["run", "generation"])
def test_the_database_itself_knows_no_other_states(path: Path, table: str) -> None:
    connection = sqlite.connect(path)
    rows = {
        "run": "'r','t','d','x',1,1,'','','','','lost',1,0,0,0,0,0,0,0,NULL",
        "generation": "1,'d','x',1,'lost',0,0",
    }
    with pytest.raises(sqlite.driver().IntegrityError, match="CHECK"):
        connection.execute(f"INSERT INTO {table} VALUES ({rows[table]})")
    connection.close()


def test_a_run_that_is_not_what_its_document_wants_cannot_commit(catalog: Catalog, path: Path) -> None:
    """A submit ends the run before it; this holds even where that did not happen."""
    made = brought_to(catalog, a_dataset(catalog), RunState.RUNNING)
    catalog.finish_part(made.run.id, 0, chunks=2, tokens=2, pages=1)
    planted(path, "UPDATE document SET want = want + 1")
    assert not catalog.writable(made.run.gen)
    assert not catalog.commit(made.run.id, chunks=2)
    assert catalog.run(made.run.id).state is RunState.CANCELLED
    assert catalog.generations(made.run.dataset_id) == {made.run.gen: GenState.DEAD}


def test_a_refused_step_is_a_conflict_with_the_reason(catalog: Catalog, path: Path) -> None:
    made = brought_to(catalog, a_dataset(catalog), RunState.RUNNING)
    connection = sqlite.connect(path)
    connection.execute("CREATE TRIGGER no BEFORE UPDATE ON run BEGIN SELECT RAISE(ABORT, 'not today'); END")
    connection.close()
    with pytest.raises(Conflict, match="not today"):
        catalog.fail(made.run.id, PASSING)


# -- damage is named


DAMAGES = {
    "shows generation 1, which is not live": "UPDATE generation SET state = 'retired' WHERE g = 1",
    "shows generation 77": "UPDATE document SET live = 77",
    "has 2 live generations": "INSERT INTO generation SELECT 9, dataset_id, document_id, 9, 'live', 2, 0 FROM generation",
    "its document x is not there": "INSERT INTO generation SELECT 9, dataset_id, 'x', 9, 'live', 2, 0 FROM generation",
    "but shows none": "UPDATE document SET live = NULL",
    "counts 5 chunks, its generation 2": "UPDATE document SET chunks = 5",
    "points to run": "DELETE FROM run",
    "is done, but nothing of run": "UPDATE document SET live = NULL",
    "belongs to dataset nowhere": "UPDATE document SET dataset_id = 'nowhere'",
    "no unfinished run of document": "INSERT INTO generation SELECT 9, dataset_id, 'x', 9, 'pending', 2, 0 FROM generation",
    "parts of run r9 are there": "INSERT INTO part SELECT 'r9', 0, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0",
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_damage_in_the_catalog_is_named(catalog: Catalog, path: Path, sentence: str) -> None:
    brought_to(catalog, a_dataset(catalog), RunState.DONE)
    planted(path, DAMAGES[sentence])
    assert any(sentence in flaw.message for flaw in catalog.check()), catalog.check()


OPEN_DAMAGES = {
    "is not pending": "UPDATE generation SET state = 'dead'",
    "is not its latest": "UPDATE document SET run_id = 'other'",
    "but they are not all there": "DELETE FROM part",
}


@pytest.mark.parametrize("sentence", OPEN_DAMAGES)
def test_damage_of_an_unfinished_run_is_named(catalog: Catalog, path: Path, sentence: str) -> None:
    made = brought_to(catalog, a_dataset(catalog), RunState.RUNNING)
    planted(path, OPEN_DAMAGES[sentence])
    found = [flaw for flaw in catalog.check() if sentence in flaw.message]
    assert [flaw.document_id for flaw in found] == [made.document.id]


def planted(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
