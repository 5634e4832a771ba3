"""Pictures of text that lie on their side, stand on their head or are askew."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy
import pytest

from gristmill.parsers import ocr
from gristmill.parsers.ocr import Found, OcrLine, ocr_blocks, read_lines
from gristmill.parsers.upright import Corner, Slant
from samples import scans

WIDE = [(0.0, 0.0), (90.0, 0.0), (90.0, 10.0), (0.0, 10.0)]


def spun(box: list[Corner], degrees: float) -> list[Corner]:
    """The corners when the picture is turned clockwise, from the one that is the top left then."""
    angle = math.radians(degrees)
    sine, cosine = math.sin(angle), math.cos(angle)
    corners = [(x * cosine - y * sine, x * sine + y * cosine) for x, y in box]
    first = min(range(4), key=lambda n: sum(corners[n]))
    return [*corners[first:], *corners[:first]]


@pytest.mark.parametrize("degrees", [0, 2, 90, 88, 180, 183, 270, 275, 355])
def test_lines_are_level_again_whatever_way_the_picture_lies(degrees: float) -> None:
    flipped = 135 < degrees < 315
    boxes = [spun([(x, y + 20 * n) for x, y in WIDE], degrees) for n in range(4)]
    slant = Slant.of(boxes, ["words of it"] * 4, flipped=flipped)
    upright = [slant.upright(box) for box in boxes]
    assert [(round(x1 - x0), round(y1 - y0)) for x0, y0, x1, y1 in upright] == [(90, 10)] * 4
    assert [round(later[1] - first[1]) for first, later in pairwise(upright)] == [20] * 3
    assert slant.place(boxes[0]) is None or degrees


@pytest.mark.parametrize(
    ("boxes", "texts"),
    [
        ([[(0, 0), (9, 0), (9, 10), (0, 10)], [(0, 20), (8, 20), (8, 30), (0, 30)]], ["中", "文"]),
        ([WIDE, [(x, y + 20) for x, y in WIDE], [(0, 40), (10, 40), (10, 140), (0, 140)]], ["a title", "text", "axis"]),
        ([[(0, 0), (90, 0.3), (90, 10), (0, 10)]], ["level as far as one can tell"]),
    ],
    ids=["too short to tell", "few run another way", "almost level"],
)
def test_a_picture_is_left_as_it_is_unless_its_lines_say_otherwise(boxes: list[list[Corner]], texts: list[str]) -> None:
    assert Slant.of(boxes, texts, flipped=False) == Slant(0.0)


@pytest.mark.parametrize("degrees", [90, 180, 267])
def test_a_turned_scan_is_read_in_order_and_its_places_are_those_in_the_scan(degrees: float) -> None:
    upright = scans.page(scans.ENGLISH)
    picture = scans.turned(upright, degrees)
    [block] = ocr_blocks(read_lines(numpy.asarray(picture)), 1, 1.0)
    assert block.text == " ".join(scans.ENGLISH)
    box = block.boxes[0]
    wide, high = box.x1 - box.x0, box.y1 - box.y0
    assert (wide < high) == (degrees != 180)
    assert 0 < box.x0 < box.x1 < picture.width
    assert 0 < box.y0 < box.y1 < picture.height


def line(text: str, x0: float, y0: float, x1: float, conf: float = 1.0) -> OcrLine:
    return OcrLine(text, x0, y0, x1, y0 + 16, 16, conf)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([line("a full line", 0, 0, 200), line("and the rest", 0, 20, 120)], "a full line and the rest"),
        ([line("水车日夜", 0, 0, 200), line("转动", 0, 20, 60)], "水车日夜转动"),
        ([line("用Python", 0, 0, 200), line("写", 0, 20, 20)], "用Python 写"),
        ([line("Flour 2.00", 0, 0, 90), line("Altogether 13.00", 0, 20, 200)], "Flour 2.00\nAltogether 13.00"),
        ([line("one line", 0, 0, 90), line("in two pieces", 96, 1, 200)], "one line in two pieces"),
    ],
)
def test_full_lines_run_on_and_short_ones_keep_their_end(lines: list[OcrLine], text: str) -> None:
    assert [block.text for block in ocr_blocks(lines, 1, 1.0)] == [text]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("（四)为应对，必需;", "（四）为应对，必需；"),
        ("(五）时间:上午", "（五）时间：上午"),
        ("(六)完整的括号", "(六)完整的括号"),
        ("第1,234号 a:b; c", "第1,234号 a:b; c"),
        ("f(x) = 中, d", "f(x) = 中, d"),
    ],
)
def test_marks_behind_chinese_are_those_of_chinese(monkeypatch: pytest.MonkeyPatch, found: str, text: str) -> None:
    monkeypatch.setattr(ocr, "engine", lambda: lambda picture: Found([WIDE], (found,), (1.0,)))
    assert [one.text for one in read_lines(numpy.zeros((500, 500, 3)))] == [text]


def cells(*rows: str) -> Found:
    """Cells of rows, parted by bars, each as a line of its own, the last column first; rows are a pixel askew."""
    placed = [
        (
            [
                (200 * n, 30 * y + n),
                (200 * n + 90, 30 * y + n),
                (200 * n + 90, 30 * y + 18 + n),
                (200 * n, 30 * y + 18 + n),
            ],
            cell,
        )
        for y, row in enumerate(rows)
        for n, cell in reversed(list(enumerate(row.split("|"))))
    ]
    return Found([box for box, _ in placed], tuple(text for _, text in placed), (1.0,) * len(placed))


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        (
            ["Flour|2.00", "Salt and yeast|11.50 EUR", "Total|€13.50"],
            ["Flour 2.00\nSalt and yeast 11.50 EUR\nTotal €13.50"],
        ),
        (
            ["Region|2024|2025", "North|1,200|-35%", "South|98|(7)"],
            ["Region 2024 2025\nNorth 1,200 -35%\nSouth 98 (7)"],
        ),
        (["of the left|of the right", "column|column"], ["of the left column", "of the right column"]),
        (["left " * 15 + "|2020"], [("left " * 15).strip(), "2020"]),
        (["12|13"], ["12 13"]),
    ],
    ids=["bill", "table", "columns", "a year in a column", "numbers alone"],
)
def test_numbers_are_read_with_the_row_that_they_are_of(
    monkeypatch: pytest.MonkeyPatch, rows: list[str], texts: list[str]
) -> None:
    monkeypatch.setattr(ocr, "engine", lambda: lambda picture: cells(*rows))
    found = read_lines(numpy.zeros((500, 800, 3)))
    assert [block.text for block in ocr_blocks(found, 1, 1.0)] == texts
    assert found[0].sides[2] >= 290 or len(texts) > 1


def test_what_is_hardly_text_is_dropped_and_how_sure_the_engine_was_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [[(x, y + 20 * n) for x, y in WIDE] for n in range(5)]
    found = Found(boxes, ("the mill", "smear", "—", "…", " "), (0.8, 0.49, 0.7, 0.95, 1.0))
    monkeypatch.setattr(ocr, "engine", lambda: lambda picture: found)
    assert [(line.text, line.conf) for line in read_lines(numpy.zeros((500, 500, 3)))] == [
        ("the mill", 0.8),
        ("…", 0.95),
    ]
