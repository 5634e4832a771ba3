"""Tables of PDFs: framed by rules, or set apart by gaps; beside running text and diagrams."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from gristmill.parsers.pdf import PdfParser
from gristmill.parsers.pdf.drawn import Drawn, Rule
from gristmill.parsers.pdf.ruled import grids, joined
from gristmill.ports.document import Cell, Table
from gristmill.ports.parser import ParseLimits, Source
from samples.pdf import HEIGHT, WIDTH, canvas, grid, lines

ROWS = [["Region", "Q1", "Q2"], ["North", "120", "135"], ["South", "98", "101"], ["East", "7", "8"]]


def tables(*pages: Callable[[Any], object]) -> list[Table]:
    buffer, page = canvas()
    for draw in pages:
        draw(page)
        page.showPage()
    page.save()
    parsed = PdfParser().parse(Source("a.pdf", buffer.getvalue()), ParseLimits())
    return [block.table for block in parsed.blocks if block.table]


def framed(page: Any, rows: list[list[str]], xs: list[float], ys: list[float], *, sides: bool = True) -> None:
    """Cells of lines (parted by ``\\n``) between rules at these places, from the top left."""
    for y in ys:
        page.line(xs[0], y, xs[-1], y)
    for x in xs if sides else xs[1:-1]:
        page.line(x, ys[0], x, ys[-1])
    for n, row in enumerate(rows):
        for m, text in enumerate(row):
            lines(page, text.split("\n"), xs[m] + 4, ys[n] - 11)


def test_cells_between_rules_keep_their_lines_together() -> None:
    rows = [
        ["Name", "What it is for"],
        ["lease", "the right to run\na task for now"],
        ["fence", "a number that\ngrows"],
    ]
    (table,) = tables(lambda page: framed(page, rows, [72, 150, 300], [700, 680, 650, 620]))
    assert table.grid() == [[text.replace("\n", " ") for text in row] for row in rows]


def test_two_rows_between_rules_are_a_table() -> None:
    (table,) = tables(lambda page: framed(page, ROWS[:2], [72, 150, 220, 300], [700, 680, 660]))
    assert table.grid() == ROWS[:2]


@pytest.mark.parametrize("open_sides", [False, True])
def test_a_head_over_two_columns_is_one_cell(open_sides: bool) -> None:
    def draw(page: Any) -> None:
        xs, ys = [72.0, 150, 220, 300], [700.0, 680, 660, 640]
        for y in (*ys[:1], *ys[2:]):
            page.line(xs[0], y, xs[-1], y)
        page.line(xs[1], ys[1], xs[-1], ys[1])
        page.line(xs[1], ys[0], xs[1], ys[-1])
        page.line(xs[2], ys[1], xs[2], ys[-1])
        for x in () if open_sides else (xs[0], xs[-1]):
            page.line(x, ys[0], x, ys[-1])
        lines(page, ["Region"], 76, 675)
        lines(page, ["Both halves"], 190, 687)
        for n, row in enumerate((["", "First", "Second"], ["North", "120", "135"])):
            for m, text in enumerate(row):
                lines(page, [text], xs[m] + 4, ys[n + 1] - 13)

    (table,) = tables(draw)
    assert Cell("Region", 0, 0, 2, 1) in table.cells
    assert Cell("Both halves", 0, 1, 1, 2) in table.cells
    assert table.grid()[2] == ["North", "120", "135"]


def test_numbers_that_no_rule_parts_are_rows_of_their_own() -> None:
    values = [["A", "1"], ["B", "22"], ["C", "3"], ["D", "44"], ["E", "5"]]
    stacked = ["\n".join(row[n] for row in values) for n in (0, 1)]
    rows = [["Name", "Count"], stacked]
    (table,) = tables(lambda page: framed(page, rows, [72, 150, 220], [700, 680, 600]))
    assert table.grid() == [["Name", "Count"], *values]


def test_labels_outside_of_the_rules_are_a_column() -> None:
    def draw(page: Any) -> None:
        framed(page, [row[1:] for row in ROWS], [150, 220, 300], [700, 680, 660, 640, 620])
        for n, row in enumerate(ROWS):
            lines(page, row[:1], 72, 689 - 20 * n)

    assert [table.grid() for table in tables(draw)] == [ROWS]


def test_the_rows_above_the_numbers_are_the_head() -> None:
    (table,) = tables(lambda page: framed(page, ROWS, [72, 150, 220, 300], [700, 680, 660, 640, 620]))
    assert table.header_rows == 1
    words = [["Name", "Use"], ["lease", "to run"], ["fence", "to write"]]
    (table,) = tables(lambda page: framed(page, words, [72, 150, 220], [700, 680, 660, 640]))
    assert table.header_rows == 0


def test_a_frame_around_text_is_no_table() -> None:
    def draw(page: Any) -> None:
        page.rect(60, 500, 300, 230)
        page.line(200, 500, 200, 730)
        lines(page, ["Words in a box that", "are no table."], 72, 700)

    assert tables(draw) == []


def test_numbers_set_closely_are_columns_of_their_own() -> None:
    rows = [[f"Row {n}", f"{11.5 + n}", f"({10.5 + n}-{12.5 + n})"] for n in range(6)]

    def draw(page: Any) -> None:
        lines(page, ["Name"], 72, 700)
        lines(page, ["Rate"], 200, 700)
        for n, row in enumerate(rows):
            lines(page, row[:1], 72, 686 - 14 * n)
            page.drawString(200, 686 - 14 * n, row[1])
            page.drawString(224, 686 - 14 * n, row[2])

    (table,) = tables(draw)
    assert table.grid()[1:] == rows


def test_running_text_beside_a_table_is_no_part_of_its_rows() -> None:
    prose = [f"these words of a column run on and on, as line {'abcdefghij'[n]} does" for n in range(10)]

    def draw(page: Any) -> None:
        for n, row in enumerate(ROWS):
            grid(page, [row], 60, 700 - 14 * n, step=60)
        lines(page, prose, 320, 712)

    assert [table.grid() for table in tables(draw)] == [ROWS]


def test_the_scale_of_a_diagram_is_no_table() -> None:
    def draw(page: Any) -> None:
        for n in range(7):
            lines(page, [str(100 * n)], 72, 500 + 30 * n)
            lines(page, [str(10 * n)], 300, 500 + 30 * n)
        lines(page, ["Leases of a day"], 150, 650)

    assert tables(draw) == []
    numbered = [[str(n), str(n + 100), str(n + 200)] for n in range(9)]
    assert [table.grid() for table in tables(lambda page: grid(page, numbered, 72, 700))] == [numbered]


def test_a_value_beside_the_middle_of_a_label_is_in_its_row() -> None:
    def draw(page: Any) -> None:
        grid(page, [["Name", "Q1", "Q2"], ["North", "12", "13"], ["South", "9", "10"]], 72, 700, step=150)
        lines(page, ["East, with all of", "the islands"], 72, 658)
        page.drawString(222, 652, "7")
        page.drawString(372, 652, "8")
        grid(page, [["West", "1", "2"]], 72, 628, step=150)

    (table,) = tables(draw)
    assert table.grid()[3:] == [["East, with all of the islands", "7", "8"], ["West", "1", "2"]]


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_page_is_read_as_it_is_seen_however_it_was_turned_and_cut(turn: int) -> None:
    """What is seen of a page does not begin at nought, and what is written stands upright after the turn."""
    wide, high = (WIDTH, HEIGHT) if turn in (0, 180) else (HEIGHT, WIDTH)
    buffer, page = canvas()
    page.setPageSize((wide + 50, high + 30) if turn in (0, 180) else (high + 30, wide + 50))  # reportlab swaps them
    page.setCropBox((50, 30, wide + 50, high + 30))
    page.setPageRotation(turn)
    page.translate(50, 30)
    page.translate(*{0: (0, 0), 90: (wide, 0), 180: (wide, high), 270: (0, high)}[turn])
    page.rotate(turn)
    lines(page, ["Words at the top of it."], 72, HEIGHT - 60)
    grid(page, ROWS, 72, HEIGHT - 200)
    page.showPage()
    page.save()
    document = PdfParser().parse(Source("a.pdf", buffer.getvalue()), ParseLimits())
    assert [block.text or (block.table and block.table.grid()) for block in document.blocks] == [
        "Words at the top of it.",
        ROWS,
    ]
    assert [round(block.boxes[0].x0) for block in document.blocks] == [72, 72]
    assert [round(block.boxes[0].y1) for block in document.blocks] == [62, 242]
    assert (document.pages[0].width, document.pages[0].height) == (round(WIDTH, 1), round(HEIGHT, 1))


def test_rules_in_one_line_are_one() -> None:
    rules = [Rule(10, 0, 20), Rule(10.5, 19, 40), Rule(10, 60, 70), Rule(30, 0, 5)]
    assert [(round(rule.first), round(rule.last)) for rule in joined(rules)] == [(0, 40), (60, 70), (0, 5)]


def test_any_rules_give_cells_that_cover_each_place_of_a_grid_once() -> None:
    dice = random.Random(5)
    for _ in range(60):
        found = Drawn()
        for side in (found.level, found.upright):
            for _ in range(dice.randrange(12)):
                first = dice.randrange(10) * 20.0
                side.append(Rule(dice.randrange(10) * 20.0, first, first + dice.randrange(1, 10) * 20))
        for one in grids(found):
            places = [
                (row, col)
                for slot in one.slots
                for row in range(slot.row, slot.last_row + 1)
                for col in range(slot.col, slot.last_col + 1)
            ]
            assert len(places) == len(set(places)) == (len(one.xs) - 1) * (len(one.ys) - 1)


def test_a_drawing_of_very_many_rules_is_no_grid() -> None:
    found = Drawn([Rule(3.0 * n, 0, 3000) for n in range(900)], [Rule(5.0 * n, 0, 3000) for n in range(900)])
    assert grids(found) == []
