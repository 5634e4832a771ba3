"""What the faces call: submit, retry, cancel, delete."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gristmill.base.errors import BlobMissing, Conflict, NotFound
from gristmill.base.ids import content_digest
from gristmill.pipeline import service as service_module
from gristmill.pipeline.service import FileSubmit, source_of
from gristmill.pipeline.tasks import SWEEP_TASK
from gristmill.pipeline.work import blob_key
from gristmill.ports.catalog import RunState
from pipeline.home import SMALL, TENANT, Home, paragraphs

pytestmark = pytest.mark.anyio


# -- submit


async def test_a_known_digest_spares_the_reading_of_a_stored_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.write("a.md", paragraphs(3))
    document = await home.ingest(path)
    monkeypatch.setattr(service_module, "file_digest", None)
    file = FileSubmit(path, path.name, digest=document.digest)
    again = await home.service.submit(home.dataset, file, SMALL)
    assert not again.fresh


async def test_a_file_over_the_limit_is_refused_before_it_is_looked_into_or_stored(home: Home) -> None:
    path = home.write("a.pdf", b"%PDF-1.7")
    os.truncate(path, home.ports.limits.max_bytes + 1)
    submission = await home.service.submit(home.dataset, FileSubmit(path, path.name, digest="d"), SMALL)
    failure = submission.document.failure
    assert failure is not None
    assert (failure.type, "a.pdf has 134217729 bytes" in failure.message) == ("DocumentTooLarge", True)
    assert home.objects("blobs/") == set()


async def test_a_file_that_changes_while_it_is_read_is_stored_as_what_it_is(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results are kept under the digest of the bytes: others under it would be taken for these for ever."""
    path = home.write("a.md", "the first words")
    put_file = home.ports.storage.put_file

    def changed(key: str, source: Path) -> None:
        path.write_text("the second words")
        put_file(key, source)
        monkeypatch.undo()

    monkeypatch.setattr(home.ports.storage, "put_file", changed)
    submission = await home.submit(path)
    assert submission.document.digest == content_digest(b"the second words")
    assert home.objects("blobs/") == {blob_key(TENANT, submission.document.digest)}
    await home.work()
    assert "second" in home.chunks(submission.document)[0].content


async def test_a_file_that_never_stands_still_is_not_accepted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.write("a.md", "words")
    put_file = home.ports.storage.put_file

    def changed(key: str, source: Path) -> None:
        path.write_text(path.read_text() + " and more")
        put_file(key, source)

    monkeypatch.setattr(home.ports.storage, "put_file", changed)
    with pytest.raises(OSError, match="changes while it is read"):
        await home.submit(path)
    assert home.ports.catalog.documents(TENANT) == []
    assert home.objects("blobs/") == set()


async def test_a_wrong_digest_is_not_believed(home: Home) -> None:
    path = home.write("a.md", "words")
    made = await home.service.submit(home.dataset, FileSubmit(path, "a.md", digest="0" * 64), SMALL)
    assert made.document.digest == content_digest(b"words")


async def test_a_file_that_is_not_there_is_an_error_and_leaves_nothing(home: Home) -> None:
    with pytest.raises(FileNotFoundError):
        await home.submit(home.files / "nothing.md")
    assert (home.ports.catalog.documents(TENANT), home.objects()) == ([], set())


async def test_two_files_with_one_content_share_their_bytes(home: Home) -> None:
    first = await home.ingest(home.write("a.md", "the same words"))
    await home.ingest(home.write("b.md", "the same words"))
    assert len(home.objects("blobs/")) == 1
    await home.service.delete(TENANT, first.id)
    home.sweep()
    assert len(home.objects("blobs/")) == 1


@pytest.mark.parametrize("name", ["名前 ’.md", "a'; DROP TABLE document; --.md", "x" * 200 + ".md", b"lat\xedn.md"])
async def test_any_file_name_will_do(home: Home, name: str | bytes) -> None:
    path = home.files / (os.fsdecode(name) if isinstance(name, bytes) else name)
    path.write_text("words of a file")
    shown = source_of(Path(path.name))
    submission = await home.service.submit(home.dataset, FileSubmit(path, shown), SMALL)
    await home.work()
    document = home.document(submission.document.id)
    assert (document.state, document.name, document.source) == (RunState.DONE, shown, source_of(path))
    assert not (await home.service.submit(home.dataset, FileSubmit(path, shown), SMALL)).fresh


# -- retry


@pytest.mark.parametrize("damage", ["file gone", "gone", "altered"])
async def test_retry_repeats_the_stored_bytes_and_takes_them_from_the_file_where_they_are_lost(
    home: Home, damage: str
) -> None:
    document = await home.ingest(home.write("a.md", paragraphs(9)))
    key = blob_key(TENANT, document.digest)
    if damage == "gone":
        home.ports.storage.delete(key)
    elif damage == "altered":
        home.ports.storage.put(key, b"other words")
    else:
        (home.files / "a.md").unlink()
    submission = await home.service.retry(TENANT, document.id, SMALL)
    assert submission.fresh
    await home.work()
    again = home.document(document.id)
    assert (again.state, again.chunks, again.live == document.live) == (RunState.DONE, document.chunks, False)
    assert content_digest(home.ports.storage.get(key)) == document.digest


@pytest.mark.parametrize("file", ["gone", "changed", "a folder"])
async def test_retry_says_what_to_do_when_the_bytes_are_nowhere(home: Home, file: str) -> None:
    path = home.write("a.md", paragraphs(3))
    document = await home.ingest(path)
    home.ports.storage.delete(blob_key(TENANT, document.digest))
    path.unlink()
    if file == "changed":
        path.write_text("other words")
    elif file == "a folder":
        path.mkdir()
    with pytest.raises(BlobMissing, match=r"a\.md.*ingest the document from where it is now, or delete it"):
        await home.service.retry(TENANT, document.id, SMALL)
    assert home.document(document.id) == document
    assert home.objects("blobs/") == set()


async def test_retry_of_what_was_never_read_says_so(home: Home) -> None:
    document = await home.ingest(home.write("empty.md", ""))
    with pytest.raises(Conflict, match="ingest its file again"):
        await home.service.retry(TENANT, document.id, SMALL)


# -- delete and cancel


async def test_a_deleted_dataset_is_gone_with_all_in_it(home: Home) -> None:
    done = await home.ingest(home.write("a.md", paragraphs(3)))
    await home.submit(home.write("b.md", paragraphs(30)))
    await home.service.delete_dataset(TENANT, home.dataset.id)
    home.clock.move(60)
    assert [record.message.task for record in await home.work()] == [SWEEP_TASK]
    assert (home.ports.docstore.spaces(), home.objects(), home.ports.catalog.unfinished()) == ([], set(), [])
    for use in (home.service.delete, home.service.cancel):
        with pytest.raises(NotFound):
            await use(TENANT, done.id)


async def test_many_deletes_want_one_sweep(home: Home) -> None:
    documents = [await home.ingest(home.write(f"{n}.md", f"text {n}")) for n in range(8)]
    for document in documents:
        await home.service.delete(TENANT, document.id)
    home.clock.move(59)
    assert await home.work() == []
    home.clock.move(1 + service_module.SWEEP_SOON)
    assert [record.message.task for record in await home.work()] == [SWEEP_TASK]
    assert (home.stored(), home.objects()) == ({}, set())


async def test_nobody_touches_the_documents_of_another_tenant(home: Home) -> None:
    document = await home.ingest(home.write("a.md", paragraphs(3)))
    with pytest.raises(NotFound):
        await home.service.delete("stranger", document.id)
    with pytest.raises(NotFound):
        await home.service.cancel("stranger", document.id)
    with pytest.raises(NotFound):
        await home.service.retry("stranger", document.id, SMALL)
    with pytest.raises(NotFound):
        await home.service.delete_dataset("stranger", home.dataset.id)
    assert home.document(document.id) == document
