"""Reading order: columns one after the other, whatever order a producer wrote lines in."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from gristmill.parsers.order import ordered


@dataclass
class Placed:
    name: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: float = 10.0


def column(name: str, x0: float, x1: float, first: float, count: int) -> list[Placed]:
    return [Placed(f"{name}{n}", x0, first + 14 * n, x1, first + 14 * n + 10) for n in range(count)]


def over(name: str, y0: float, x0: float = 50, x1: float = 550) -> list[Placed]:
    return [Placed(name, x0, y0, x1, y0 + 10)]


TITLE_AND_COLUMNS = [*over("title", 40), *column("left", 50, 290, 80, 12), *column("right", 310, 550, 80, 12)]
SHORT_SECOND = [*column("left", 50, 290, 80, 20), *column("right", 310, 550, 80, 5)]
THREE = [*column("a", 50, 200, 60, 15), *column("b", 220, 370, 60, 15), *column("c", 390, 550, 60, 15)]
SIDE_BAR = [*column("bar", 50, 150, 60, 6), *column("text", 180, 550, 60, 20)]
FOOTNOTES = [*TITLE_AND_COLUMNS, *over("note", 300)]
TWO_STORIES = [
    *over("first", 40),
    *column("left", 50, 290, 60, 8),
    *column("right", 310, 550, 60, 8),
    *over("second", 220),
    *column("down", 50, 290, 250, 8),
    *column("there", 310, 550, 250, 8),
]


@pytest.mark.parametrize(
    "page",
    [TITLE_AND_COLUMNS, SHORT_SECOND, THREE, SIDE_BAR, FOOTNOTES, TWO_STORIES],
    ids=["title", "short", "three", "side bar", "notes", "two stories"],
)
def test_lines_in_any_order_are_read_column_by_column(page: list[Placed]) -> None:
    for seed in range(20):
        shuffled = random.Random(seed).sample(page, len(page))
        assert [line.name for line in ordered(shuffled)] == [line.name for line in page]


def test_the_order_of_a_producer_who_never_goes_back_is_kept() -> None:
    page = [*column("right", 310, 550, 80, 12), *column("left", 50, 290, 80, 12)]
    assert ordered(list(page)) == page


def test_a_page_of_very_many_bands_keeps_all_of_its_lines() -> None:
    """Its bands are put together in one pass: each line is looked at a few times, however many there are."""
    page = [
        Placed(f"{n}", 50 + 250 * (n % 2), 20.0 * (n // 2), 250 + 250 * (n % 2), 20.0 * (n // 2) + 10)
        for n in range(8_000)
    ]
    shuffled = random.Random(1).sample(page, len(page))
    assert [line.name for line in ordered(shuffled)] == [
        *(line.name for line in page[::2]),
        *(line.name for line in page[1::2]),
    ]
