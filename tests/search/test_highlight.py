"""Words of a question marked in a text that may be hostile."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.search.highlight import mark, matches
from gristmill.search.tokens import query_terms, tokenize


@pytest.mark.parametrize(
    ("text", "question", "marked"),
    [
        ("A Lease, and leases.", "lease", "A <mark>Lease</mark>, and leases."),
        ("released", "lease", "released"),
        ("中华人民共和国著作权法", "著作权", "中华人民共和国<mark>著作权</mark>法"),
        ("東京タワーへ", "タワー", "東京<mark>タワー</mark>へ"),
        ("ﬁne ＡＢＣ Straße", "fine abc strasse", "<mark>ﬁne</mark> <mark>ＡＢＣ</mark> <mark>Straße</mark>"),
        ("cafe\u0301 au lait", "café", "<mark>cafe\u0301</mark> au lait"),
        ("Der Brief aus München.", "muenchen", "Der Brief aus <mark>München</mark>."),
        ("إلى المَكْتَبَة", "مكتبة", "إلى <mark>المَكْتَبَة</mark>"),
        ("東京都の経済", "東京", "<mark>東京</mark>都の経済"),
        ("version 3.14.", "3.14", "version <mark>3.14</mark>."),
        (
            "<script>alert('lease')</script>",
            "lease",
            "&lt;script&gt;alert(&#x27;<mark>lease</mark>&#x27;)&lt;/script&gt;",
        ),
        ("lease & lease", "lease", "<mark>lease</mark> &amp; <mark>lease</mark>"),
        ("", "lease", ""),
    ],
)
def test_marks(text: str, question: str, marked: str) -> None:
    assert mark(text, matches(text, query_terms(question))) == marked


@given(st.text(), st.text())
def test_without_its_marks_it_is_the_escaped_text(text: str, question: str) -> None:
    marked = mark(text, matches(text, query_terms(question)), before="\ue000", after="\ue001")
    plain = text.replace("\ue000", "").replace("\ue001", "")
    assert re.sub("[\ue000\ue001]", "", marked) == html.escape(plain)


@given(st.text(), st.text())
def test_ranges_are_in_order_apart_and_inside(text: str, question: str) -> None:
    spans = matches(text, query_terms(question))
    ends = [at for span in spans for at in span]
    assert ends == sorted(set(ends))
    assert not ends or (ends[0] >= 0 and ends[-1] <= len(text))


@given(st.text(alphabet="abc著作权法律タワ ,.é", min_size=1))
def test_every_word_of_a_text_is_found_in_it(text: str) -> None:
    assert bool(matches(text, tokenize(text))) == bool(tokenize(text))
