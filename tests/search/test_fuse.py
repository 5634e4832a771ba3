"""Fusion: properties that hold for any scores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.ports.docstore import Hit
from gristmill.search.fuse import Fused, floor_of, fuse

keys = st.integers(0, 20)
bm25 = st.dictionaries(keys, st.floats(0.01, 100), max_size=12)
cosines = st.dictionaries(keys, st.integers(-100, 100).map(lambda hundredths: hundredths / 100), max_size=12)
weights = st.floats(0, 1)


def order(fused: list[Fused[int]]) -> list[int]:
    return [one.key for one in fused]


@given(bm25, cosines, weights, st.floats(-1, 1))
def test_every_candidate_is_there_once_best_first_with_scores_from_0_to_1(
    terms: dict[int, float], vectors: dict[int, float], weight: float, floor: float
) -> None:
    fused = fuse(terms, vectors, floor=floor, weight=weight)
    assert sorted(order(fused)) == sorted(terms.keys() | vectors.keys())
    assert [one.score for one in fused] == sorted((one.score for one in fused), reverse=True)
    for one in fused:
        assert 0 <= one.term_score <= 1
        assert 0 <= one.vector_score <= 1
        assert 0 <= one.score <= 1 + 1e-9


@given(bm25, cosines, st.floats(-1, 1))
def test_all_weight_on_one_leg_is_the_order_of_that_leg(
    terms: dict[int, float], vectors: dict[int, float], floor: float
) -> None:
    by_terms = [terms.get(key, 0) for key in order(fuse(terms, vectors, floor=floor, weight=0))]
    assert by_terms == sorted(by_terms, reverse=True)
    lowest = min(vectors.values(), default=0)
    by_vector = [vectors.get(key, -1) for key in order(fuse({}, vectors, floor=lowest, weight=1))]
    assert by_vector == sorted(by_vector, reverse=True)


@given(bm25, cosines, weights, st.sampled_from([0.125, 2.0, 64.0]))
def test_the_scale_of_word_scores_does_not_matter(
    terms: dict[int, float], vectors: dict[int, float], weight: float, scale: float
) -> None:
    scaled = {key: score * scale for key, score in terms.items()}
    assert fuse(scaled, vectors, floor=0, weight=weight) == fuse(terms, vectors, floor=0, weight=weight)


@given(bm25.filter(lambda scores: len(scores) > 1), cosines, weights, st.data())
def test_a_better_score_never_costs_places(
    terms: dict[int, float], vectors: dict[int, float], weight: float, data: st.DataObject
) -> None:
    best = max(terms, key=lambda key: terms[key])
    riser = data.draw(st.sampled_from([key for key in terms if key != best]))
    before = order(fuse(terms, vectors, floor=0, weight=weight)).index(riser)
    risen = terms | {riser: terms[best]}
    assert order(fuse(risen, vectors, floor=0, weight=weight)).index(riser) <= before


def test_a_hit_of_one_leg_only_is_found() -> None:
    fused = {one.key: one for one in fuse({1: 3.0}, {2: 0.9}, floor=0.7, weight=0.5)}
    assert fused[1].term_score == 1
    assert fused[1].vector_score == 0
    assert fused[2].term_score == 0
    assert fused[2].vector_score == 1
    assert fused[2].cosine == 0.9


def test_both_legs_together_beat_either_alone() -> None:
    fused = fuse({1: 5.0, 3: 4.5}, {2: 0.90, 3: 0.89}, floor=0.8, weight=0.5)
    assert order(fused)[0] == 3


def test_equal_scores_keep_the_order_in_which_they_came() -> None:
    terms = dict.fromkeys([7, 3, 5], 2.0)
    assert order(fuse(terms, {}, floor=0, weight=0.5)) == [7, 3, 5]


def test_nothing_found_is_nothing() -> None:
    assert fuse({}, {}, floor=0, weight=0.5) == []


@pytest.mark.parametrize(("depth", "floor"), [(1, 0.9), (2, 0.8), (9, 0.7)])
def test_the_floor_is_the_last_neighbour_within_the_depth(depth: int, floor: float) -> None:
    assert floor_of([Hit(1, 0.7), Hit(2, 0.9), Hit(3, 0.8)], depth) == floor


def test_a_single_neighbour_counts_in_full() -> None:
    assert fuse({}, {1: 0.8}, floor=0.8, weight=1)[0].score == 1
