"""Conditions as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.base.errors import QueryError
from gristmill.ports.docstore import Condition
from gristmill.search.where import LONGEST, MOST, conditions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price>=10", Condition("price", ">=", "10", 10)),
        (" Unit price  <  -1.5 ", Condition("Unit price", "<", "-1.5", -1.5)),
        ("n = 1e3", Condition("n", "=", "1e3", 1000.0)),
        ("价格 != 9", Condition("价格", "!=", "9", 9)),
        ("day > 2024-02-29", Condition("day", ">", "2024-02-29", None, "2024-02-29 00:00:00")),
        ("day > 2024-2-3 4:05", Condition("day", ">", "2024-2-3 4:05", None, "2024-02-03 04:05:00")),
        ("day <= 2024-02", Condition("day", "<=", "2024-02", None, "2024-02-01 00:00:00")),
        ("day < 2024", Condition("day", "<", "2024", 2024, "2024-01-01 00:00:00")),
        ("day = 2023-02-29", Condition("day", "=", "2023-02-29")),
        ("new = True", Condition("new", "=", "True", None, None, "yes")),
        ("new = no", Condition("new", "=", "no", None, None, "no")),
        ('id = "007"', Condition("id", "=", "007")),
        ('"a>b" = "x ""and"" y"', Condition("a>b", "=", 'x "and" y')),
        ("brand = Anderson", Condition("brand", "=", "Anderson")),
        ("x = '; DROP TABLE chunk; --", Condition("x", "=", "'; DROP TABLE chunk; --")),
        ("x = " + "9" * 400, Condition("x", "=", "9" * 400)),
        ('x = ""', Condition("x", "=", "")),
    ],
)  # fmt: skip
def test_a_condition_is_a_column_an_operator_and_a_value(text: str, expected: Condition) -> None:
    assert conditions([text]) == (expected,)


def test_several_are_joined_by_and_or_given_one_by_one() -> None:
    both = (Condition("a", ">", "1", 1), Condition("b", "=", "x y"))
    assert conditions(["a > 1 and b = x y"]) == conditions(["a>1 AND b=x y"]) == conditions(["a>1", "b = x y"]) == both
    assert conditions(['a > 1 and b = "x y"']) == both
    assert conditions(["at = Sand and Stone = x"]) == (Condition("at", "=", "Sand"), Condition("Stone", "=", "x"))
    assert conditions([]) == ()


@pytest.mark.parametrize(
    "text",
    ["", "price", "price 10", ">= 10", "price >=", "a == 1", "a => 1", "a <> 1", "a = 1 and", "and", 'a = "x', '"" = 1',
     'a = "x" y', "a = 1 and b", 'a = x"y'],
)  # fmt: skip
def test_what_is_no_condition_is_refused_with_the_shape_of_one(text: str) -> None:
    with pytest.raises(QueryError, match="COLUMN OP VALUE"):
        conditions([text])


def test_there_is_a_bound() -> None:
    with pytest.raises(QueryError, match="at most"):
        conditions(["a = 1"] * (MOST + 1))
    with pytest.raises(QueryError, match="characters"):
        conditions(["a = " + "1" * LONGEST])


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = conditions([text])
    except QueryError:
        return
    assert found
    assert all(one.op in ("=", "!=", "<", "<=", ">", ">=") for one in found)


@given(st.text(min_size=1).filter(str.strip), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.text())
def test_in_quotes_any_name_and_value_comes_through(column: str, op: str, value: str) -> None:
    quoted = ['"' + word.replace('"', '""') + '"' for word in (column, value)]
    if not column.strip(' "'):
        return
    [found] = conditions([f"{quoted[0]} {op} {quoted[1]}"[:LONGEST]])
    assert (found.column, found.op, found.text) == (column, op, value)
