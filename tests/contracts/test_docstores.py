"""The doc store contract over every registered doc store and the fake one, and what is SQLite's own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gristmill.base import sqlite
from gristmill.base.errors import Conflict, StoreUnavailable
from gristmill.docstores import DOCSTORES
from gristmill.docstores.sqlite import SqliteDocStore
from gristmill.docstores.sqlite import store as rooms
from gristmill.ports.docstore import DocStore, Filter, Record, Space, View
from gristmill.ports.document import Box
from gristmill.testing.docstores import (
    ALL,
    EAST,
    NO_FILTER,
    SPACE,
    DocStoreContract,
    ParallelDocStoreContract,
    a_record,
    contents,
    found_by_vector,
    found_by_words,
    records_of,
)
from gristmill.testing.fakes import FakeDocStore


def test_every_registered_doc_store_is_held_to_the_contract() -> None:
    assert DOCSTORES.names() == ["sqlite"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocStore]:
    made: Any = DOCSTORES.load("sqlite")
    store: DocStore = made(tmp_path / "kb")
    yield store
    store.close()


class Sqlite:
    @pytest.fixture
    def store(self, store: DocStore) -> DocStore:
        return store


class TestSqlite(Sqlite, DocStoreContract): ...


class TestSqliteInParallel(Sqlite, ParallelDocStoreContract): ...


class TestFake(DocStoreContract):
    many = 50

    @pytest.fixture
    def store(self) -> DocStore:
        return FakeDocStore()


# -- several processes

WRITING = """
import sys
from pathlib import Path
from gristmill.docstores.sqlite import SqliteDocStore
from gristmill.testing.docstores import SPACE, records_of
store = SqliteDocStore(Path(sys.argv[1]))
size, rounds = int(sys.argv[2]), int(sys.argv[3])
for gen in range(1, rounds + 1):
    store.write(SPACE, records_of(size, gen=gen))
    if gen > 1:
        while store.sweep(SPACE, [gen - 1], size):
            pass
    print(gen, flush=True)
store.close()
"""


def test_a_reader_never_sees_half_of_what_another_process_writes(store: DocStore, tmp_path: Path) -> None:
    size, rounds = 20, 40
    command = [sys.executable, "-c", WRITING, str(tmp_path / "kb"), str(size), str(rounds)]
    looks, last = 0, 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            last = int(line)
            for seen in (
                len(store.chunks(SPACE, ALL, "doc")),
                len(store.find_vector(SPACE, ALL, EAST, size * 3, NO_FILTER)),
                len(store.find_terms(SPACE, ALL, ["text"], size * 3, NO_FILTER)),
            ):
                assert seen % size == 0
                looks += seen > 0
    assert (writer.returncode, last, contents(store)[-1]) == (0, rounds, f"text {rounds} 0 {size - 1}")
    assert looks > 0
    assert store.generations(SPACE) == {rounds: size}
    assert len(found_by_vector(store, EAST, limit=size * 3)) == size
    assert store.check(SPACE) == []


def test_a_reader_sees_one_state_from_its_first_question_to_its_last(store: DocStore) -> None:
    assert isinstance(store, SqliteDocStore)
    store.write(SPACE, records_of(3))
    count = "SELECT count(*) FROM chunk"
    with store._room(SPACE).reading() as connection:
        assert connection.execute(count).fetchall() == [(3,)]
        store.write(SPACE, records_of(5))
        assert connection.execute(count).fetchall() == [(3,)]
    with store._room(SPACE).reading() as connection:
        assert connection.execute(count).fetchall() == [(5,)]


# -- files and rooms


@pytest.mark.parametrize("name", ["../x", "..", "", "a/b", "a\\b", "C:", "x" * 129, "名前", "a.b", "a b", "a\0b"])
def test_names_that_are_no_ids_are_refused_before_any_file_is_touched(
    store: DocStore, tmp_path: Path, name: str
) -> None:
    for space in (Space(name, "d", 4), Space("t", name, 4)):
        for use in (
            lambda space=space: store.write(space, [a_record("x")]),
            lambda space=space: store.generations(space),
            lambda space=space: store.drop(space),
        ):
            with pytest.raises(ValueError, match="is not an id"):
                use()
    assert list(tmp_path.iterdir()) == []


def test_strange_files_are_no_rooms(store: DocStore, tmp_path: Path) -> None:
    store.write(SPACE, [a_record("x")])
    for name in ("t/no room.db", "t/d.db-journal", "no tenant/x.db", "x.db"):
        (tmp_path / "kb" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "kb" / name).touch()
    assert store.spaces() == [("t", "d")]


def test_more_rooms_than_are_kept_open_all_answer(store: DocStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MOST_ROOMS", 3)
    spaces = [Space("t", f"d{n}", 4) for n in range(8)]
    for space in spaces:
        store.write(space, [a_record(space.dataset_id)])
    for space in [*spaces, *spaces]:
        [hit] = store.find_vector(space, ALL, EAST, 5, NO_FILTER)
        assert store.get(space, [hit.rid])[hit.rid].content == space.dataset_id
    assert isinstance(store, SqliteDocStore)
    assert len(store._rooms) == 3


def test_vectors_in_memory_keep_a_budget(tmp_path: Path) -> None:
    store = SqliteDocStore(tmp_path, most_bytes=2500)
    spaces = [Space("t", f"d{n}", 4) for n in range(6)]
    for space in spaces:
        store.write(space, records_of(50))
        assert len(store.find_vector(space, ALL, EAST, 99, NO_FILTER)) == 50
    assert 0 < sum(room.held for room in store._rooms.values()) <= 2 * 2500
    for space in spaces:
        assert len(store.find_vector(space, ALL, EAST, 99, NO_FILTER)) == 50
    store.close()


def test_a_file_of_a_newer_release_is_refused(store: DocStore, tmp_path: Path) -> None:
    store.write(SPACE, [a_record("x")])
    store.close()
    connection = sqlite.connect(tmp_path / "kb" / "t" / "d.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Conflict, match="newer release"):
        store.generations(SPACE)


def test_a_file_that_is_no_database_is_an_unavailable_store(store: DocStore, tmp_path: Path) -> None:
    path = tmp_path / "kb" / "t" / "d.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database" * 100)
    for use in (
        lambda: store.generations(SPACE),
        lambda: store.check(SPACE),
        lambda: store.write(SPACE, [a_record("x")]),
    ):
        with pytest.raises(StoreUnavailable, match=r"d\.db"):
            use()


# -- older files

# What version 1 made, and a chunk as it wrote it.
FIRST = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE chunk(
        rid INTEGER PRIMARY KEY AUTOINCREMENT, gen INTEGER NOT NULL, part INTEGER NOT NULL, ord INTEGER NOT NULL,
        base_id TEXT NOT NULL, chunk_id TEXT NOT NULL, document_id TEXT NOT NULL, kind TEXT NOT NULL,
        tags TEXT NOT NULL, available INTEGER NOT NULL, tokens INTEGER NOT NULL, created REAL NOT NULL,
        UNIQUE(gen, part, ord))""",
    "CREATE INDEX chunk_document ON chunk(document_id, gen, part, ord)",
    "CREATE INDEX chunk_unavailable ON chunk(rid) WHERE available = 0",
    "CREATE TABLE body(rid INTEGER PRIMARY KEY, content TEXT NOT NULL, rest BLOB NOT NULL)",
    "CREATE TABLE vec(rid INTEGER PRIMARY KEY, v BLOB NOT NULL)",
    """CREATE VIRTUAL TABLE fts USING fts5(title, toks, important, questions, content='', contentless_delete=1,
        tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* P* S* Co Cs Cn Cf'")""",
    "CREATE VIRTUAL TABLE vocab USING fts5vocab(fts, 'row')",
    "INSERT INTO meta VALUES ('removed', 0)",
    """CREATE TRIGGER chunk_gone AFTER DELETE ON chunk BEGIN
        DELETE FROM fts WHERE rowid = OLD.rid; DELETE FROM vec WHERE rid = OLD.rid; DELETE FROM body WHERE rid = OLD.rid;
        UPDATE meta SET value = value + 1 WHERE key = 'removed'; END""",
    "INSERT INTO meta VALUES ('dim', 4)",
    "INSERT INTO chunk VALUES (1, 1, 0, 0, 'ab', 'ab', 'doc', 'table', '[\"x\"]', 1, 2, 1.5)",
    "INSERT INTO fts(rowid, title, toks, important, questions) VALUES (1, 'a', 'old words', '', '')",
    "PRAGMA user_version=1",
)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    path = tmp_path / "kb" / "t" / "d.db"
    path.parent.mkdir(parents=True)
    connection = sqlite.connect(path)
    for statement in FIRST:
        connection.execute(statement)
    rest = ["a.md", [2, 3], [[2, 0.5, 1, 2, 3]], ["Top"], "p1", ["k"], ["why?"]]
    connection.execute("INSERT INTO body VALUES (1, 'old words', ?)", (msgspec.msgpack.encode(rest),))
    connection.execute("INSERT INTO vec VALUES (1, ?)", (EAST,))
    connection.close()
    return path


def test_a_file_of_the_first_version_goes_on_with_all_that_is_in_it(store: DocStore, older: Path) -> None:
    [found] = store.chunks(SPACE, ALL, "doc")
    assert found == Record(
        gen=1, part=0, ord=0, chunk_id="ab", document_id="doc", document="a.md", content="old words", vector=b"", tokens=2,
        kind="table", pages=[2, 3], boxes=[Box(2, 0.5, 1, 2, 3)], path=["Top"], asset="p1", keywords=["k"],
        questions=["why?"], tags=["x"], created=1.5,
    )  # fmt: skip
    assert store.check(SPACE) == []
    assert found_by_words(store, "old", where=Filter(pages=((3, 3),))) == found_by_vector(store, EAST) == ["old words"]
    assert found_by_words(store, "old", where=Filter(pages=((1, 1),))) == []
    assert [one.content for one in store.named(SPACE, ALL, "a")] == ["old words"]
    store.write(SPACE, [a_record("new words", ord=1, parent=0, fields={"n_long": 1})])
    assert store.chunks(SPACE, ALL, "doc")[1].parent_id == "ab"
    assert store.sweep(SPACE, [1]) == 2
    assert store.check(SPACE) == []


def test_an_older_file_becomes_what_a_new_one_is(store: DocStore, older: Path, tmp_path: Path) -> None:
    other = Space("t", "new", 4)
    store.write(other, [a_record("x")])
    assert store.generations(SPACE) == {1: 1}
    store.close()
    assert shape(older) == shape(tmp_path / "kb" / "t" / "new.db")


def shape(path: Path) -> set[tuple[str, ...]]:
    """Every table with its columns, every index and trigger."""
    plain = sqlite3.connect(path)
    names = plain.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
    tables = [name for kind, name, _ in names if kind == "table" and name not in ("fts", "vocab")]
    columns = {(table, *map(str, row)) for table in tables for row in plain.execute(f"PRAGMA table_info({table})")}
    plain.close()
    return set(names) | columns


def test_two_processes_bring_an_older_file_up_to_date_once(older: Path, tmp_path: Path) -> None:
    stores = [SqliteDocStore(tmp_path / "kb") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda store: store.generations(SPACE), stores)) == [{1: 1}] * 4
    assert stores[0].check(SPACE) == []
    for store in stores:
        store.close()


# -- damage

DAMAGES = {
    "chunks without a text": ("DELETE FROM body WHERE rid = 2", True),
    "chunks without a vector": ("DELETE FROM vec WHERE rid = 2", True),
    "chunks without an entry in the word index": ("DELETE FROM fts WHERE rowid = 2", True),
    "vectors of a wrong length": ("UPDATE vec SET v = x'0000' WHERE rid = 2", True),
    "chunk ids that occur more than once": ("UPDATE chunk SET chunk_id = (SELECT chunk_id FROM chunk)", True),
    "chunks of 2 documents": ("UPDATE chunk SET document_id = 'z' WHERE rid = 2", True),
    "chunks without their parent": ("UPDATE chunk SET parent = 9 WHERE rid = 2", True),
    "rows of fields without a chunk": ("INSERT INTO field VALUES (99, '{}')", False),
    "texts without a chunk": ("INSERT INTO body VALUES (99, 'x', x'')", False),
    "vectors without a chunk": ("INSERT INTO vec VALUES (99, x'')", False),
    "entries in the word index without a chunk": ("INSERT INTO fts(rowid, toks) VALUES (99, 'x')", False),
    "the file is damaged: fts5": ("DELETE FROM fts_data WHERE id > 10", False),
    "the file is damaged: Tree": ("", False),
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_damage_is_named_with_its_document_and_generation(store: DocStore, tmp_path: Path, sentence: str) -> None:
    store.write(SPACE, records_of(3, gen=7))
    store.close()
    statement, inside = DAMAGES[sentence]
    path = tmp_path / "kb" / "t" / "d.db"
    planted(path, statement) if statement else scratched(path)
    found = [flaw for flaw in store.check(SPACE) if sentence in flaw.message]
    assert [(flaw.document_id, flaw.gen) for flaw in found] == [("doc", 7) if inside else ("", 0)], store.check(SPACE)


def test_a_chunk_that_goes_by_any_way_leaves_nothing_behind(store: DocStore, tmp_path: Path) -> None:
    store.write(SPACE, records_of(3))
    assert len(found_by_vector(store, EAST)) == 3
    planted(tmp_path / "kb" / "t" / "d.db", "DELETE FROM chunk WHERE ord = 1")
    assert store.check(SPACE) == []
    assert len(found_by_vector(store, EAST)) == len(found_by_words(store, "text")) == 2


def test_one_damaged_vector_does_not_hide_the_others(store: DocStore, tmp_path: Path) -> None:
    store.write(SPACE, records_of(3))
    planted(tmp_path / "kb" / "t" / "d.db", "UPDATE vec SET v = x'0000' WHERE rid = 2")
    assert found_by_vector(store, EAST) == ["text 1 0 0", "text 1 0 2"]
    assert set(store.score_vector(SPACE, EAST, [1, 2, 3])) == {1, 3}


def planted(path: Path, statement: str) -> None:
    connection = sqlite.driver().connect(str(path), isolation_level=None)
    connection.execute(statement).close()
    connection.close()


def scratched(path: Path) -> None:
    """A page in the middle of the file is overwritten."""
    plain = sqlite3.connect(path)
    [(page,)] = plain.execute("SELECT rootpage FROM sqlite_master WHERE name = 'vec'").fetchall()
    plain.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


# -- vectors in memory


def test_vectors_in_memory_follow_every_change(store: DocStore, tmp_path: Path) -> None:
    other = SqliteDocStore(tmp_path / "kb")
    for round_ in range(1, 6):
        other.write(SPACE, records_of(30, gen=round_))
        assert len(found_by_vector(store, EAST, limit=999)) == 30
        store.write(SPACE, records_of(10, gen=round_, part=1))
        assert len(found_by_vector(store, EAST, limit=999)) == len(found_by_vector(other, EAST, limit=999)) == 40
        while other.sweep(SPACE, [round_], 7):
            shown = found_by_vector(store, EAST, limit=999)
            assert sorted(shown) == sorted(contents(store))
    assert found_by_vector(store, EAST) == []
    other.close()


def test_vectors_of_swept_generations_are_not_kept_for_ever(store: DocStore) -> None:
    assert isinstance(store, SqliteDocStore)
    for gen in range(1, 30):
        store.write(SPACE, records_of(50, gen=gen))
        assert len(store.find_vector(SPACE, View(gen, frozenset()), EAST, 999, NO_FILTER)) == 50
        store.sweep(SPACE, [gen])
    [room] = store._rooms.values()
    assert room.held < 50 * 4 * 4 * 10
