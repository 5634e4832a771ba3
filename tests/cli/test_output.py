"""What may reach a terminal, and in which form."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.cli.output import duration, pages_of, print_json, print_table, printable, when

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\x7f\u202eevil\u2066\ud800\r\n"


@given(st.text(st.characters(codec=None)), st.booleans())
def test_no_text_drives_the_terminal(text: str, lines: bool) -> None:
    shown = printable(text, lines=lines)
    shown.encode()
    controls = {one for one in shown if unicodedata.category(one) == "Cc"}
    assert controls <= ({"\n", "\t"} if lines else set())
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def test_json_is_plain_characters_and_the_same_value(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"path": HOSTILE.replace("\ud800", ""), "文": "租约"}
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert out == printable(out) + "\n"
    assert "租约" in out


def test_a_table_is_as_wide_as_it_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["id", "name"], [(1, "a\x1b[1m"), (22, "b")])
    assert capsys.readouterr().out.splitlines() == ["id  name", "1   a\ufffd[1m", "22  b"]


@pytest.mark.parametrize(
    ("pages", "shown"), [([], ""), ([3], "p. 3"), ([1, 2, 3], "p. 1-3"), ([1, 3, 4, 9], "p. 1, 3-4, 9")]
)
def test_pages_are_shown_as_ranges(pages: list[int], shown: str) -> None:
    assert pages_of(pages) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (7322, "2 h 02 min")]
)
def test_lengths_of_time_are_for_people(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_moments_are_in_utc() -> None:
    assert when(0.5) == "1970-01-01 00:00:00"
    assert when(None) == ""
