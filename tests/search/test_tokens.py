"""Tokens: what a word is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gristmill.search.tokens import LONGEST, STOP_WORDS, query_terms, tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The Lease, renewed!", ["the", "lease", "renewed"]),
        ("v1.2 costs 3.14. Then 10.", ["v1.2", "costs", "3.14", "then", "10"]),
        ("ver.2 e.g. a.b", ["ver.2", "e", "g", "a", "b"]),
        ("chunk_token_num=256", ["chunk_token_num", "256"]),
        ("Gristmill's worker’s", ["gristmill", "worker"]),
        ("Straße NAÏVE Ελλάς Москва", ["strasse", "naïve", "ελλάσ", "москва"]),
        ("ＡＢＣ１２３ ﬁle x²", ["abc123", "file", "x2"]),
        ("cafe\u0301", ["café"]),
        ("著作权法", ["著作", "著作权", "著作权法"]),
        ("用Python写", ["用", "python", "写"]),
        ("東京タワー", ["東京", "タワ", "ワー"]),
        ("한국어", ["한국", "국어"]),
        ("か", ["か"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ไทย", ["ไท", "ทย"]),
        ("", []),
        ("?! … 😀 \0 \ud800", []),
    ],
)
def test_words_of(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


def test_a_chinese_word_is_found_by_the_words_inside_it() -> None:
    assert set(query_terms("著作权")) <= set(tokenize("中华人民共和国著作权法"))


def test_full_width_and_half_width_are_the_same() -> None:
    assert tokenize("Ｖａｌｋｅｙ　８．１") == tokenize("valkey 8.1")
    assert tokenize("ﾀﾜｰ") == tokenize("タワー")


def test_encoded_data_in_a_text_does_not_make_words_of_megabytes() -> None:
    assert [len(token) for token in tokenize("QUJD" * 100_000)] == [LONGEST]


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("What is the lease period?", ["lease", "period"]),
        ("租约是什么？", ["租约"]),
        ("Who are they?", ["who", "are", "they"]),
        ("什么", ["什么"]),
        ("lease LEASE lease", ["lease"]),
        ("?", []),
    ],
)
def test_a_question_leaves_its_words_of_substance(question: str, terms: list[str]) -> None:
    assert query_terms(question) == terms


@given(st.text())
@example("İ")
def test_tokens_are_whole_and_hold_no_white_space(text: str) -> None:
    for token in tokenize(text):
        assert token
        assert not any(character.isspace() for character in token)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Z"])))
def test_case_makes_no_difference(text: str) -> None:
    assert tokenize(text.casefold()) == tokenize(text)


@given(st.text())
def test_a_question_never_asks_for_a_word_that_the_same_text_does_not_have(text: str) -> None:
    terms = query_terms(text)
    assert set(terms) <= set(tokenize(text))
    assert len(set(terms)) == len(terms)
    assert bool(terms) == bool(tokenize(text))
    assert not set(terms) & STOP_WORDS or set(terms) <= STOP_WORDS
