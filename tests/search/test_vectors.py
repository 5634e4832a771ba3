"""Vectors as bytes, and texts cut in two."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.search.vectors import average, halves, pack, unpack


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8).filter(lambda values: max(map(abs, values)) > 1e-3))
def test_a_packed_vector_has_unit_length_and_its_direction(values: list[float]) -> None:
    vector = unpack(pack(values))
    length = math.sqrt(sum(value * value for value in values))
    np.testing.assert_allclose(vector, [value / length for value in values], atol=1e-5)


@pytest.mark.parametrize("values", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_a_vector_without_direction_is_an_error(values: list[float]) -> None:
    with pytest.raises(ValueError, match="direction"):
        pack(values)


def test_the_average_leans_to_the_heavier() -> None:
    east, north = pack([1, 0]), pack([0, 1])
    np.testing.assert_allclose(unpack(average([east, north], [3, 4])), [0.6, 0.8], atol=1e-6)
    assert average([east], [0]) == east


def test_opposites_average_to_the_heaviest() -> None:
    east, west = pack([1, 0]), pack([-1, 0])
    assert average([east, west], [1, 1]) == east


@given(st.text(min_size=2))
def test_halves_lose_nothing_and_are_both_shorter(text: str) -> None:
    first, second = halves(text)
    assert first + second == text
    assert first
    assert second


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two, three four\n\nFive six. Seven", "One. Two, three four\n\n"),
        ("one two three. four five six", "one two three. "),
        ("一二三四五。六七八九十", "一二三四五。"),
        ("aaaa bbbb", "aaaa "),
        ("aaaabbbb", "aaaa"),
    ],
)
def test_a_text_is_cut_at_the_best_place_near_its_middle(text: str, first: str) -> None:
    assert halves(text)[0] == first
