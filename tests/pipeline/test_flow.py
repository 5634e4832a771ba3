"""A document's way from submit to commit, on the embedded stores."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO

import docx
import msgspec
import pytest

from gristmill.base.errors import ModelRefused, ModelUnavailable
from gristmill.docstores.sqlite import SqliteDocStore
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.pipeline import stages
from gristmill.pipeline.plan import due, part_message
from gristmill.pipeline.settings import IngestSettings
from gristmill.pipeline.tasks import TaskLimits, Upkeep, register
from gristmill.pipeline.work import blob_key
from gristmill.ports.catalog import GenState, RunState
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.docstore import Filter, Record, Space
from gristmill.ports.document import Range
from gristmill.search.tokens import tokenize
from gristmill.testing.docstores import records_of
from pipeline.home import SMALL, TENANT, CrashError, Home, csv, paragraphs, pdf, with_slices

pytestmark = pytest.mark.anyio


async def test_a_file_becomes_chunks_that_both_legs_find(home: Home) -> None:
    submission = await home.submit(home.write("a.md", paragraphs(9)))
    assert submission.fresh
    assert submission.document.state is RunState.QUEUED
    assert home.chunks(submission.document) == []
    await home.work()
    document, records = home.document(submission.document.id), home.chunks(submission.document)
    assert (document.state, document.failure, document.chunks) == (RunState.DONE, None, len(records))
    assert document.tokens == sum(record.tokens for record in records) > 0
    assert len({record.chunk_id for record in records}) == len(records) >= 9
    view = home.ports.catalog.view(home.dataset.id)
    [vector] = home.embedder.embed([records[3].content], "query")
    [near] = home.ports.docstore.find_vector(home.space, view, vector, 1, Filter())
    [word] = home.ports.docstore.find_terms(home.space, view, tokenize("paragraph 3"), 1, Filter())
    found = home.ports.docstore.get(home.space, [near.rid, word.rid])
    assert found[near.rid].chunk_id == records[3].chunk_id
    assert "3" in found[word.rid].content
    assert [line.stage for line in home.ports.catalog.logs(document.run_id)] == ["index"]


async def test_what_could_not_be_read_is_in_the_log_also_when_it_comes_from_the_cache(home: Home) -> None:
    """P10: a line that is no JSON fails nothing, and is not passed over in silence."""
    lines = '{"name": "first"}\n{"name": \n{"name": "third"}\n{"name": "fourth"}\n'
    for name in ("a.jsonl", "copy.jsonl"):
        document = await home.ingest(home.write(name, lines))
        [warning] = [line for line in home.ports.catalog.logs(document.run_id) if line.stage == "parse"]
        assert "line 2 is not JSON" in warning.message
    assert len(home.parsed) == 1


# -- work is not repeated (P13)


async def test_unchanged_content_is_neither_parsed_nor_embedded_again(home: Home) -> None:
    path = home.write("a.md", paragraphs(9))
    first = await home.ingest(path)
    parsed, texts = len(home.parsed), len(home.embedder.texts)
    again = await home.submit(path)
    assert not again.fresh
    assert await home.work() == []

    ids = [record.chunk_id for record in home.chunks(first)]
    forced = await home.ingest(path, again=True)
    copy = await home.ingest(home.write("copy of a.md", paragraphs(9)))
    other = home.ports.catalog.create_dataset(TENANT, "other", embedder="lexical", dim=384, settings={})
    assert (await home.ingest(path, dataset=other)).state is RunState.DONE
    assert (len(home.parsed), len(home.embedder.texts)) == (parsed, texts)
    assert forced.live != first.live
    assert [record.chunk_id for record in home.chunks(forced)] == ids
    assert (copy.state, copy.chunks) == (RunState.DONE, first.chunks)
    assert not {record.chunk_id for record in home.chunks(copy)} & set(ids)


async def test_after_one_paragraph_changed_only_its_chunk_is_embedded(home: Home) -> None:
    text = paragraphs(30)
    first = await home.ingest(home.write("a.md", text))
    before = {record.content: record.chunk_id for record in home.chunks(first)}
    home.embedder.texts.clear()
    second = await home.ingest(home.write("a.md", text.replace("number 7 ", "NUMBER SEVEN ")))
    after = {record.content: record.chunk_id for record in home.chunks(second)}
    changed = after.keys() - before.keys()
    assert sorted(home.embedder.texts) == sorted(changed)
    assert 0 < len(changed) < 3
    assert {text: after[text] for text in after.keys() & before.keys()}.items() <= before.items()


async def test_other_chunk_settings_do_not_parse_again(home: Home) -> None:
    path = home.write("a.md", paragraphs(9))
    await home.ingest(path)
    again = await home.ingest(path, IngestSettings(embedder="lexical"))
    assert (again.state, again.chunks) == (RunState.DONE, 1)
    assert len(home.parsed) == 1


async def test_a_repeated_text_is_embedded_once_and_stays_several_chunks(home: Home) -> None:
    line = "The same words stand here again and once more for good measure."
    document = await home.ingest(home.write("a.md", "\n\n".join([line] * 5)))
    records = home.chunks(document)
    assert len({record.chunk_id for record in records}) == len(records) == document.chunks == 5
    assert home.embedder.texts == [records[0].content]


async def test_a_crash_after_writing_repeats_no_work(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.write("a.md", paragraphs(9))
    submission = await home.submit(path)

    def crash(*args: object, **fields: object) -> int:
        monkeypatch.undo()
        raise CrashError

    monkeypatch.setattr(type(home.ports.catalog), "finish_part", crash)
    with pytest.raises(CrashError):
        await home.work()
    texts = len(home.embedder.texts)
    home.clock.move(61)
    await home.broker.reclaim()
    await home.work()
    document = home.document(submission.document.id)
    assert (document.state, document.chunks) == (RunState.DONE, len(home.chunks(document)))
    assert (len(home.parsed), len(home.embedder.texts)) == (1, texts)


# -- parts


async def test_a_long_pdf_is_read_in_parts_of_pages(home: Home) -> None:
    document = await home.ingest(pdf(home.files / "a.pdf", 30))
    assert home.parsed == [("a.pdf", Range(n, min(n + 12, 30))) for n in (0, 12, 24)]
    records = home.chunks(document)
    assert (document.state, document.pages, document.chunks) == (RunState.DONE, 30, len(records))
    assert [page for record in records for page in record.pages] == list(range(1, 31))
    for number in range(1, 31):
        assert any(f"lease number {number}." in record.content for record in records)


async def test_chunks_do_not_show_where_the_pages_were_parted(home: Home) -> None:
    """P13 as well: pages that were read once are not read again for another size of chunks."""
    wanted = IngestSettings(embedder="lexical", chunk=ChunkSettings(chunk_token_num=64))
    path = pdf(home.files / "a.pdf", 30)
    parted = [chunk.content for chunk in home.chunks(await home.ingest(path, wanted))]
    assert any("number 12." in chunk and "number 13." in chunk for chunk in parted), "a chunk goes over the border"
    home.ports.cache.evict(max_bytes=0)
    whole = await home.ingest(path, msgspec.structs.replace(wanted, pages_per_part=100), again=True)
    assert home.parsed[-1] == ("a.pdf", Range(0, 30))
    assert [chunk.content for chunk in home.chunks(whole)] == parted
    read = len(home.parsed)
    await home.ingest(
        path, msgspec.structs.replace(wanted, chunk=ChunkSettings(chunk_token_num=99), pages_per_part=100)
    )
    assert len(home.parsed) == read


async def test_pages_that_the_cache_has_forgotten_are_read_again(home: Home) -> None:
    submission = await home.submit(pdf(home.files / "a.pdf", 30))
    await home.work(3)
    home.ports.cache.evict(max_bytes=0)
    await home.work()
    document = home.document(submission.document.id)
    assert document.state is RunState.DONE
    assert [page for record in home.chunks(document) for page in record.pages] == list(range(1, 31))
    assert [part for _, part in home.parsed].count(Range(0, 12)) == 2


async def test_parts_may_end_in_any_order(home: Home) -> None:
    submission = await home.submit(pdf(home.files / "a.pdf", 30))
    await home.work(1)  # the plan
    run = home.ports.catalog.run(submission.run.id)
    home.lose_broker()
    for part in reversed(due(home.ports.catalog.parts(run.id))):
        await home.broker.publish([part_message(run, part)])
    await home.work()
    document = home.document(submission.document.id)
    assert document.state is RunState.DONE
    assert [page for record in home.chunks(document) for page in record.pages] == list(range(1, 31))


async def test_a_long_table_is_parsed_once_and_worked_on_in_windows(home: Home) -> None:
    document = await home.ingest(home.write("a.csv", csv(7000)))
    assert len(home.parsed) == 1
    assert [part.first for part in home.ports.catalog.parts(document.run_id)] == [0, 1, 2]
    text = "\n".join(record.content for record in home.chunks(document))
    assert document.state is RunState.DONE
    assert all(text.count(f"name{n}") >= 1 for n in (0, 1, 2998, 2999, 3000, 5999, 6000, 6998))


async def test_windows_that_the_cache_has_forgotten_are_cut_again(home: Home) -> None:
    submission = await home.submit(home.write("a.csv", csv(7000)))
    await home.work(1)
    home.ports.cache.evict(max_bytes=0)
    await home.work()
    document = home.document(submission.document.id)
    text = "\n".join(record.content for record in home.chunks(document))
    assert all(text.count(f"name{n} ") == 1 for n in range(6999))


async def test_a_crash_after_the_windows_were_cut_is_made_good(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = await home.submit(home.write("a.csv", csv(7000)))
    make = stages.make_chunks

    def crash(*args: object, **more: object) -> object:
        monkeypatch.setattr(stages, "make_chunks", make)
        raise CrashError

    monkeypatch.setattr(stages, "make_chunks", crash)
    with pytest.raises(CrashError):
        await home.work(1)
    assert len(home.ports.catalog.parts(submission.run.id)) == 3
    home.lose_broker()
    await home.service.reconcile()
    await home.work()
    assert home.document(submission.document.id).state is RunState.DONE
    assert len(home.parsed) == 1


async def test_some_pages_without_text_are_no_failure_and_all_of_them_are_one(home: Home) -> None:
    some = await home.ingest(pdf(home.files / "some.pdf", 30, lambda n: "" if 12 < n <= 24 else f"Words of page {n}."))
    assert (some.state, some.pages) == (RunState.DONE, 30)
    none = await home.ingest(pdf(home.files / "none.pdf", 30, lambda n: ""))
    assert none.state is RunState.FAILED
    assert none.failure is not None
    assert (none.failure.type, none.failure.final) == ("EmptyDocument", True)
    rows = [f"{n},{n}" if n < 3000 or n >= 6000 else "," for n in range(7000)]
    assert (await home.ingest(home.write("a.csv", "\n".join(rows)))).state is RunState.DONE


async def test_a_piece_of_many_chunks_is_embedded_by_several_tasks(home: Home) -> None:
    path = home.write("a.md", paragraphs(100))
    plain = await home.ingest(path)
    expected = [(record.content, record.chunk_id) for record in home.chunks(plain)]
    await home.service.delete(TENANT, plain.id)
    home.ports.cache.evict(max_bytes=0)
    home.parsed.clear()
    home.embedder.texts.clear()

    split = await home.ingest(path, with_slices(SMALL, 16))
    parts = home.ports.catalog.parts(split.run_id)
    assert split.state is RunState.DONE
    assert len(parts) == -(-len(expected) // 16)
    assert [part.chunks for part in parts] == [16] * (len(parts) - 1) + [len(expected) % 16 or 16]
    assert [(record.content, record.chunk_id) for record in home.chunks(split)] == expected
    assert len(home.parsed) == 1
    assert sorted(home.embedder.texts) == sorted({text for text, _ in expected})


async def test_a_crash_between_split_and_publish_is_made_good(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = await home.submit(home.write("a.md", paragraphs(60)), with_slices(SMALL, 16))
    embed = stages.embed_and_write

    def crash(*args: object, **fields: object) -> object:
        monkeypatch.setattr(stages, "embed_and_write", embed)
        raise CrashError

    monkeypatch.setattr(stages, "embed_and_write", crash)
    with pytest.raises(CrashError):
        await home.work(1)
    assert len(home.ports.catalog.parts(submission.run.id)) > 1
    home.lose_broker()  # and what was published is lost as well
    await home.service.reconcile()
    await home.work()
    document = home.document(submission.document.id)
    assert (document.state, document.chunks) == (RunState.DONE, len(home.chunks(document)))


async def test_a_large_document_is_embedded_and_written_window_by_window(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "WINDOW", 7)
    most = 0
    write = SqliteDocStore.write

    def seen(store: SqliteDocStore, space: Space, records: Sequence[Record]) -> None:
        nonlocal most
        most = max(most, len(records))
        write(store, space, records)

    monkeypatch.setattr(SqliteDocStore, "write", seen)
    document = await home.ingest(home.write("a.md", paragraphs(40)))
    assert (document.state, document.chunks, most) == (RunState.DONE, len(home.chunks(document)), 7)
    assert [record.ord for record in home.chunks(document)] == list(range(document.chunks))


async def test_what_an_earlier_attempt_made_too_many_goes(home: Home) -> None:
    """It ran with another release's chunker, and was killed after it had written."""
    submission = await home.submit(home.write("a.md", paragraphs(5)))
    vector = bytes(home.dataset.dim * 4)
    earlier = records_of(20, gen=submission.run.gen, document_id=submission.document.id, vector=vector)
    home.ports.docstore.write(home.space, earlier)
    await home.work()
    document = home.document(submission.document.id)
    assert (document.state, document.chunks, home.stored()) == (RunState.DONE, 5, {document.live: 5})
    assert all(record.content.startswith("Paragraph") for record in home.chunks(document))


# -- failures (P10)


@pytest.mark.parametrize(
    ("name", "content", "stage", "kind", "words"),
    [
        ("empty.md", b"", "detect", "EmptyDocument", "empty file"),
        ("space.md", b" \n\t\n", "", "EmptyDocument", "space.md"),
        ("odd.bin", bytes(range(256)) * 20, "detect", "UnsupportedDocument", "odd.bin"),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj <<", "plan", "DamagedDocument", "cut.pdf"),
        ("cut.docx", b"PK\x03\x04 and then nothing", "", "DamagedDocument", "cut.docx"),
    ],
)
async def test_a_document_that_cannot_be_read_fails_with_stage_class_and_reason(
    home: Home, *, name: str, content: bytes, stage: str, kind: str, words: str
) -> None:
    path = home.write(name, content)
    document = await home.ingest(path)
    assert (document.state, document.live, document.chunks) == (RunState.FAILED, None, 0)
    failure = document.failure
    assert failure is not None
    assert (failure.type, failure.final) == (kind, True)
    assert failure.stage == (stage or failure.stage) != ""
    assert words in failure.message
    assert not (await home.submit(path)).fresh
    assert [one.failure for one in home.ports.catalog.operations(TENANT)] == [failure]
    home.sweep()
    assert home.stored() == {}


@pytest.mark.parametrize(
    ("trouble", "state", "attempts", "final"),
    [
        ([ModelUnavailable("busy")] * 2, RunState.DONE, 3, None),
        ([ModelUnavailable("down")] * 3, RunState.FAILED, 3, False),
        ([ModelRefused("never")], RunState.FAILED, 1, True),
        ([ValueError("a bug")] * 2, RunState.DONE, 3, None),
        ([ValueError("a bug")] * 3, RunState.FAILED, 3, False),
    ],
    ids=["passes", "lasts", "refused", "a bug that passes", "a bug that lasts"],
)
async def test_what_may_pass_is_tried_again_and_what_lasts_is_told(
    home: Home, trouble: list[Exception], state: RunState, attempts: int, final: bool | None
) -> None:
    path = home.write("a.md", paragraphs(3))
    home.embedder.trouble += trouble
    submission = await home.submit(path)
    assert [record.attempt for record in await home.work()] == list(range(1, attempts + 1))
    await home.service.reconcile()
    document = home.document(submission.document.id)
    assert document.state is state
    if document.failure is None:
        assert final is None
        return
    expected = ("embed", type(trouble[-1]).__name__, str(trouble[-1]), final)
    failure = document.failure
    assert (failure.stage, failure.type, failure.message, failure.final) == expected
    assert (await home.submit(path)).fresh is not final


async def test_one_part_that_fails_ends_the_run_and_the_others_stop(home: Home) -> None:
    submission = await home.submit(home.write("a.csv", csv(7000)))
    home.embedder.trouble.append(ModelRefused("never"))
    ended = await home.work()
    assert [record.state for record in ended] == [TaskState.FAILED] * 3
    assert {record.error.type for record in ended[1:] if record.error} == {"GenerationClosed"}
    document = home.document(submission.document.id)
    assert document.failure is not None
    assert document.failure.type == "ModelRefused"
    assert len(home.parsed) == 1
    home.sweep()
    assert home.stored() == {}


# -- the document's bytes


async def test_damaged_bytes_are_never_parsed_and_give_way_to_the_file(home: Home) -> None:
    path = home.write("a.md", paragraphs(3))
    submission = await home.submit(path)
    key = blob_key(TENANT, submission.document.digest)
    home.ports.storage.put(key, b"other words than the digest says")
    await home.work()
    failed = home.document(submission.document.id)
    assert home.parsed == []
    assert failed.failure is not None
    assert (failed.failure.stage, failed.failure.final) == ("fetch", False)
    assert "damaged" in failed.failure.message
    assert (await home.ingest(path)).state is RunState.DONE


async def test_missing_bytes_are_waited_for_and_then_told(home: Home) -> None:
    path = home.write("a.md", paragraphs(3))
    submission = await home.submit(path)
    home.ports.storage.delete(blob_key(TENANT, submission.document.digest))
    assert [record.attempt for record in await home.work()] == [1, 2, 3]
    failure = home.document(submission.document.id).failure
    assert failure is not None
    assert (failure.stage, failure.type, failure.final) == ("fetch", "BlobMissing", False)
    assert "a.md" in failure.message
    assert (await home.ingest(path)).state is RunState.DONE


def png() -> bytes:
    """A picture of one dot."""

    def piece(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    dot = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", header) + piece(b"IDAT", dot) + piece(b"IEND", b"")


async def test_pictures_come_back_with_a_document_that_comes_back(home: Home) -> None:
    """The sweep takes the pictures of a deleted document; what its cached parse tells of must be stored again."""
    made = docx.Document()
    made.add_paragraph("A picture of one dot follows.")
    made.add_picture(BytesIO(png()))
    made.save(str(home.files / "a.docx"))
    document = await home.ingest(home.files / "a.docx")
    pictures = home.objects("assets/")
    assert len(pictures) == 1
    await home.service.delete(TENANT, document.id)
    home.sweep()
    assert home.objects("assets/") == set()
    again = await home.ingest(home.files / "a.docx")
    assert again.state is RunState.DONE
    assert home.objects("assets/") == pictures
    await home.ingest(home.files / "a.docx", again=True)
    assert len(home.parsed) == 2


# -- replacing, cancelling, deleting (P4, P5)


async def test_the_old_generation_answers_until_the_new_one_is_committed(home: Home) -> None:
    path = pdf(home.files / "a.pdf", 40)
    old = await home.ingest(path)
    before = home.chunks(old)
    pdf(path, 40, lambda n: f"Page {n} tells of storms.")
    await home.submit(path)
    for _ in range(5):  # the plan, and four parts that read
        await home.work(1)
        assert home.chunks(old) == before
        assert home.document(old.id).live == old.live
    await home.work(1)
    new = home.document(old.id)
    assert (new.state, new.live == old.live) == (RunState.DONE, False)
    assert all("storms" in record.content for record in home.chunks(new))
    assert home.ports.catalog.generations(home.dataset.id) == {old.live: GenState.RETIRED, new.live: GenState.LIVE}
    home.sweep()
    assert home.stored() == {new.live: new.chunks}


@pytest.mark.parametrize("done", range(7))
async def test_a_cancelled_document_leaves_nothing_after_the_sweep(home: Home, done: int) -> None:
    submission = await home.submit(pdf(home.files / "a.pdf", 60))
    await home.work(done)
    assert await home.service.cancel(TENANT, submission.document.id)
    assert not await home.service.cancel(TENANT, submission.document.id)
    assert home.chunks(submission.document) == []
    home.clock.move(10)
    ended = await home.work()  # nothing runs but the sweep
    assert [record.message.task for record in ended] == ["pipeline.sweep"]
    assert home.stored() == {}
    document = home.document(submission.document.id)
    assert (document.state, document.live) == (RunState.CANCELLED, None)
    assert (await home.ingest(home.files / "a.pdf")).state is RunState.DONE


async def test_a_part_that_runs_while_its_document_is_cancelled_writes_no_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "WINDOW", 3)
    submission = await home.submit(home.write("a.md", paragraphs(20)))
    embed = home.embedder.embed
    calls = 0

    def cancelled(texts: object, purpose: object) -> list[bytes]:
        nonlocal calls
        calls += 1
        if calls == 2:
            home.ports.catalog.cancel(submission.run.id)
        return embed(texts, purpose)  # type: ignore[arg-type]

    monkeypatch.setattr(home.embedder, "embed", cancelled)
    [record] = await home.work()
    assert record.error is not None
    assert (record.error.type, record.error.stage) == ("GenerationClosed", "index")
    assert list(home.stored().values()) == [3]
    home.sweep()
    assert home.stored() == {}


async def test_a_deleted_document_is_gone_at_once_and_its_room_is_freed_by_the_sweep(home: Home) -> None:
    kept = await home.ingest(home.write("kept.md", paragraphs(3)))
    document = await home.ingest(home.write("a.md", paragraphs(9, "storm")))
    await home.service.delete(TENANT, document.id)
    assert home.chunks(document) == []
    home.clock.move(70)
    await home.work()
    assert home.stored() == {kept.live: kept.chunks}
    assert home.objects("blobs/") == {blob_key(TENANT, kept.digest)}


async def test_a_document_that_changes_while_it_is_in_work_ends_as_its_latest_content(home: Home) -> None:
    path = pdf(home.files / "a.pdf", 40)
    first = await home.submit(path)
    await home.work(3)
    pdf(path, 40, lambda n: f"Page {n} tells of storms.")
    second = await home.submit(path)
    await home.work()
    document = home.document(first.document.id)
    assert (document.run_id, document.state) == (second.run.id, RunState.DONE)
    assert home.ports.catalog.run(first.run.id).state is RunState.CANCELLED
    assert all("storms" in record.content for record in home.chunks(document))
    home.sweep()
    assert home.stored() == {document.live: document.chunks}


async def test_requests_to_the_embedder_share_a_rate_over_all_workers(home: Home) -> None:
    home.app = App("pipeline")
    register(home.app, lambda: home.ports, limits=TaskLimits(embedding_rate=0.001), upkeep=Upkeep())
    assert (await home.ingest(home.write("a.txt", "one text, one batch"))).live
    assert home.embedder.texts
    assert await home.broker.book("embedder:lexical", rate=0.001, most=0.0) > 1.0
