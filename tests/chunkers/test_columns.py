"""Columns of tables: the type that most values have, and rows as fields."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.chunkers.columns import LONGEST, Columns, flag, moment, number, whole
from gristmill.ports.docstore import FIELD_TYPES


def fields(*values: str, roles: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The fields of a column ``c`` with these values."""
    rows = [[value] for value in values]
    columns = Columns(["c"], rows, roles or {})
    return [dict(columns.fields(row)) for row in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("-12", -12), ("+3", 3), ("1,234,567", 1234567), ("$1,200", 1200), ("-€ 5", -5), ("12%", 12), ("007", None),
     ("1,23", None), ("1.0", None), ("", None), ("12 kg", None), ("1_000", None), ("²", None)],
)  # fmt: skip
def test_whole_numbers(text: str, expected: int | None) -> None:
    assert whole(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5", 0.5), ("-1,234.50", -1234.5), (".5", 0.5), ("3.", 3.0), ("1e-3", 0.001), ("$9.99", 9.99), ("12.5 %", 12.5),
     ("00.5", None), ("1.2.3", None), ("nan", None), ("inf", None), ("0x10", None), ("1 000", None)],
)  # fmt: skip
def test_numbers(text: str, expected: float | None) -> None:
    assert number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2024-02-29", "2024-02-29 00:00:00"), ("2024/2/3", "2024-02-03 00:00:00"), ("2024-02-03T04:05", "2024-02-03 04:05:00"),
     ("2024-02-03 04:05:06.789", "2024-02-03 04:05:06"), ("31.12.1999", "1999-12-31 00:00:00"),
     ("3/4/2024", "2024-03-04 00:00:00"), ("13/4/2024", "2024-04-13 00:00:00"), ("2024年3月5日", "2024-03-05 00:00:00"),
     ("5 March 2024", "2024-03-05 00:00:00"), ("5th Sept 2024", "2024-09-05 00:00:00"), ("Mar 5, 2024", "2024-03-05 00:00:00"),
     ("2023-02-29", None), ("2024-13-01", None), ("2024-02-03 25:00", None), ("2024", None), ("May", None), ("1.2", None),
     ("31.12.1999x", None), ("0000-01-01", None)],
)  # fmt: skip
def test_dates(text: str, expected: str | None) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("Yes", "yes"), ("true", "yes"), ("是", "yes"), ("✓", "yes"), ("NO", "no"),
    ("false", "no"), ("否", "no"), ("y", None), ("1", None), ("", None)])  # fmt: skip
def test_yes_and_no(text: str, expected: str | None) -> None:
    assert flag(text) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2", "x"], [{"c_long": 1}, {"c_long": 2}, {"c_raw": "x"}]),
        (["1", "x"], [{"c_raw": "1"}, {"c_raw": "x"}]),
        (["1", "2.5", "3"], [{"c_flt": 1.0}, {"c_flt": 2.5}, {"c_flt": 3.0}]),
        (["1", "1.5", "x", "y"], [{"c_raw": "1"}, {"c_raw": "1.5"}, {"c_raw": "x"}, {"c_raw": "y"}]),
        (["1", "9223372036854775808"], [{"c_flt": 1.0}, {"c_flt": 9223372036854775808.0}]),
        (["2024-01-01", "5", ""], [{"c_dt": "2024-01-01 00:00:00"}, {"c_raw": "5"}, {}]),
        (["yes", "2", ""], [{"c_raw": "yes"}, {"c_long": 2}, {}]),
        (["yes", "no", "n/a"], [{"c_kwd": "yes"}, {"c_kwd": "no"}, {"c_raw": "n/a"}]),
        (["13/04/2024", "03/04/2024"], [{"c_dt": "2024-04-13 00:00:00"}, {"c_dt": "2024-04-03 00:00:00"}]),
        (["007", "008"], [{"c_raw": "007"}, {"c_raw": "008"}]),
        (["", ""], [{}, {}]),
        (["x" * LONGEST, "x" * (LONGEST + 1)], [{"c_raw": "x" * LONGEST}, {}]),
    ],
)
def test_a_column_has_the_type_of_most_values_and_of_equals_the_one_that_loses_least(
    values: list[str], expected: list[dict[str, Any]]
) -> None:
    assert fields(*values) == expected


def test_roles_say_what_is_text_and_what_a_field() -> None:
    roles = {"a": "indexing", "b": "metadata", "c": "both"}
    columns = Columns(["a", "b", "c", "d"], [["1", "2", "3", "4"]], roles)
    assert [columns.said(n) for n in range(4)] == [True, False, True, True]
    assert columns.fields(["1", "2", "3", "4"]) == {"b_long": 2, "c_long": 3, "d_long": 4}


def test_a_short_row_has_fewer_fields() -> None:
    columns = Columns(["a", "b"], [["1", "2"], ["3"]], {})
    assert columns.fields(["3"]) == {"a_long": 3}


@given(st.lists(st.text(alphabet="0123456789.,-+/:$%eE年月 TZ\u00b2\u0663yesno", max_size=45), max_size=12))
def test_any_values_come_through_as_they_are_or_as_what_they_mean(values: list[str]) -> None:
    for value, found in zip(values, fields(*values), strict=True):
        assert bool(found) == bool(value)
        for key, field in found.items():
            assert key in {f"c{ending}" for ending in FIELD_TYPES}
            assert not isinstance(field, float) or math.isfinite(field)
            assert not isinstance(field, int) or abs(field) < 2**63
            assert not key.endswith("_raw") or field == value
