"""Parts, keys and settings of an ingestion."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gristmill.pipeline.plan import cut, due, keys, messages, part_key, plan_key, slices
from gristmill.pipeline.settings import IngestSettings, load_settings
from gristmill.ports.catalog import Part, Run, RunState
from gristmill.ports.chunker import ChunkSettings


def a_run(*, planned: bool = True, parts: int = 1) -> Run:
    return Run(
        id="r1",
        tenant="t",
        dataset_id="d",
        document_id="doc",
        ver=1,
        gen=1,
        digest="x",
        format="pdf",
        settings={},
        state=RunState.QUEUED,
        planned=planned,
        parts=parts,
        parts_done=0,
        progress=0.0,
        chunks=0,
        created=0.0,
    )


@given(pages=st.integers(0, 500), size=st.integers(1, 50))
def test_parts_read_every_page_once_and_the_last_makes_chunks_of_them(pages: int, size: int) -> None:
    parts = cut("r", pages, size)
    if len(parts) == 1:
        assert parts == [Part("r", 0)]
        return
    assert [page for part in parts for page in range(part.first or 0, part.last or 0)] == list(range(pages))
    assert [part.number for part in parts] == list(range(len(parts)))
    assert [part.only_reads for part in parts] == [True] * (len(parts) - 1) + [False]
    assert due(parts) == parts[:-1]
    assert due([replace(part, done=part.only_reads) for part in parts]) == parts[-1:]


@given(chunks=st.integers(1, 500), size=st.integers(1, 50))
def test_slices_cover_every_chunk_once(chunks: int, size: int) -> None:
    cuts = slices(Part("r", 3, first=12, last=24), chunks, size)
    assert [n for part in cuts for n in range(part.chunk_first or 0, part.chunk_last or 0)] == list(range(chunks))
    assert {(part.first, part.last) for part in cuts} == {(12, 24)}


def test_an_unplanned_run_wants_its_plan_and_a_planned_one_its_open_parts() -> None:
    assert [m.key for m in messages(a_run(planned=False), [])] == [plan_key("r1")]
    parts = [Part("r1", 0, done=True), Part("r1", 1)]
    assert [m.key for m in messages(a_run(), parts)] == [part_key("r1", 1)]


def test_a_run_whose_parts_are_done_wants_its_finish() -> None:
    wanted = messages(a_run(), [Part("r1", 0, done=True)])
    assert [m.key for m in wanted] == ["r1:finish"]


def test_the_tenant_is_the_lane() -> None:
    assert messages(a_run(), [Part("r1", 0)])[0].lane == "t"


def test_keys_name_every_task_a_run_can_have() -> None:
    assert keys("r", [Part("r", 0), Part("r", 1)]) == ["r:plan", "r:finish", "r:0", "r:1"]


def test_settings_that_change_the_chunks_change_the_digest_and_others_do_not() -> None:
    base = IngestSettings(embedder="lexical")
    assert base.digest() == IngestSettings(embedder="lexical", pages_per_part=3, chunks_per_part=9).digest()
    assert base.digest() != IngestSettings(embedder="other").digest()
    assert base.digest() != IngestSettings(embedder="lexical", chunk=ChunkSettings(chunk_token_num=99)).digest()


def test_settings_survive_the_catalog() -> None:
    settings = IngestSettings(method="naive", chunk=ChunkSettings(delimiter="\n"), embedder="e", chunks_per_part=5)
    assert load_settings(settings.dump()) == settings
