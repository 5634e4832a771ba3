"""The contract of catalogs: subclass it in a test module, give it a ``catalog`` fixture built on the ``clock`` fixture."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gristmill.base.errors import GenerationClosed, NotFound
from gristmill.ports.catalog import (
    Catalog,
    Dataset,
    Failure,
    GenState,
    LogLine,
    NewDocument,
    Part,
    RunState,
    Submission,
)
from gristmill.ports.docstore import Space
from gristmill.testing.clock import FakeClock

FINAL = Failure("parse", "DamagedDocument", "no page can be read", final=True)
PASSING = Failure("embed", "ModelUnavailable", "the model is down", final=False)
ENDS = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


def a_dataset(catalog: Catalog, name: str = "demo", tenant: str = "t") -> Dataset:
    return catalog.create_dataset(tenant, name, embedder="lexical", dim=4, settings={"a": 1})


def submitted(
    catalog: Catalog,
    dataset: Dataset,
    *,
    source: str = "/a.md",
    digest: str = "d1",
    settings: str = "s1",
    parts: Sequence[Part] | None = (Part("", 0),),
    **more: Any,
) -> Submission:
    """A document that was submitted."""
    new = NewDocument(source, source.rsplit("/", 1)[-1], digest, 10, "text")
    return catalog.submit(dataset, new, settings={"k": [1]}, settings_digest=settings, parts=parts, **more)


def brought_to(catalog: Catalog, dataset: Dataset, state: RunState, *, chunks: int = 2, **fields: Any) -> Submission:
    """A document whose run has come to this state."""
    made = submitted(catalog, dataset, **fields)
    run = made.run.id
    if state is RunState.QUEUED:
        return made
    catalog.start(run)
    if state is RunState.DONE:
        for part in catalog.parts(run):
            catalog.finish_part(run, part.number, chunks=chunks, tokens=10 * chunks, pages=1)
        assert catalog.commit(run, chunks=chunks * len(catalog.parts(run)))
    elif state is RunState.FAILED:
        assert catalog.fail(run, FINAL)
    elif state is RunState.CANCELLED:
        assert catalog.cancel(run)
    return made


class CatalogFixtures:
    """What both contracts are given."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def catalog(self, clock: FakeClock) -> Catalog:
        raise NotImplementedError("override this fixture: it gives the catalog under test, on this clock")

    @pytest.fixture
    def dataset(self, catalog: Catalog) -> Dataset:
        return a_dataset(catalog)


class CatalogContract(CatalogFixtures):
    """Documents, runs and parts: what every catalog guarantees. See also ``testing.generations``."""

    # -- datasets
    def test_a_dataset_is_made_once_and_keeps_its_embedder(self, catalog: Catalog) -> None:
        made = a_dataset(catalog)
        again = catalog.create_dataset("t", "demo", embedder="other", dim=9, settings={})
        assert again == made
        assert (again.embedder, again.dim, again.settings) == ("lexical", 4, {"a": 1})
        assert catalog.dataset("t", made.id) == catalog.dataset("t", "demo") == made

    def test_a_dataset_counts_its_documents_and_the_chunks_that_readers_see(
        self, catalog: Catalog, dataset: Dataset
    ) -> None:
        brought_to(catalog, dataset, RunState.DONE, source="/a", chunks=3)
        brought_to(catalog, dataset, RunState.FAILED, source="/b")
        assert (catalog.datasets("t")[0].documents, catalog.datasets("t")[0].chunks) == (2, 3)

    def test_a_dataset_has_a_room_of_its_dimension(self, catalog: Catalog, dataset: Dataset) -> None:
        assert catalog.space("t", dataset.id) == Space("t", dataset.id, 4)
        with pytest.raises(NotFound):
            catalog.space("t", "nobody")

    def test_a_name_is_preferred_to_an_id(self, catalog: Catalog) -> None:
        first = a_dataset(catalog)
        second = a_dataset(catalog, name=first.id)
        assert catalog.dataset("t", first.id) == second

    def test_names_are_told_apart_by_every_byte(self, catalog: Catalog) -> None:
        names = [
            "demo",
            "Demo",
            "demo ",
            " demo",
            "d\u00e9mo",
            "de\u0301mo",
            "DEMO",
            "demo\u00a0",
            "\U0001f4da",
            "stra\u00dfe",
            "strasse",
        ]
        made = {name: a_dataset(catalog, name) for name in names}
        assert len({one.id for one in made.values()}) == len(names)
        assert [catalog.dataset("t", name).name for name in names] == names
        assert [one.name for one in catalog.datasets("t")] == sorted(names, key=str.encode)
        other = a_dataset(catalog, tenant="T")
        assert [one.id for one in catalog.datasets("T")] == [other.id]

    def test_deleting_a_dataset_forgets_all_of_it_and_logs_open_runs_as_cancelled(
        self, catalog: Catalog, dataset: Dataset
    ) -> None:
        done = brought_to(catalog, dataset, RunState.DONE, source="/a")
        running = brought_to(catalog, dataset, RunState.RUNNING, source="/b")
        catalog.remember_files(dataset.id, {"/a": (1, 2, "x")})
        catalog.log(running.run.id, [LogLine(1.0, "parse", "words")])
        with pytest.raises(NotFound):
            catalog.delete_dataset("stranger", dataset.id)
        catalog.delete_dataset("t", dataset.id)
        for gone in (
            lambda: catalog.dataset("t", "demo"),
            lambda: catalog.document("t", done.document.id),
            lambda: catalog.run(running.run.id),
            lambda: catalog.delete_dataset("t", dataset.id),
            lambda: submitted(catalog, dataset),
        ):
            with pytest.raises(NotFound):
                gone()
        with pytest.raises(GenerationClosed):
            catalog.start(running.run.id)
        assert not catalog.writable(running.run.gen)
        assert (catalog.documents("t"), catalog.unfinished(), catalog.blobs(), catalog.tenants()) == ([], [], set(), [])
        assert (catalog.seen_files(dataset.id), catalog.generations(dataset.id)) == ({}, {})
        assert (catalog.parts(running.run.id), catalog.logs(running.run.id)) == ([], [])
        assert [one.state for one in catalog.operations("t")] == [RunState.CANCELLED, RunState.DONE]
        assert catalog.check() == []

    # -- submit
    def test_a_submitted_document_is_queued_and_unseen(self, catalog: Catalog, dataset: Dataset) -> None:
        made = submitted(catalog, dataset, parts=[Part("", 0, first=0, last=5), Part("", 1, first=5, last=9)])
        assert (made.fresh, made.run.state, made.run.planned, made.run.parts) == (True, RunState.QUEUED, True, 2)
        assert (made.document.live, made.document.chunks, made.document.state) == (None, 0, RunState.QUEUED)
        assert [(part.first, part.last) for part in catalog.parts(made.run.id)] == [(0, 5), (5, 9)]
        assert catalog.run(made.run.id) == made.run
        assert catalog.document("t", made.document.id) == catalog.find_document(dataset.id, "/a.md") == made.document
        assert catalog.unfinished() == [made.run]
        assert made.run.settings == {"k": [1]}

    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING, RunState.DONE, RunState.FAILED])
    def test_the_same_content_and_settings_again_are_the_run_that_stands(
        self, catalog: Catalog, dataset: Dataset, state: RunState
    ) -> None:
        made = brought_to(catalog, dataset, state)
        again = submitted(catalog, dataset)
        assert (again.fresh, again.run.id, again.run.state) == (False, made.run.id, state)
        assert len(catalog.generations(dataset.id)) == 1

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"digest": "d2"}, "other content"),
            ({"settings": "s2"}, "other settings"),
            ({"again": True}, "asked for"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    @pytest.mark.parametrize("state", list(RunState))
    def test_a_new_run_supersedes_the_latest(
        self, catalog: Catalog, dataset: Dataset, state: RunState, change: dict[str, Any], why: str
    ) -> None:
        made = brought_to(catalog, dataset, state)
        again = submitted(catalog, dataset, **change)
        assert again.fresh
        assert again.run.id != made.run.id
        assert again.run.ver == made.run.ver + 1
        assert again.document.id == made.document.id
        expected = state if state.final else RunState.CANCELLED
        assert catalog.run(made.run.id).state is expected
        live = state is RunState.DONE
        assert catalog.generations(dataset.id) == {
            made.run.gen: GenState.LIVE if live else GenState.DEAD,
            again.run.gen: GenState.PENDING,
        }
        assert again.document.live == (made.run.gen if live else None)

    def test_what_was_cancelled_or_failed_for_the_moment_is_tried_anew(
        self, catalog: Catalog, dataset: Dataset
    ) -> None:
        cancelled = brought_to(catalog, dataset, RunState.CANCELLED)
        second = submitted(catalog, dataset)
        assert second.fresh
        assert second.run.id != cancelled.run.id
        assert catalog.fail(second.run.id, PASSING)
        assert submitted(catalog, dataset).fresh

    def test_a_document_that_cannot_be_read_is_recorded_as_failed_at_once(
        self, catalog: Catalog, dataset: Dataset
    ) -> None:
        made = submitted(catalog, dataset, failure=FINAL)
        assert (made.run.state, made.document.failure) == (RunState.FAILED, FINAL)
        assert catalog.unfinished() == []
        assert catalog.generations(dataset.id) == {made.run.gen: GenState.DEAD}
        assert [one.failure for one in catalog.operations("t")] == [FINAL]

    def test_settled_are_those_that_ended_for_good_with_these_settings(
        self, catalog: Catalog, dataset: Dataset
    ) -> None:
        for state in RunState:
            brought_to(catalog, dataset, state, source=f"/{state}")
        passing = submitted(catalog, dataset, source="/passing")
        catalog.fail(passing.run.id, PASSING)
        brought_to(catalog, dataset, RunState.DONE, source="/other", settings="s2")
        assert sorted(catalog.settled(dataset.id, "s1")) == ["/done", "/failed"]

    def test_submits_of_one_document_at_once_are_one_run(self, catalog: Catalog, dataset: Dataset) -> None:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: submitted(catalog, dataset), range(12)))
        assert len({one.run.id for one in made}) == 1
        assert sum(one.fresh for one in made) == 1

    # -- runs
    @pytest.mark.parametrize("end", ENDS)
    def test_an_end_state_is_final(self, catalog: Catalog, dataset: Dataset, end: RunState) -> None:
        made = brought_to(catalog, dataset, end)
        before, part = catalog.run(made.run.id), catalog.part(made.run.id, 0)
        assert not catalog.fail(made.run.id, PASSING)
        assert not catalog.cancel(made.run.id)
        catalog.report(made.run.id, 0, 0.9)
        assert catalog.commit(made.run.id, chunks=2) is (end is RunState.DONE)
        for step in (
            lambda: catalog.start(made.run.id),
            lambda: catalog.plan(made.run.id, [Part("", 0)]),
            lambda: catalog.split(made.run.id, 0, [Part("", 0, chunk_first=0, chunk_last=1)]),
        ):
            with pytest.raises(GenerationClosed):
                step()
        if end is RunState.DONE:
            assert catalog.finish_part(made.run.id, 0, chunks=9, tokens=9, pages=9) == 0
        else:
            with pytest.raises(GenerationClosed):
                catalog.finish_part(made.run.id, 0, chunks=9, tokens=9, pages=9)
        assert catalog.run(made.run.id) == before
        assert catalog.part(made.run.id, 0) == part
        assert len(catalog.operations("t")) == 1

    def test_a_started_run_stays_started(self, catalog: Catalog, dataset: Dataset, clock: FakeClock) -> None:
        made = submitted(catalog, dataset)
        clock.move(5)
        first = catalog.start(made.run.id)
        clock.move(5)
        assert first.state is RunState.RUNNING
        assert catalog.start(made.run.id) == first == catalog.run(made.run.id)

    def test_unfinished_runs_come_oldest_first_and_page_by_page(
        self, catalog: Catalog, dataset: Dataset, clock: FakeClock
    ) -> None:
        made = []
        for number in range(7):
            clock.move(number % 2)  # some at the same moment
            made.append(submitted(catalog, dataset, source=f"/{number}").run)
        brought_to(catalog, dataset, RunState.DONE, source="/done")
        whole = catalog.unfinished()
        assert {run.id for run in whole} == {run.id for run in made}
        assert [run.created for run in whole] == sorted(run.created for run in made)
        paged, page = [], catalog.unfinished(limit=3)
        while page:
            paged += page
            page = catalog.unfinished(limit=3, after=page[-1])
        assert paged == whole

    def test_unknown_ids_are_left_out_or_said_to_be_unknown(self, catalog: Catalog, dataset: Dataset) -> None:
        made = submitted(catalog, dataset)
        assert catalog.runs(["nobody", made.run.id]) == [made.run]
        assert catalog.parts("nobody") == []
        assert catalog.parts_of(["nobody", made.run.id]) == {"nobody": [], made.run.id: catalog.parts(made.run.id)}
        assert catalog.find_document(dataset.id, "/nobody") is None
        assert not catalog.writable(999)
        assert not catalog.cancel("nobody")
        assert not catalog.commit("nobody", chunks=1)
        for ask in (
            lambda: catalog.run("nobody"),
            lambda: catalog.part(made.run.id, 7),
            lambda: catalog.finish_part(made.run.id, 7, chunks=1, tokens=1, pages=1),
            lambda: catalog.document("t", "nobody"),
            lambda: catalog.delete_document("t", "nobody"),
        ):
            with pytest.raises(NotFound):
                ask()

    # -- parts
    def test_a_run_is_planned_once(self, catalog: Catalog, dataset: Dataset) -> None:
        made = submitted(catalog, dataset, parts=None)
        assert not made.run.planned
        first = catalog.plan(made.run.id, [Part("", n, first=n, last=n + 1) for n in range(3)])
        assert [part.number for part in first] == [0, 1, 2]
        assert catalog.plan(made.run.id, [Part("", 0)]) == first == catalog.parts(made.run.id)
        assert (catalog.run(made.run.id).planned, catalog.run(made.run.id).parts) == (True, 3)

    def test_a_part_is_split_once(self, catalog: Catalog, dataset: Dataset) -> None:
        made = submitted(catalog, dataset, parts=[Part("", 0, first=0, last=5), Part("", 1, first=5, last=9)])
        cuts = [Part("", 0, first=0, last=5, chunk_first=n, chunk_last=n + 10) for n in (0, 10, 20)]
        first = catalog.split(made.run.id, 0, cuts)
        assert [(part.number, part.chunk_first) for part in first] == [(0, 0), (2, 10), (3, 20)]
        assert catalog.split(made.run.id, 0, cuts[:2]) == first
        assert catalog.run(made.run.id).parts == len(catalog.parts(made.run.id)) == 4
        catalog.finish_part(made.run.id, 1, chunks=1, tokens=1, pages=1)
        assert [part.number for part in catalog.split(made.run.id, 1, cuts)] == [1]

    def test_finishing_a_part_twice_is_once(self, catalog: Catalog, dataset: Dataset) -> None:
        made = submitted(catalog, dataset, parts=[Part("", 0), Part("", 1)])
        assert catalog.finish_part(made.run.id, 0, chunks=3, tokens=30, pages=2) == 1
        assert catalog.finish_part(made.run.id, 0, chunks=5, tokens=50, pages=5) == 1
        part, run = catalog.part(made.run.id, 0), catalog.run(made.run.id)
        assert (part.done, part.progress, part.chunks, part.tokens, part.pages) == (True, 1.0, 3, 30, 2)
        assert (run.parts_done, run.chunks, run.progress) == (1, 3, 0.5)
        assert catalog.finish_part(made.run.id, 1, chunks=1, tokens=1, pages=1) == 0

    def test_progress_never_falls(self, catalog: Catalog, dataset: Dataset) -> None:
        made = submitted(catalog, dataset, parts=[Part("", 0), Part("", 1)])
        assert catalog.report(made.run.id, 0, 0.8) == pytest.approx(0.4)
        assert catalog.report(made.run.id, 0, 0.2) == pytest.approx(0.4)
        assert catalog.report(made.run.id, 1, 7.0) == pytest.approx(0.9)
        cuts = [Part("", 1, chunk_first=n, chunk_last=n + 1) for n in range(8)]
        catalog.split(made.run.id, 1, cuts)
        assert catalog.report(made.run.id, 0, 0.9) == pytest.approx(0.9)
        assert catalog.run(made.run.id).progress == pytest.approx(0.9)

    def test_several_workers_finish_parts_and_one_of_them_learns_that_it_was_the_last(
        self, catalog: Catalog, dataset: Dataset
    ) -> None:
        made = submitted(catalog, dataset, parts=[Part("", n) for n in range(8)])

        def work(number: int) -> int:
            catalog.start(made.run.id)
            return catalog.finish_part(made.run.id, number, chunks=1, tokens=1, pages=1)

        with ThreadPoolExecutor(4) as pool:
            left = list(pool.map(work, range(8)))
        assert sorted(left) == list(range(8))
        assert catalog.commit(made.run.id, chunks=8)

    # -- what is kept beside
    def test_log_lines_come_back_in_their_order(self, catalog: Catalog, dataset: Dataset) -> None:
        run = submitted(catalog, dataset).run.id
        lines = [LogLine(2.0, "parse", "später\n第一", 0), LogLine(1.0, "embed", "'; DROP TABLE run; --")]
        catalog.log(run, lines[:1])
        catalog.log(run, [])
        catalog.log(run, lines[1:])
        assert catalog.logs(run) == lines

    def test_a_text_may_be_long_and_hold_anything(self, catalog: Catalog, dataset: Dataset) -> None:
        """A NUL, which not every database can hold, may come back as another sign; nothing else changes."""
        run = submitted(catalog, dataset, source="/" + "p" * 4000).run
        catalog.log(run.id, [LogLine(1.25, "parse", "a\x00b" + "\u4e2d" * 70_000)])
        [line] = catalog.logs(run.id)
        assert line.message.replace("\ufffd", "\x00") == "a\x00b" + "\u4e2d" * 70_000
        assert catalog.fail(run.id, Failure("parse", "DamagedDocument", "\x00\\'" * 50_000))
        assert catalog.run(run.id).failure == Failure("parse", "DamagedDocument", "\x00\\'" * 50_000)

    def test_moments_keep_their_microseconds(self, catalog: Catalog, dataset: Dataset, clock: FakeClock) -> None:
        clock.move(0.123456)
        made = submitted(catalog, dataset)
        assert made.run.created == made.document.created == clock.now()

    def test_files_seen_before_are_remembered_and_overwritten(self, catalog: Catalog, dataset: Dataset) -> None:
        other = a_dataset(catalog, "other")
        many = {f"/f{n}": (n, 2**62 + n, f"d{n}") for n in range(250)}
        catalog.remember_files(dataset.id, many)
        catalog.remember_files(dataset.id, {"/f3": (9, 9, "new")})
        catalog.remember_files(dataset.id, {})
        alike = {"/F3": (1, 1, "a"), "/f3 ": (2, 2, "b"), "/" + "d" * 4000: (3, 3, "c")}
        catalog.remember_files(dataset.id, alike)
        assert catalog.seen_files(dataset.id) == many | {"/f3": (9, 9, "new")} | alike
        assert catalog.seen_files(other.id) == {}

    def test_every_ended_run_is_in_the_operation_log_newest_first(
        self, catalog: Catalog, dataset: Dataset, clock: FakeClock
    ) -> None:
        for number, state in enumerate(ENDS):
            made = submitted(catalog, dataset, source=f"/{number}")
            catalog.start(made.run.id)
            clock.move(3)
            if state is RunState.DONE:
                catalog.finish_part(made.run.id, 0, chunks=2, tokens=20, pages=1)
                catalog.commit(made.run.id, chunks=2)
            elif state is RunState.FAILED:
                catalog.fail(made.run.id, PASSING)
            else:
                catalog.cancel(made.run.id)
        told = catalog.operations("t")
        assert [one.state for one in told] == [RunState.CANCELLED, RunState.FAILED, RunState.DONE]
        assert [(one.seconds, one.chunks, one.tokens) for one in told] == [(3.0, 0, 0), (3.0, 0, 0), (3.0, 2, 20)]
        assert told[1].failure == PASSING
        assert catalog.operations("t", dataset.id, limit=1) == told[:1]
        assert catalog.operations("t", "nobody") == catalog.operations("stranger") == []

    # -- tenants
    def test_tenants_are_apart(self, catalog: Catalog) -> None:
        mine, theirs = a_dataset(catalog), a_dataset(catalog, tenant="u")
        made = brought_to(catalog, mine, RunState.DONE)
        assert mine.id != theirs.id
        assert catalog.find_document(theirs.id, "/a.md") is None
        assert (catalog.documents("u"), catalog.documents("u", mine.id)) == ([], [])
        assert catalog.documents("t", theirs.id) == []
        assert (catalog.blobs(), catalog.needs_blob("u", "d1")) == ({("t", "d1")}, False)
        assert catalog.settled(theirs.id, "s1") == {}
        assert catalog.tenants() == ["t", "u"]
        for ask in (
            lambda: catalog.dataset("u", mine.id),
            lambda: catalog.space("u", mine.id),
            lambda: catalog.document("u", made.document.id),
            lambda: catalog.delete_document("u", made.document.id),
            lambda: catalog.delete_dataset("u", mine.id),
        ):
            with pytest.raises(NotFound):
                ask()
        assert submitted(catalog, theirs).fresh

    @pytest.mark.parametrize("name", ["../x", "a'; DROP TABLE dataset; --", "名前", "a/b", "%", "x" * 255])
    def test_names_are_only_names(self, catalog: Catalog, name: str) -> None:
        made = a_dataset(catalog, name)
        other = a_dataset(catalog)
        assert catalog.dataset("t", name) == made
        document = submitted(catalog, made, source=name).document
        assert catalog.find_document(made.id, name) == document
        assert catalog.find_document(other.id, name) is None
        assert catalog.check() == []
