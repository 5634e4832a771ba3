"""The contract of doc stores: subclass it in a test module, give it a ``store`` fixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from gristmill.base.errors import Conflict
from gristmill.base.ids import digest
from gristmill.ports.docstore import Condition, DocStore, Filter, Hit, Record, Space, View
from gristmill.ports.document import Box
from gristmill.search.tokens import tokenize
from gristmill.search.vectors import pack

SPACE = Space("t", "d", 4)
ALL = View(10**9, frozenset())
NO_FILTER = Filter()
EAST, NORTH, UP = (pack([1, 0, 0, 0]), pack([0, 1, 0, 0]), pack([0, 0, 1, 0]))
BETWEEN = pack([3, 1, 0, 0])

HOSTILE_TERMS = (
    '"',
    "'; DROP TABLE chunk; --",
    "lease*",
    "^lease",
    "lease OR storm",
    "NEAR(lease storm)",
    "content:lease",
    "title : lease",
    "{",
    "-lease",
    "(",
    "AND",
    "NOT",
    "\\",
    "%",
    "\x00",
    "",
    " ",
    "a" * 10_000,
    "\U0001f600",
)


def a_record(content: str, *, gen: int = 1, ord: int = 0, part: int = 0, **fields: Any) -> Record:
    """A record that says this."""
    document = fields.pop("document_id", "doc")
    base: dict[str, Any] = {
        "chunk_id": digest(document, content),
        "document_id": document,
        "document": "a.md",
        "vector": EAST,
        "tokens": len(content.split()),
    }
    return Record(gen=gen, part=part, ord=ord, content=content, **{**base, **fields})


def records_of(count: int, *, gen: int = 1, part: int = 0, **fields: Any) -> list[Record]:
    """A part's records, in order."""
    return [a_record(f"text {gen} {part} {n}", gen=gen, part=part, ord=n, **fields) for n in range(count)]


class DocStoreContract:
    """What every doc store guarantees."""

    many: ClassVar[int] = 1000  # records of the larger tests

    @pytest.fixture
    def store(self) -> DocStore:
        raise NotImplementedError("override this fixture: it gives the doc store under test")

    # -- writing
    def test_a_record_comes_back_as_it_was_written(self, store: DocStore) -> None:
        record = a_record(
            "Ein Text, 一段文字\n\x00 \u202e",
            document="../x'\".md",
            kind="table",
            tokens=7,
            pages=[3, 4],
            boxes=[Box(3, 1.5, 2, 3, 4), Box(4, 0, 0, 1, 1)],
            path=["One", "Zwei"],
            asset="a1",
            keywords=["k"],
            questions=["why?"],
            tags=["a", "b"],
            created=1.25,
            title="A paper's title",
            fields={
                "price_flt": 1.5,
                "n_long": 2**53 + 1,
                "年_raw": "x'\"",
                "new_kwd": "yes",
                "at_dt": "2024-02-29 00:00:00",
            },
        )
        store.write(SPACE, [record])
        [found] = store.chunks(SPACE, ALL, "doc")
        assert found.vector == b""
        record.vector = b""
        assert found == record
        assert store.check(SPACE) == []

    def test_writing_a_place_again_replaces_it(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("old words", ord=0), a_record("kept", ord=1)])
        store.write(SPACE, [a_record("new words", ord=0, vector=NORTH)])
        assert contents(store) == ["new words", "kept"]
        assert found_by_words(store, "old") == []
        assert found_by_words(store, "new") == found_by_vector(store, NORTH, limit=1) == ["new words"]
        assert store.generations(SPACE) == {1: 2}
        assert store.check(SPACE) == []

    def test_of_one_place_twice_in_a_call_the_last_stands(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("first"), a_record("second")])
        assert contents(store) == ["second"]

    def test_the_same_place_in_another_generation_or_part_is_another(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("a", gen=1), a_record("b", gen=1, part=1), a_record("c", gen=2)])
        assert store.generations(SPACE) == {1: 2, 2: 1}

    def test_a_call_is_written_wholly_or_not_at_all(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("before")])
        with pytest.raises(Conflict):
            store.write(SPACE, [a_record("one", ord=1), a_record("two", ord=2, vector=b"\0" * 8)])
        assert contents(store) == ["before"]

    def test_nothing_written_is_nothing_there(self, store: DocStore) -> None:
        store.write(SPACE, [])
        assert store.generations(SPACE) == {}
        assert store.chunks(SPACE, ALL, "doc") == []
        assert store.seal(SPACE, 1) == 0
        assert store.sweep(SPACE, [1]) == 0
        assert (store.get(SPACE, [1]), store.score_terms(SPACE, ["a"], [1])) == ({}, {})
        assert found_by_words(store, "a") == found_by_vector(store, EAST) == []
        assert store.check(SPACE) == []
        store.trim(SPACE, 1, 0, 0)
        store.maintain(SPACE)
        store.drop(SPACE)

    def test_trim_takes_what_an_earlier_attempt_made_too_many(self, store: DocStore) -> None:
        store.write(SPACE, [*records_of(5), *records_of(3, part=1), *records_of(3, gen=2)])
        store.trim(SPACE, 1, 0, 2)
        store.trim(SPACE, 1, 0, 2)
        assert store.generations(SPACE) == {1: 5, 2: 3}
        assert [(one.part, one.ord) for one in store.chunks(SPACE, View(1, frozenset()), "doc")] == [
            (0, 0), (0, 1), (1, 0), (1, 1), (1, 2)
        ]  # fmt: skip
        assert "text 1 0 4" not in found_by_words(store, "text", limit=20)

    def test_seal_gives_repeated_texts_their_own_ids_by_order(self, store: DocStore) -> None:
        places = [(1, 0), (0, 2), (0, 0), (2, 5)]
        for part, ord_ in places:
            store.write(SPACE, [a_record("same", part=part, ord=ord_)])
        store.write(SPACE, [a_record("other", part=0, ord=1)])
        assert store.seal(SPACE, 1) == 5
        ids = {(one.part, one.ord): one.chunk_id for one in store.chunks(SPACE, ALL, "doc")}
        assert len(set(ids.values())) == 5
        assert ids[0, 0] == digest("doc", "same")
        assert store.seal(SPACE, 1) == 5
        assert {(one.part, one.ord): one.chunk_id for one in store.chunks(SPACE, ALL, "doc")} == ids

        store.write(SPACE, [a_record("same", gen=2, part=p, ord=o) for p, o in sorted(places)])  # after a re-ingestion
        store.seal(SPACE, 2)
        again = [one.chunk_id for one in store.chunks(SPACE, View(2, frozenset({1})), "doc")]
        assert again == [ids[place] for place in sorted(places)]
        store.trim(SPACE, 2, 0, 0)  # the first two go; the third becomes the first
        store.seal(SPACE, 2)
        again = [one.chunk_id for one in store.chunks(SPACE, View(2, frozenset({1})), "doc")]
        assert again == [ids[place] for place in sorted(places)[:2]]
        assert store.check(SPACE) == []

    def test_two_dimensions_do_not_mix(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("one")])
        with pytest.raises(Conflict):
            store.write(Space("t", "d", 3), [a_record("two", ord=1, vector=pack([1, 0, 0]))])
        with pytest.raises(Conflict):
            store.find_vector(Space("t", "d", 3), ALL, pack([1, 0, 0]), 5, NO_FILTER)
        assert found_by_vector(store, EAST) == ["one"]
        assert store.generations(Space("t", "d", 0)) == {1: 1}

    # -- what readers see
    def test_readers_see_generations_up_to_theirs_that_are_not_hidden(self, store: DocStore) -> None:
        for gen in (1, 2, 3):
            store.write(SPACE, [a_record(f"word gen{gen}", gen=gen, document_id=f"doc{gen}")])
        for view, seen in (
            (View(3, frozenset()), [1, 2, 3]),
            (View(2, frozenset()), [1, 2]),
            (View(3, frozenset({1, 3})), [2]),
            (View(0, frozenset()), []),
        ):
            expected = [f"word gen{gen}" for gen in seen]
            assert sorted(found_by_words(store, "word", view=view)) == expected
            assert sorted(found_by_vector(store, EAST, view=view)) == expected
            assert [text for gen in (1, 2, 3) for text in contents(store, f"doc{gen}", view)] == expected

    def test_chunks_come_in_reading_order_page_by_page(self, store: DocStore) -> None:
        records = [*records_of(4, part=12), *records_of(5, part=0), *records_of(2, part=24)]
        for record in [*records[1::2], *records[::2]]:
            store.write(SPACE, [record])
        store.write(SPACE, records_of(2, part=1, document_id="other"))
        places = [(one.part, one.ord) for one in store.chunks(SPACE, ALL, "doc")]
        assert places == sorted(places)
        assert len(places) == 11
        paged = [one for at in range(0, 12, 4) for one in store.chunks(SPACE, ALL, "doc", offset=at, limit=4)]
        assert [(one.part, one.ord) for one in paged] == places

    def test_what_is_not_available_is_not_found_but_counted(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("word shown"), a_record("word withheld", ord=1, available=False)])
        assert contents(store) == found_by_words(store, "word") == found_by_vector(store, EAST) == ["word shown"]
        assert store.generations(SPACE) == {1: 2}

    # -- the legs
    def test_words_find_on_their_own(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("the lease ends"), a_record("a storm", ord=1)])
        assert found_by_words(store, "lease") == ["the lease ends"]
        assert found_by_words(store, "lease", "storm") in (["a storm", "the lease ends"], ["the lease ends", "a storm"])
        assert found_by_words(store, "harbour") == []

    def test_vectors_find_on_their_own_nearest_first(self, store: DocStore) -> None:
        store.write(
            SPACE,
            [
                a_record("far", ord=0, vector=UP),
                a_record("near", ord=1, vector=EAST),
                a_record("next", ord=2, vector=NORTH),
            ],
        )
        hits = store.find_vector(SPACE, ALL, BETWEEN, 5, NO_FILTER)
        assert texts(store, hits) == ["near", "next", "far"]
        assert [round(hit.score, 3) for hit in hits] == [0.949, 0.316, 0.0]
        assert texts(store, store.find_vector(SPACE, ALL, BETWEEN, 2, NO_FILTER)) == ["near", "next"]

    def test_a_rarer_word_weighs_more(self, store: DocStore) -> None:
        store.write(SPACE, [a_record(f"common word {n}", ord=n) for n in range(20)])
        store.write(SPACE, [a_record("rare words of few", ord=20)])
        assert found_by_words(store, "common", "rare", limit=1) == ["rare words of few"]

    def test_the_best_comes_first_and_no_more_than_asked(self, store: DocStore) -> None:
        store.write(SPACE, [a_record(f"lease {'filler ' * n}", ord=n) for n in range(9)])
        hits = store.find_terms(SPACE, ALL, ["lease"], 4, NO_FILTER)
        assert len(hits) == 4
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert store.find_terms(SPACE, ALL, ["lease"], 0, NO_FILTER) == []
        assert store.find_vector(SPACE, ALL, EAST, 0, NO_FILTER) == []

    def test_headings_above_a_chunk_find_it(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("it ends", path=["Leases", "Fencing"])])
        assert found_by_words(store, "fencing") == ["it ends"]

    @pytest.mark.parametrize(
        "word", ["事务", "著作权法", "署名权", "著作权", "émile", "v1.2", "3.14", "σοφός", "हिन्दी"]
    )
    def test_words_of_any_script_are_found(self, store: DocStore, word: str) -> None:
        content = "数据库事务与著作权法的署名权。 Émile v1.2 kostet 3.14 ΣΟΦΌΣ हिन्दी"
        store.write(SPACE, [a_record(content), a_record("nothing of it", ord=1)])
        assert store.find_terms(SPACE, ALL, tokenize(word), 5, NO_FILTER)[0].rid
        assert found_by_words(store, *tokenize(word)) == [content]

    @pytest.mark.parametrize("term", HOSTILE_TERMS)
    def test_terms_are_only_words(self, store: DocStore, term: str) -> None:
        store.write(SPACE, [a_record("the lease ends")])
        assert found_by_words(store, term) == []
        assert found_by_words(store, term, "lease") == ["the lease ends"]
        assert store.generations(SPACE) == {1: 1}

    def test_a_thousand_terms_are_a_question_too(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("the lease ends")])
        terms = [f"w{n}" for n in range(1000)]
        assert found_by_words(store, *terms, "lease", *terms) == ["the lease ends"]
        assert found_by_words(store, *terms) == []
        assert found_by_words(store) == []

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            (Filter(documents=("doc1",)), {"a word", "b word"}),
            (Filter(kinds=("table", "code")), {"b word", "d word"}),
            (Filter(tags=("x", "y")), {"a word", "c word"}),
            (Filter(documents=("doc2",), kinds=("table",), tags=("x",)), set()),
            (Filter(documents=("nobody", "' OR 1=1 --")), set()),
            (Filter(tags=('x"]',)), set()),
            (Filter(documents=tuple(f"doc{n}" for n in range(5000))), {"a word", "b word", "c word", "d word"}),
        ],
    )
    def test_filters_narrow_both_legs(self, store: DocStore, where: Filter, expected: set[str]) -> None:
        store.write(
            SPACE,
            [
                a_record("a word", ord=0, document_id="doc1", tags=["x"]),
                a_record("b word", ord=1, document_id="doc1", kind="table", tags=["xy"]),
                a_record("c word", ord=2, document_id="doc2", tags=["y", "z"]),
                a_record("d word", ord=3, document_id="doc2", kind="code"),
            ],
        )
        assert set(found_by_words(store, "word", where=where)) == expected
        assert set(found_by_vector(store, EAST, where=where)) == expected

    @pytest.mark.parametrize(
        ("pages", "expected"),
        [
            ([(1, 1)], {"a"}),
            ([(2, 2)], {"a", "b"}),
            ([(3, 3)], set()),
            ([(3, 9)], {"b"}),
            ([(1, 1), (4, 4)], {"a", "b"}),
            ([(0, 10**12)], {"a", "b"}),
        ],
    )
    def test_pages_narrow_both_legs(self, store: DocStore, pages: list[tuple[int, int]], expected: set[str]) -> None:
        records = [a_record("a", pages=[1, 2]), a_record("b", ord=1, pages=[2, 4]), a_record("c", ord=2)]
        store.write(SPACE, records)
        where = Filter(pages=tuple(pages))
        assert set(found_by_words(store, "a", "b", "c", where=where)) == expected
        assert set(found_by_vector(store, EAST, where=where)) == expected

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (Condition("price", ">=", "10", 10), {"whole", "float"}),
            (Condition("price", "<", "10.5", 10.5), {"whole", "small"}),
            (Condition("price", "=", "10", 10), {"whole"}),
            (Condition("price", "!=", "10", 10), {"float", "small", "text"}),
            (Condition("price", "<", "a"), {"text"}),
            (Condition("price", "=", "9 or so"), {"text"}),
            (Condition("price", "<=", "a number", None, "2024-01-01 00:00:00", "yes"), {"text"}),
            (Condition("day", "<", "2024-03-01", None, "2024-03-01 00:00:00"), {"small"}),
            (Condition("day", ">=", "2024-03-01", None, "2024-03-01 00:00:00"), {"whole"}),
            (Condition("new", "=", "true", None, None, "yes"), {"float"}),
            (Condition("new", "!=", "true", None, None, "yes"), {"small"}),
            (Condition("new", ">", "true", None, None, "yes"), set()),
            (Condition("pric", "=", "10", 10), set()),
            (Condition("nothing", "!=", "10", 10), set()),
            (Condition("price_long", "=", "10", 10), set()),
            (Condition("x' OR 1=1 --", "!=", "' OR 1=1 --"), set()),
        ],
    )
    def test_conditions_on_fields_narrow_both_legs(
        self, store: DocStore, condition: Condition, expected: set[str]
    ) -> None:
        store.write(
            SPACE,
            [
                a_record("whole", ord=0, fields={"price_long": 10, "day_dt": "2024-03-01 12:00:00"}),
                a_record("float", ord=1, fields={"price_flt": 10.5, "new_kwd": "yes"}),
                a_record("small", ord=2, fields={"price_long": 9, "day_dt": "2023-12-31 00:00:00", "new_kwd": "no"}),
                a_record("text", ord=3, fields={"price_raw": "9 or so"}),
                a_record("none", ord=4),
            ],
        )
        where = Filter(conditions=(condition,))
        assert set(found_by_words(store, "whole", "float", "small", "text", "none", where=where)) == expected
        assert set(found_by_vector(store, EAST, where=where)) == expected
        both = Filter(conditions=(condition, Condition("price", "=", "10", 10)))
        assert set(found_by_vector(store, EAST, where=both)) == expected & {"whole"}

    def test_a_title_finds_its_chunk(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("it ends", title="The fencing of leases"), a_record("other", ord=1)])
        assert found_by_words(store, "fencing") == ["it ends"]

    # -- parents and names
    def test_children_know_their_parent_whatever_it_is_called_later(self, store: DocStore) -> None:
        for gen in (1, 2):
            for part in (0, 7):
                store.write(
                    SPACE,
                    [
                        a_record("before", gen=gen, part=part, ord=0),
                        a_record("one two", gen=gen, part=part, ord=1, available=False),
                        a_record("one", gen=gen, part=part, ord=2, parent=1),
                        a_record("two", gen=gen, part=part, ord=3, parent=1),
                    ],
                )
            store.seal(SPACE, gen)
        records = store.chunks(SPACE, View(1, frozenset()), "doc")
        assert [one.content for one in records] == ["before", "one", "two"] * 2
        ids = [one.parent_id for one in records]
        assert (ids[0], ids[3]) == ("", "")
        assert ids[1] == ids[2] != ids[4] == ids[5]
        for parent_id, part in ((ids[1], 0), (ids[4], 7)):
            [parent] = store.named(SPACE, View(1, frozenset()), parent_id)
            assert (parent.content, parent.part, parent.available, parent.parent) == ("one two", part, False, -1)
        rids = [hit.rid for hit in store.find_vector(SPACE, ALL, EAST, 99, NO_FILTER)]
        found = store.get(SPACE, rids)
        above = store.parents(SPACE, [*rids, 99_999])
        assert {(found[rid].gen, found[rid].part, found[rid].content) for rid in above} == {
            (gen, part, text) for gen in (1, 2) for part in (0, 7) for text in ("one", "two")
        }
        parents = store.get(SPACE, list(above.values()))
        assert all(
            (parents[p].gen, parents[p].part, parents[p].ord) == (found[c].gen, found[c].part, 1)
            for c, p in above.items()
        )
        assert store.parents(SPACE, []) == store.parents(Space("t", "empty", 4), rids) == {}
        assert store.check(SPACE) == []

    def test_a_chunk_is_found_by_the_beginning_of_its_id_where_it_is_visible(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("x", gen=gen, chunk_id=f"ab{gen}", ord=0) for gen in (1, 2, 3)])
        for beginning, seen in (
            ("ab", ["ab1", "ab3"]),
            ("ab3", ["ab3"]),
            ("ab2", []),
            ("b", []),
            ("%", []),
            ("ab1_", []),
        ):
            found = store.named(SPACE, View(3, frozenset({2})), beginning)
            assert [one.chunk_id for one in found] == seen
        assert [one.chunk_id for one in store.named(SPACE, ALL, "", limit=2)] == ["ab1", "ab2"]
        assert store.named(Space("t", "empty", 4), ALL, "ab") == []

    # -- scores of what is known
    def test_scores_of_given_records_are_those_of_the_legs(self, store: DocStore) -> None:
        vectors = (EAST, NORTH, BETWEEN)
        store.write(SPACE, [a_record(f"lease {'x ' * n}", ord=n, vector=vectors[n]) for n in range(3)])
        store.write(SPACE, [a_record("storm", ord=3, vector=UP)])
        words = store.find_terms(SPACE, ALL, ["lease"], 9, NO_FILTER)
        nearest = store.find_vector(SPACE, ALL, BETWEEN, 9, NO_FILTER)
        rids = [hit.rid for hit in nearest]
        for leg, scores in (
            (words, store.score_terms(SPACE, ["lease"], [*rids, 999])),
            (nearest, store.score_vector(SPACE, BETWEEN, [*rids, 999])),
        ):
            assert scores == pytest.approx({hit.rid: hit.score for hit in leg}, abs=1e-6)
        assert store.score_terms(SPACE, ["lease"], []) == store.score_vector(SPACE, EAST, []) == {}

    def test_get_leaves_out_what_is_not_there(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("one")])
        [rid] = [hit.rid for hit in store.find_vector(SPACE, ALL, EAST, 5, NO_FILTER)]
        assert {found.content for found in store.get(SPACE, [rid, rid + 77]).values()} == {"one"}

    def test_what_was_seen_under_a_rid_never_changes(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("old", gen=1)])
        [old] = [hit.rid for hit in store.find_vector(SPACE, ALL, EAST, 5, NO_FILTER)]
        store.sweep(SPACE, [1])
        store.write(SPACE, [a_record("new", gen=2)])
        assert store.get(SPACE, [old]) == {}

    # -- removing
    def test_sweep_deletes_generations_in_batches(self, store: DocStore) -> None:
        store.write(SPACE, [*records_of(25, gen=1), *records_of(25, gen=2), *records_of(5, gen=3)])
        gone = []
        while removed := store.sweep(SPACE, iter([1, 2, 99]), 20):
            gone.append(removed)
        assert gone == [20, 20, 10]
        assert store.generations(SPACE) == {3: 5}
        assert found_by_words(store, "text", limit=99) == contents(store) == [f"text 3 0 {n}" for n in range(5)]
        assert len(found_by_vector(store, EAST, limit=99)) == 5
        assert store.check(SPACE) == []

    def test_rooms_are_apart_by_tenant_and_dataset(self, store: DocStore) -> None:
        spaces = [Space("t", "d", 4), Space("t", "e", 4), Space("u", "d", 4)]
        for space in spaces:
            store.write(space, [a_record(f"word of {space.tenant} {space.dataset_id}")])
        for space in spaces:
            expected = [f"word of {space.tenant} {space.dataset_id}"]
            assert texts(store, store.find_terms(space, ALL, ["word"], 5, NO_FILTER), space) == expected
            assert texts(store, store.find_vector(space, ALL, EAST, 5, NO_FILTER), space) == expected
        assert sorted(store.spaces()) == [("t", "d"), ("t", "e"), ("u", "d")]
        store.sweep(spaces[0], [1])
        store.drop(spaces[1])
        store.drop(spaces[1])
        assert ("t", "e") not in store.spaces()
        assert [store.generations(space) for space in spaces] == [{}, {}, {1: 1}]

    def test_a_dropped_room_may_begin_anew(self, store: DocStore) -> None:
        store.write(SPACE, records_of(3))
        assert len(found_by_vector(store, EAST)) == 3
        store.drop(SPACE)
        other = Space("t", "d", 3)
        store.write(other, [a_record("three numbers", vector=pack([1, 0, 0]))])
        assert texts(store, store.find_vector(other, ALL, pack([1, 0, 0]), 5, NO_FILTER), other) == ["three numbers"]

    def test_maintenance_changes_nothing_that_is_seen(self, store: DocStore) -> None:
        store.write(SPACE, records_of(self.many))
        store.sweep(SPACE, [2])
        store.maintain(SPACE)
        store.maintain(SPACE)
        assert len(found_by_words(store, "text", limit=self.many * 2)) == self.many
        assert store.check(SPACE) == []

    def test_closing_gives_up_connections_and_nothing_else(self, store: DocStore) -> None:
        store.write(SPACE, [a_record("one")])
        store.close()
        store.close()
        assert contents(store) == ["one"]


class ParallelDocStoreContract:
    """For stores that several threads may use at once: readers see calls of ``write`` wholly or not at all."""

    @pytest.fixture
    def store(self) -> DocStore:
        raise NotImplementedError("override this fixture: it gives the doc store under test")

    def test_readers_never_see_half_a_call(self, store: DocStore) -> None:
        size, rounds, writers = 7, 12, 2

        def write(writer: int) -> None:
            for number in range(rounds):
                gen = number * writers + writer + 1
                store.write(SPACE, records_of(size, gen=gen, document_id=f"doc{gen}"))
                if number % 3 == 2:
                    store.sweep(SPACE, [gen], size)

        def read(look: Callable[[], list[Record]]) -> int:
            looks = 0
            while not done:
                counts: dict[int, int] = {}
                for one in look():
                    counts[one.gen] = counts.get(one.gen, 0) + 1
                assert set(counts.values()) <= {size}, counts
                looks += 1
            return looks

        def by_leg(leg: Callable[[], Sequence[Hit]]) -> Callable[[], list[Record]]:
            def look() -> list[Record]:
                found = store.get(SPACE, [hit.rid for hit in leg()])
                gens = store.generations(SPACE)  # a generation swept between the two calls is seen in part
                return [one for one in found.values() if one.gen in gens and one.gen % (3 * writers) not in swept]

            return look

        swept = {(2 * writers + writer + 1) % (3 * writers) for writer in range(writers)}
        done: list[bool] = []
        everything = writers * rounds * size
        legs = (
            lambda: store.find_terms(SPACE, ALL, ["text"], everything, NO_FILTER),
            lambda: store.find_vector(SPACE, ALL, EAST, everything, NO_FILTER),
        )
        with ThreadPoolExecutor(4) as pool:
            reading = [pool.submit(read, by_leg(leg)) for leg in legs]
            for writing in [pool.submit(write, writer) for writer in range(writers)]:
                writing.result()
            done.append(True)
            assert all(one.result() for one in reading)
        assert store.check(SPACE) == []
        assert len(store.generations(SPACE)) == writers * rounds * 2 // 3


def texts(store: DocStore, hits: Sequence[Hit], space: Space = SPACE) -> list[str]:
    """What the hits say, in their order."""
    found = store.get(space, [hit.rid for hit in hits])
    return [found[hit.rid].content for hit in hits]


def contents(store: DocStore, document_id: str = "doc", view: View = ALL) -> list[str]:
    """What a document says."""
    return [one.content for one in store.chunks(SPACE, view, document_id)]


def found_by_words(
    store: DocStore, *terms: str, view: View = ALL, limit: int = 10, where: Filter = NO_FILTER
) -> list[str]:
    """What the word leg finds."""
    return texts(store, store.find_terms(SPACE, view, terms, limit, where))


def found_by_vector(
    store: DocStore, vector: bytes, *, view: View = ALL, limit: int = 10, where: Filter = NO_FILTER
) -> list[str]:
    """What the vector leg finds."""
    return texts(store, store.find_vector(SPACE, view, vector, limit, where))
