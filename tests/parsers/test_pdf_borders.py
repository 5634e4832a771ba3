"""Paragraphs and tables over a border between columns or pages."""

from __future__ import annotations

import pytest

from gristmill.parsers.pdf.borders import over_borders
from gristmill.ports.document import Block, Box, Cell, Table

LONG = "A lease is the right to run a task now, and who holds it extends it before"


def text(words: str, page: int, *, x: float = 72, y: float = 700, wide: float = 450, size: float = 10) -> Block:
    return Block("text", words, boxes=[Box(page, x, y, x + wide, y + 20)], page=page, size=size)


def table(rows: list[list[str]], page: int, x: float = 72, head: int = 0) -> Block:
    cells = [Cell(value, row, col) for row, line in enumerate(rows) for col, value in enumerate(line)]
    found = Table(len(rows), len(rows[0]), cells, head)
    return Block("table", "", boxes=[Box(page, x, 600, x + 400, 700)], page=page, table=found)


def margin(words: str, page: int, kind: str = "footer") -> Block:
    return Block(kind, words, boxes=[Box(page, 280, 800, 320, 810)], page=page)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        (LONG, "it ends; then it is gone.", f"{LONG} it ends; then it is gone."),
        ("The extra-", "ordinary lease.", "The extraordinary lease."),
        (
            "读者就会看到半个文档：一些分块是",
            "新的，一些是旧的。",
            "读者就会看到半个文档：一些分块是新的，一些是旧的。",
        ),
        ("ここでは文書がどのように", "読まれるかを説明する。", "ここでは文書がどのように読まれるかを説明する。"),
    ],
)
def test_a_paragraph_over_a_page_border_is_one_block_with_a_box_for_each_page(
    before: str, after: str, whole: str
) -> None:
    parts = [text(before, 1), margin("1", 1), margin("Report", 2, "header"), text(after, 2, y=90)]
    joined, *beside = over_borders(parts)
    assert (joined.text, joined.page, [box.page for box in joined.boxes]) == (whole, 1, [1, 2])
    assert [block.text for block in beside] == ["1", "Report"]


@pytest.mark.parametrize(
    "after",
    [
        text("Another one begins here.", 2),
        text("it stands on a later page.", 3),
        text("it is a note in smaller type.", 2, size=7),
        text("a) it is an item", 2),
        Block("heading", "it is a heading", level=1, boxes=[Box(2, 72, 90, 300, 110)], page=2, size=10),
    ],
)
def test_what_does_not_go_on_stays_by_itself(after: Block) -> None:
    assert list(over_borders([text(LONG, 1), after])) == [text(LONG, 1), after]


@pytest.mark.parametrize("end", [".", "!", "。", "：", ".”", "；", ".)"])
def test_a_sentence_that_ended_does_not_go_on(end: str) -> None:
    parts = [text(LONG + end, 1), text("it is small.", 2)]
    assert list(over_borders(parts)) == parts


def test_a_heading_or_a_short_line_ends_what_stands_before_it() -> None:
    for parts in (
        [text(LONG, 1), Block("heading", "Next", level=1, page=2), text("it is small.", 2)],
        [text("A short line", 1, wide=60), text("it is small, and as wide as the page.", 2)],
        [text("第一条 各级人民政府应当", 1), text("第二条 国家支持", 2)],
    ):
        assert list(over_borders(parts)) == parts


def test_a_sentence_goes_on_in_the_next_column_and_on_the_page_after_that() -> None:
    parts = [
        text("It begins in the first column and", 1, y=700, wide=200),
        text("it goes on in the second and", 1, x=310, y=80, wide=200),
        text("it ends over the leaf.", 2, y=80, wide=200),
    ]
    (joined,) = over_borders(parts)
    assert joined.text == "It begins in the first column and it goes on in the second and it ends over the leaf."
    assert [(box.page, box.x0) for box in joined.boxes] == [(1, 72), (1, 310), (2, 72)]


def test_a_table_over_pages_is_one_without_its_repeated_head() -> None:
    head = ["Region", "Total"]
    parts = [
        table([head, ["North", "1"]], 1),
        margin("1", 1),
        table([head, ["South", "2"]], 2),
        table([["East", "3"]], 3),
    ]
    joined, foot = over_borders(parts)
    assert joined.table is not None
    assert joined.table.grid() == [head, ["North", "1"], ["South", "2"], ["East", "3"]]
    assert [box.page for box in joined.boxes] == [1, 2, 3]
    assert foot.text == "1"
    assert parts[0].table is not None
    assert parts[0].table.rows == 2, "what was given stays as it was"


@pytest.mark.parametrize(
    "between",
    [[text("Words between.", 2)], [Block("heading", "Next", level=1, page=2)], [text("", 1)]],
    ids=["text", "heading", "empty text"],
)
def test_tables_with_something_between_are_two(between: list[Block]) -> None:
    parts = [table([["a", "b"]], 1), *between, table([["c", "d"]], 2)]
    assert list(over_borders(parts)) == parts


def test_tables_of_other_columns_or_places_are_two() -> None:
    for other in (table([["c", "d", "e"]], 2), table([["c", "d"]], 2, x=120), table([["c", "d"]], 3)):
        parts = [table([["a", "b"]], 1), other]
        assert list(over_borders(parts)) == parts


def test_a_whole_table_is_never_taken_for_a_head() -> None:
    (joined,) = over_borders([table([["a", "b"]], 1), table([["a", "b"]], 2)])
    assert joined.table is not None
    assert joined.table.rows == 2
