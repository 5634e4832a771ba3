"""What the rows of a sheet are: titles, heads and tables, as a person who looks at the sheet would say."""

from __future__ import annotations

import datetime
import io
from collections.abc import Sequence
from typing import Any

import openpyxl
import pytest

from gristmill.parsers.sheets import sections
from gristmill.parsers.xlsx import XlsxParser
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples import office

ORDERS = ["order | amount", "SO-1 | 1.5", "SO-2 | 2.5"]


def told(lines: Sequence[str], merged: Sequence[tuple[tuple[int, int], tuple[int, int]]] = ()) -> list[str]:
    """Each row with what it is: a title, of a head, or of a table; tables are counted."""
    rows = [(number, line.split(" | ")) for number, line in enumerate(lines) if line]
    found, tables = [], []
    for section, (number, values) in sections(iter(rows), merged):
        if section.title:
            found.append(f"title: {values[0]}")
            continue
        if section not in tables:
            tables.append(section)
        kind = "head" if number in [place for place, _ in section.heads] else "row"
        found.append(f"{kind} {len(tables)}: {' '.join(filter(None, values))}")
    return found


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (ORDERS, ["head 1: order amount", "row 1: SO-1 1.5", "row 1: SO-2 2.5"]),
        (["Report", "", *ORDERS[:2]], ["title: Report", "head 1: order amount", "row 1: SO-1 1.5"]),
        (["Report", "in euros", *ORDERS[:2]], ["title: Report", "title: in euros", "head 1: order amount", "row 1: SO-1 1.5"]),
        (["one", "two", "three"], ["row 1: one", "row 1: two", "row 1: three"]),
        (["1 | 2", "3 | 4"], ["row 1: 1 2", "row 1: 3 4"]),
        (["name | word"], ["row 1: name word"]),
        # an empty row does not end a table whose rows go on as before
        ([*ORDERS[:2], "", "SO-3 | 9"], ["head 1: order amount", "row 1: SO-1 1.5", "row 1: SO-3 9"]),
        (["a | b", "x | y", "", "p | q"], ["head 1: a b", "row 1: x y", "row 1: p q"]),
        # words where numbers stood, or other columns, begin another table
        ([*ORDERS[:2], "", "customer | city", "Meyer | Bonn"],
         ["head 1: order amount", "row 1: SO-1 1.5", "head 2: customer city", "row 2: Meyer Bonn"]),
        (["a | b", "x | y", "", "p | q | r", "1 | 2 | 3"], ["head 1: a b", "row 1: x y", "head 2: p q r", "row 2: 1 2 3"]),
        (["a | b", "1 | 2", "", "Second", "c | d", "3 | 4"],
         ["head 1: a b", "row 1: 1 2", "title: Second", "head 2: c d", "row 2: 3 4"]),
        ([" | a | b", " | 1 | 2"], ["head 1: a b", "row 1: 1 2"]),
    ],
)  # fmt: skip
def test_rows_are_told_apart_as_a_reader_would(lines: list[str], expected: list[str]) -> None:
    assert told(lines) == expected


def test_names_below_merged_names_are_of_the_head_too() -> None:
    lines = ["region | sales | ", " | Q1 | Q2", "North | 1 | 2"]
    assert told(lines, [((0, 1), (0, 2))]) == ["head 1: region sales", "head 1: Q1 Q2", "row 1: North 1 2"]
    assert told(lines, [((0, 0), (1, 0))]) == ["head 1: region sales", "head 1: Q1 Q2", "row 1: North 1 2"]
    assert told(lines)[1] == "row 1: Q1 Q2"


def workbook(*rows: Sequence[object]) -> bytes:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(row)
    return office.saved(book)


def parse(data: bytes, **limits: int) -> ParsedDocument:
    return XlsxParser().parse(Source("book.xlsx", data), ParseLimits(**limits))


def test_a_sheet_with_a_title_and_two_tables_is_read_as_such() -> None:
    data = workbook(["Report 2026"], [], ["order", "amount"], ["SO-1", 1], [], ["customer", "city"], ["Meyer", "Bonn"])
    document = parse(data)
    assert [(block.kind, block.text, block.page) for block in document.blocks] == [
        ("text", "Report 2026", 1), ("table", "", 1), ("table", "", 1),
    ]  # fmt: skip
    assert [block.table.grid() for block in document.blocks if block.table] == [
        [["order", "amount"], ["SO-1", "1"]], [["customer", "city"], ["Meyer", "Bonn"]],
    ]  # fmt: skip


def test_each_window_of_a_table_below_a_title_has_its_whole_head() -> None:
    rows: list[list[object]] = [
        ["Report"],
        ["region", "sales", None],
        [None, "Q1", "Q2"],
        *([f"r{n}", n, n + 1] for n in range(3_100)),
    ]
    book = openpyxl.load_workbook(io.BytesIO(workbook(*rows)))
    sheet: Any = book.active
    sheet.merge_cells("B2:C2")
    windows = list(XlsxParser().windows(Source("book.xlsx", office.saved(book)), ParseLimits()))
    tables = [block.table for window in windows for block in window.blocks if block.table]
    assert [table.header_rows for table in tables] == [2] * 2
    assert {tuple(map(tuple, table.grid()[:2])) for table in tables} == {(("region", "sales", ""), ("", "Q1", "Q2"))}
    assert [row for table in tables for row in table.grid()[2:]] == [
        [f"r{n}", str(n), str(n + 1)] for n in range(3_100)
    ]
    assert [len(window.pages) for window in windows] == [1, 0]


def test_a_value_far_to_the_right_costs_no_columns_between() -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet["A1"], sheet["B1"], sheet["XFD1"], sheet["A2"], sheet["XFD2"] = "a", "b", "far", 1, 2
    (block,) = parse(office.saved(book)).blocks
    assert block.table is not None
    assert block.table.grid() == [["a", "b", "far"], ["1", "", "2"]]


def test_lengths_of_time_are_hours_minutes_and_seconds() -> None:
    (block,) = parse(workbook([datetime.timedelta(hours=30, minutes=5, seconds=7), "x"])).blocks
    assert block.table is not None
    assert block.table.grid() == [["30:05:07", "x"]]
