"""The contract of a catalog's generations: subclass it beside ``CatalogContract``, with the same fixtures."""

from __future__ import annotations

import pytest

from gristmill.base.errors import Conflict, GenerationClosed, NotFound
from gristmill.ports.catalog import Catalog, Dataset, GenState, Part, RunState
from gristmill.testing.catalogs import ENDS, CatalogFixtures, a_dataset, brought_to, submitted
from gristmill.testing.clock import FakeClock


class GenerationContract(CatalogFixtures):
    """Generations: what readers may see, and what may go (P4)."""

    def test_commit_shows_the_new_generation_and_retires_the_old_in_one_step(
        self, catalog: Catalog, dataset: Dataset
    ) -> None:
        first = brought_to(catalog, dataset, RunState.DONE, chunks=2)
        second = brought_to(catalog, dataset, RunState.DONE, digest="d2", chunks=3)
        document = catalog.document("t", first.document.id)
        assert (document.live, document.chunks, document.tokens, document.pages) == (second.run.gen, 3, 30, 1)
        assert catalog.live(dataset.id) == {second.run.gen: (document.id, 3)}
        assert catalog.generations(dataset.id) == {first.run.gen: GenState.RETIRED, second.run.gen: GenState.LIVE}
        assert catalog.view(dataset.id).hidden == {first.run.gen}

    def test_the_old_generation_answers_until_the_commit(self, catalog: Catalog, dataset: Dataset) -> None:
        first = brought_to(catalog, dataset, RunState.DONE)
        second = brought_to(catalog, dataset, RunState.RUNNING, digest="d2")
        catalog.finish_part(second.run.id, 0, chunks=5, tokens=5, pages=5)
        document = catalog.document("t", first.document.id)
        assert (document.live, document.chunks, document.state) == (first.run.gen, 2, RunState.RUNNING)
        assert catalog.view(dataset.id).hidden == {second.run.gen}

    @pytest.mark.parametrize("end", [RunState.FAILED, RunState.CANCELLED])
    def test_the_old_generation_stays_when_the_new_one_comes_to_nothing(
        self, catalog: Catalog, dataset: Dataset, end: RunState
    ) -> None:
        first = brought_to(catalog, dataset, RunState.DONE)
        second = brought_to(catalog, dataset, end, digest="d2")
        document = catalog.document("t", first.document.id)
        assert (document.live, document.chunks, document.state) == (first.run.gen, 2, end)
        assert catalog.generations(dataset.id)[second.run.gen] is GenState.DEAD

    def test_commit_waits_for_the_plan_and_all_parts(self, catalog: Catalog, dataset: Dataset) -> None:
        run = submitted(catalog, dataset, parts=None).run
        assert not catalog.commit(run.id, chunks=0)
        catalog.plan(run.id, [Part("", 0), Part("", 1)])
        catalog.finish_part(run.id, 0, chunks=2, tokens=2, pages=1)
        assert not catalog.commit(run.id, chunks=2)
        assert not catalog.run(run.id).state.final
        catalog.finish_part(run.id, 1, chunks=1, tokens=1, pages=1)
        assert catalog.commit(run.id, chunks=3)
        assert catalog.commit(run.id, chunks=3)
        assert len(catalog.operations("t")) == 1

    @pytest.mark.parametrize("made", [0, 2])
    def test_commit_refuses_another_count_than_the_parts_made_and_none_at_all(
        self, catalog: Catalog, dataset: Dataset, made: int
    ) -> None:
        run = brought_to(catalog, dataset, RunState.RUNNING).run
        catalog.finish_part(run.id, 0, chunks=made, tokens=0, pages=0)
        with pytest.raises(Conflict):
            catalog.commit(run.id, chunks=made and made - 1)
        assert catalog.run(run.id).state is RunState.RUNNING
        assert catalog.generations(dataset.id) == {run.gen: GenState.PENDING}

    def test_what_was_overtaken_can_neither_write_nor_commit(self, catalog: Catalog, dataset: Dataset) -> None:
        old = brought_to(catalog, dataset, RunState.RUNNING).run
        assert catalog.writable(old.gen)
        new = submitted(catalog, dataset, digest="d2").run
        assert (catalog.writable(old.gen), catalog.writable(new.gen)) == (False, True)
        with pytest.raises(GenerationClosed):
            catalog.finish_part(old.id, 0, chunks=2, tokens=2, pages=1)
        assert not catalog.commit(old.id, chunks=2)
        assert catalog.live(dataset.id) == {}

    @pytest.mark.parametrize("end", ENDS)
    def test_an_ended_run_is_not_writable(self, catalog: Catalog, dataset: Dataset, end: RunState) -> None:
        assert not catalog.writable(brought_to(catalog, dataset, end).run.gen)

    def test_a_generation_that_begins_later_is_above_an_older_view(self, catalog: Catalog, dataset: Dataset) -> None:
        brought_to(catalog, dataset, RunState.DONE, source="/a")
        view = catalog.view(dataset.id)
        later = brought_to(catalog, dataset, RunState.DONE, source="/b")
        assert later.run.gen > view.hi
        fresh = catalog.view(dataset.id)
        assert (fresh.hi >= later.run.gen, later.run.gen in fresh.hidden) == (True, False)

    def test_a_number_is_never_given_out_twice(self, catalog: Catalog, dataset: Dataset) -> None:
        gens: set[int] = set()
        for _ in range(3):
            run = brought_to(catalog, dataset, RunState.CANCELLED, again=True).run
            assert run.gen > max(gens, default=0)
            gens.add(run.gen)
            catalog.swept([run.gen], keep_dead=0)
        assert catalog.generations(dataset.id) == {}

    def test_a_view_hides_only_what_is_of_its_dataset(self, catalog: Catalog, dataset: Dataset) -> None:
        other = a_dataset(catalog, "other")
        mine = brought_to(catalog, dataset, RunState.RUNNING).run
        brought_to(catalog, other, RunState.CANCELLED)
        assert catalog.view(dataset.id).hidden == {mine.gen}

    def test_deleting_a_document_hides_it_at_once(self, catalog: Catalog, dataset: Dataset) -> None:
        made = brought_to(catalog, dataset, RunState.DONE)
        running = submitted(catalog, dataset, digest="d2")
        catalog.remember_files(dataset.id, {"/a.md": (1, 2, "d1")})
        catalog.delete_document("t", made.document.id)
        assert catalog.view(dataset.id).hidden == {made.run.gen, running.run.gen}
        assert not catalog.writable(running.run.gen)
        assert (catalog.documents("t"), catalog.unfinished(), catalog.blobs()) == ([], [], set())
        assert catalog.seen_files(dataset.id) == {}
        with pytest.raises(NotFound):
            catalog.document("t", made.document.id)
        assert catalog.check() == []

    def test_dead_generations_are_swept_at_once_and_retired_ones_after_the_grace(
        self, catalog: Catalog, dataset: Dataset, clock: FakeClock
    ) -> None:
        retired = brought_to(catalog, dataset, RunState.DONE).run.gen
        live = brought_to(catalog, dataset, RunState.DONE, digest="d2").run.gen
        dead = brought_to(catalog, dataset, RunState.CANCELLED, source="/b").run.gen
        pending = brought_to(catalog, dataset, RunState.RUNNING, source="/c").run.gen
        assert [gens for _, gens in catalog.sweepable(grace=60)] == [[dead]]
        clock.move(60)
        [(room, gens)] = catalog.sweepable(grace=60)
        assert (room.id, gens) == (dataset.id, [retired, dead])
        catalog.swept([retired, live, dead, pending], keep_dead=3600)
        assert catalog.generations(dataset.id).keys() == {live, dead, pending}
        assert catalog.view(dataset.id).hidden == {dead, pending}
        clock.move(3600)
        catalog.swept([dead], keep_dead=3600)
        assert catalog.generations(dataset.id).keys() == {live, pending}
        assert catalog.sweepable(grace=0) == []

    def test_blobs_are_those_of_documents_and_unfinished_runs(self, catalog: Catalog, dataset: Dataset) -> None:
        made = brought_to(catalog, dataset, RunState.DONE, digest="d1")
        submitted(catalog, dataset, source="/same", digest="d1")
        submitted(catalog, dataset, digest="d2")
        assert catalog.blobs() == {("t", "d1"), ("t", "d2")}
        catalog.delete_document("t", made.document.id)
        assert catalog.blobs() == {("t", "d1")}
        assert [catalog.needs_blob("t", one) for one in ("d1", "d2")] == [True, False]

    def test_what_is_given_up_is_noted_until_a_sweep_has_seen_to_it(
        self, catalog: Catalog, dataset: Dataset, clock: FakeClock
    ) -> None:
        made = brought_to(catalog, dataset, RunState.DONE, digest="d1")
        brought_to(catalog, dataset, RunState.DONE, digest="d1", again=True)
        assert catalog.released() == []
        brought_to(catalog, dataset, RunState.DONE, digest="d2")
        first = catalog.released()
        assert [(one.tenant, one.kind, one.name) for one in first] == [("t", "blob", "d1")]
        clock.move(1)
        catalog.delete_document("t", made.document.id)
        brought_to(catalog, dataset, RunState.DONE, digest="d3")
        catalog.delete_dataset("t", dataset.id)
        given_up = {("t", "blob", "d2"), ("t", "blob", "d3"), ("t", "room", dataset.id)}
        assert {(one.tenant, one.kind, one.name) for one in catalog.released()} == given_up | {("t", "blob", "d1")}
        catalog.seen_to(first)
        catalog.seen_to([])
        assert {(one.tenant, one.kind, one.name) for one in catalog.released()} == given_up

    def test_what_is_given_up_anew_is_not_seen_to_yet(
        self, catalog: Catalog, dataset: Dataset, clock: FakeClock
    ) -> None:
        for _ in range(2):
            made = brought_to(catalog, dataset, RunState.DONE)
            before = catalog.released()
            catalog.delete_document("t", made.document.id)
            clock.move(1)
        catalog.seen_to(before)
        assert len(catalog.released()) == 1

    def test_a_catalog_in_use_has_no_damage(self, catalog: Catalog, dataset: Dataset) -> None:
        for state in RunState:
            brought_to(catalog, dataset, state, source=f"/{state}")
            submitted(catalog, dataset, source=f"/{state}", digest="d2")
        assert catalog.check() == []
