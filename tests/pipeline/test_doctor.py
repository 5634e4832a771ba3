"""The examiner names every planted damage, nothing else, and its remedy mends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from gristmill.base import sqlite
from gristmill.cli.main import cli
from gristmill.pipeline import stages
from gristmill.pipeline.doctor import REBUILT, RESTORED, SWEPT, Damage, examine
from gristmill.pipeline.work import blob_key
from gristmill.ports.catalog import Document, RunState
from gristmill.ports.docstore import Space
from gristmill.testing.docstores import records_of
from pipeline.home import SMALL, TENANT, Home, paragraphs, pdf

pytestmark = pytest.mark.anyio
ZEROS = b"\0" * 384 * 4


def in_store(home: Home, *statements: str) -> None:
    """Change the dataset's file behind everybody's back."""
    _changed(home.root / "home" / "kb" / TENANT / f"{home.dataset.id}.db", statements)


def in_catalog(home: Home, *statements: str) -> None:
    _changed(home.root / "home" / "catalog.db", statements)


def _changed(path: Path, statements: tuple[str, ...]) -> None:
    connection = sqlite.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@dataclass(frozen=True)
class Plant:
    """A damage to plant into a home whose document ``a`` is generation 1, and what is to be said of it."""

    plant: Callable[[Home, Document], None]
    kind: str
    words: str
    remedy: str  # "retry", or what it says


PLANTS = {
    "a chunk is deleted": Plant(
        lambda home, a: in_store(home, "DELETE FROM chunk WHERE gen = 1 AND ord = 2"),
        "chunks",
        "5 chunks were committed, 4 are stored",
        "retry",
    ),
    "all chunks are deleted": Plant(
        lambda home, a: in_store(home, "DELETE FROM chunk WHERE gen = 1"),
        "chunks",
        "5 chunks were committed, 0 are stored",
        "retry",
    ),
    "a vector is deleted": Plant(
        lambda home, a: in_store(home, "DELETE FROM vec WHERE rid = 2"),
        "docstore",
        "1 chunks without a vector",
        "retry",
    ),
    "a vector is cut": Plant(
        lambda home, a: in_store(home, "UPDATE vec SET v = x'00' WHERE rid = 2"),
        "docstore",
        "1 vectors of a wrong length",
        "retry",
    ),
    "a text is deleted": Plant(
        lambda home, a: in_store(home, "DELETE FROM body WHERE rid = 2"), "docstore", "1 chunks without a text", "retry"
    ),
    "an entry of the word index is deleted": Plant(
        lambda home, a: in_store(home, "DELETE FROM fts WHERE rowid = 2"),
        "docstore",
        "1 chunks without an entry in the word index",
        "retry",
    ),
    "a chunk id is doubled": Plant(
        lambda home, a: in_store(
            home, "UPDATE chunk SET chunk_id = (SELECT chunk_id FROM chunk WHERE rid = 1) WHERE rid = 2"
        ),
        "docstore",
        "1 chunk ids that occur more than once",
        "retry",
    ),
    "a chunk is there twice": Plant(
        lambda home, a: home.ports.docstore.write(home.space, [_copy(home, a, gen=1, ord=99)]),
        "docstore",
        "1 chunk ids that occur more than once",
        "retry",
    ),
    "a chunk of another document is in the generation": Plant(
        lambda home, a: in_store(home, "UPDATE chunk SET document_id = 'z' WHERE rid = 2"),
        "docstore",
        "chunks of 2 documents in one generation",
        "retry",
    ),
    "the generation is another document's": Plant(
        lambda home, a: in_store(
            home,
            "UPDATE chunk SET document_id = (SELECT max(document_id) FROM chunk WHERE gen = 2) WHERE gen = 1",
        ),
        "mixed",
        "readers see chunks of generation 1, which is of document",
        "retry",
    ),
    "the count of the generation is wrong": Plant(
        lambda home, a: in_catalog(
            home,
            "UPDATE generation SET chunks = 9 WHERE g = 1",
            "UPDATE document SET chunks = 9 WHERE live = 1",
        ),
        "chunks",
        "9 chunks were committed, 5 are stored",
        "retry",
    ),
    "the count of the document is wrong": Plant(
        lambda home, a: in_catalog(home, "UPDATE document SET chunks = 9 WHERE live = 1"),
        "catalog",
        "counts 9 chunks, its generation 5",
        "retry",
    ),
    "a done document shows nothing": Plant(
        lambda home, a: in_catalog(
            home,
            "UPDATE document SET live = NULL, chunks = 0 WHERE live = 1",
            "UPDATE generation SET state = 'retired' WHERE g = 1",
        ),
        "catalog",
        "is done, but nothing of run",
        "retry",
    ),
    "two generations of a document are live": Plant(
        lambda home, a: in_catalog(
            home,
            "INSERT INTO generation SELECT 900, dataset_id, document_id, 9, 'live', 0, 0 FROM generation WHERE g = 1",
        ),
        "catalog",
        "has 2 live generations",
        "retry",
    ),
    "a generation that nobody knows has the document's chunks": Plant(
        lambda home, a: home.ports.docstore.write(home.space, [_copy(home, a, gen=900, ord=0)]),
        "orphan",
        "1 chunks of generation 900, which nobody knows",
        SWEPT,
    ),
    "a room is of no dataset": Plant(
        lambda home, a: home.ports.docstore.write(Space(TENANT, "nowhere", 4), records_of(1)),
        "orphan",
        "a room nowhere of no dataset",
        SWEPT,
    ),
    "a blob is of no document": Plant(
        lambda home, a: home.ports.storage.put(blob_key(TENANT, "0" * 64), b"x"),
        "orphan",
        "belongs to no document",
        SWEPT,
    ),
    "a blob is another tenant's": Plant(
        lambda home, a: home.ports.storage.put(blob_key("u", a.digest), b"x"), "orphan", "belongs to no document", SWEPT
    ),
    "a stray file is among the blobs": Plant(
        lambda home, a: home.ports.storage.put("blobs/stray", b"x"), "orphan", "belongs to no document", SWEPT
    ),
    "a blob is gone": Plant(
        lambda home, a: home.ports.storage.delete(blob_key(TENANT, a.digest)), "blob", "its bytes are gone", "retry"
    ),
    "a blob is altered": Plant(
        lambda home, a: home.ports.storage.put(blob_key(TENANT, a.digest), b"other words"),
        "blob",
        "its stored bytes are damaged",
        "retry",
    ),
    "a pending generation is nobody's": Plant(
        lambda home, a: in_catalog(
            home,
            "INSERT INTO generation SELECT 900, dataset_id, document_id, 9, 'pending', 0, 0 FROM generation WHERE g = 1",
        ),
        "catalog",
        "no unfinished run of document",
        "retry",
    ),
    "the run of a document is gone": Plant(
        lambda home, a: in_catalog(home, f"DELETE FROM run WHERE id = '{a.run_id}'"),
        "catalog",
        "points to run",
        RESTORED,
    ),
    "a text belongs to no chunk": Plant(
        lambda home, a: in_store(home, "INSERT INTO body VALUES (999, 'x', x'')"),
        "docstore",
        "1 texts without a chunk",
        REBUILT,
    ),
    "the file is no database": Plant(lambda home, a: _overwritten(home), "docstore", "cannot be used", REBUILT),
}


def _copy(home: Home, document: Document, *, gen: int, ord: int):  # type: ignore[no-untyped-def]
    record = home.chunks(document)[0]
    record.gen, record.ord, record.vector = gen, ord, ZEROS
    return record


def _overwritten(home: Home) -> None:
    home.ports.docstore.close()
    (home.root / "home" / "kb" / TENANT / f"{home.dataset.id}.db").write_bytes(b"this is no database" * 1000)


@pytest.fixture
async def three(home: Home) -> list[Document]:
    """A home with three documents, of generations 1 to 3, all in order."""
    words = {"a": "lease", "b": "storm", "c": "night"}
    documents = [await home.ingest(home.write(f"{name}.md", paragraphs(5, words[name]))) for name in words]
    assert [(document.live, document.chunks) for document in documents] == [(1, 5), (2, 5), (3, 5)]
    assert examine(home.ports) == []
    return documents


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_damage_is_named_and_its_remedy_mends_it(home: Home, three: list[Document], name: str) -> None:
    plant = PLANTS[name]
    plant.plant(home, three[0])
    found = examine(home.ports)
    assert [damage.kind for damage in found] == [plant.kind], found
    assert plant.words in found[0].message
    if plant.remedy != "retry":
        assert found[0].remedy == plant.remedy
    else:
        assert found[0].remedy == f"gristmill documents retry {three[0].id}"
    if plant.remedy == RESTORED:
        return
    await mend(home, found)
    assert examine(home.ports) == []
    home.sweep()
    assert examine(home.ports) == []
    assert [len(home.chunks(home.document(document.id))) for document in three] == [5, 5, 5]
    assert len({one.chunk_id for document in three for one in home.chunks(document)}) == 15


async def mend(home: Home, found: list[Damage]) -> None:
    """Do what the remedies say."""
    for damage in found:
        if damage.remedy == SWEPT:
            home.sweep()
        elif damage.remedy == REBUILT:
            home.ports.docstore.close()
            (home.root / "home" / "kb" / TENANT / f"{home.dataset.id}.db").unlink()
            again = examine(home.ports)
            assert {one.kind for one in again} == {"chunks"}
            await mend(home, again)
        else:
            document_id = damage.remedy.removeprefix("gristmill documents retry ")
            await home.service.retry(TENANT, document_id, SMALL)
            await home.work()


@pytest.mark.parametrize("remedy", ["gristmill documents retry ID"])
def test_remedies_are_commands_that_there_are(remedy: str) -> None:
    _, *words, _ = remedy.split()
    shown = CliRunner().invoke(cli, [*words, "--help"])
    assert shown.exit_code == 0
    assert re.search(r"Usage:.*documents retry", shown.output)


async def test_several_damages_are_all_named(home: Home, three: list[Document]) -> None:
    in_store(home, "DELETE FROM vec WHERE rid = 2", "DELETE FROM chunk WHERE gen = 2 AND ord = 0")
    home.ports.storage.delete(blob_key(TENANT, three[2].digest))
    found = examine(home.ports)
    assert [(damage.kind, damage.where) for damage in found] == [
        ("docstore", three[0].id),
        ("chunks", three[1].id),
        ("blob", three[2].id),
    ]
    await mend(home, found)
    assert examine(home.ports) == []


# -- what is met while others work is no damage


@pytest.mark.parametrize("done", range(6))
async def test_work_in_progress_is_no_damage(home: Home, done: int) -> None:
    path = pdf(home.files / "a.pdf", 40)
    await home.ingest(path)
    pdf(path, 40, lambda n: f"Page {n} tells of storms.")
    await home.submit(path)
    await home.work(done)
    assert examine(home.ports) == []


async def test_what_waits_for_the_sweep_is_no_damage(home: Home, three: list[Document]) -> None:
    await home.service.delete(TENANT, three[0].id)
    path = home.write("b.md", paragraphs(7, "storm"))
    await home.ingest(path)
    await home.submit(home.write("d.md", paragraphs(9)))
    submission = await home.submit(home.write("e.md", paragraphs(9)))
    await home.service.cancel(TENANT, submission.document.id)
    in_store(home, "DELETE FROM vec WHERE rid IN (SELECT rid FROM chunk WHERE gen < 3)")  # of what nobody sees
    other = home.ports.catalog.create_dataset(TENANT, "other", embedder="lexical", dim=384, settings={})
    await home.ingest(home.write("f.md", paragraphs(3, "law")), dataset=other)
    await home.service.delete_dataset(TENANT, other.id)
    assert examine(home.ports) == []
    home.sweep()
    assert examine(home.ports) == []
    assert home.ports.docstore.spaces() == [(TENANT, home.dataset.id)]


async def test_documents_that_failed_are_no_damage(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("empty.md", b""), ("cut.pdf", b"%PDF-1.7"), ("odd.bin", bytes(range(256)))):
        assert (await home.ingest(home.write(name, content))).state is RunState.FAILED
    home.write("cut.pdf", b"%PDF-1.7 and more")
    await home.ingest(home.files / "cut.pdf")
    home.sweep()
    assert examine(home.ports) == []


async def test_a_mended_document_is_looked_at_anew_while_its_old_chunks_wait_for_the_sweep(
    home: Home, three: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "WINDOW", 2)
    in_store(home, "DELETE FROM body WHERE rid = 2")
    await home.service.retry(TENANT, three[0].id, SMALL)
    assert [damage.where for damage in examine(home.ports)] == [three[0].id]
    await home.work()
    assert examine(home.ports) == []
    assert 1 in home.stored()
