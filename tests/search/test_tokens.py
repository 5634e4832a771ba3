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
        ("Straße NAÏVE Ελλάς Москва", ["strasse", "naïve", "naive", "ελλάσ", "ελλασ", "москва"]),
        (
            "München Øre Ångström",
            ["münchen", "munchen", "muenchen", "øre", "ore", "oere", "ångström", "angstrom", "aangstroem"],
        ),
        ("Grund\u00adstück", ["grundstück", "grundstuck", "grundstueck"]),
        ("Ещё мой", ["еще", "мой"]),
        ("ＡＢＣ１２３ ﬁle x²", ["abc123", "file", "x2"]),
        ("cafe\u0301", ["café", "cafe"]),
        ("著作权法", ["著作", "著作权", "著作权法"]),
        ("用Python写", ["用", "python", "写"]),
        ("東京タワー", ["東", "京", "東京", "タワ", "ワー"]),
        ("한국어", ["한국", "국어"]),
        ("か", ["か"]),
        ("東京都の経済", ["東", "京都", "東京", "の", "経", "済", "経済"]),
        ("鹟属的鸟", ["鹟", "属", "的", "鸟"]),
        ("臺灣的經濟", ["臺", "灣", "的", "經", "濟", "臺灣", "灣的", "的經", "經濟"]),
        ("الكِتَابُ والمكتبة ومـــحمد ١٢٣", ["كتاب", "مكتب", "محمد", "123"]),
        ("\ufee3\ufedc\ufe98\ufe92\ufe94", ["مكتب"]),
        ("שָׁלוֹם", ["שלום"]),
        ("๒๕๖๙ ۱۴۰۵ २०२६", ["2569", "1405", "2026"]),
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


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Muenchen", "Ein Brief aus München"),
        ("Munchen", "Ein Brief aus München"),
        ("MÜNCHEN", "Ein Brief aus München"),
        ("STRASSE", "die Straße"),
        ("eleve", "l’élève"),
        ("東京", "東京都の図書館"),
        ("図書館", "東京都の図書館"),
        ("経済", "日本の経済成長率"),
        ("臺灣", "臺灣的經濟發展"),
        ("ひらがな", "これはひらがなです"),
        ("مكتبة", "ذهب إلى المكتبة"),
        ("المكتبة", "وفي مَكْتَبَةٍ قديمة"),
        ("احمد", "كتب أَحْمَدُ رسالة"),
        ("경제", "한국의 경제가 성장했다"),
        ("เศรษฐกิจ", "ประเทศไทยมีเศรษฐกิจ"),
        ("еще", "Ещё один день"),
        ("ΑΘΗΝΑ", "στην Αθήνα"),
        ("১২", "page 12"),
    ],
)
def test_a_word_is_found_however_its_writer_has_written_it(question: str, text: str) -> None:
    assert max(map(len, query_terms(question))) > 1
    assert {term for term in query_terms(question) if len(term) > 1} <= set(tokenize(text))


def test_a_question_asks_for_a_word_once_and_in_the_form_that_it_is_written_in() -> None:
    assert query_terms("München Zürich") == ["münchen", "zürich"]
    assert not set(query_terms("pêche")) & set(tokenize("peche"))


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
@example("¨")
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
