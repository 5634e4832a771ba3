"""What holds for every method however long a document is: work grows with it, and windows of rows stand for themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkers.reviewed import document, names
from gristmill.chunkers import CHUNKERS
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.document import Block, Chunk, ParsedDocument
from gristmill.ports.parser import together
from gristmill.testing.chunkers import count_pieces, missing_words, table

METHODS = sorted(CHUNKERS.builtin)
LINES = st.sampled_from(["What?", "mill", "river, weir", "1.5", "", "Q: why", "a b c " * 9])


def cut(method: str, document: ParsedDocument, limit: int = 64, **more: object) -> list[Chunk]:
    """The chunks of a document."""
    options = ChunkSettings(chunk_token_num=limit, **more)  # type: ignore[arg-type]
    return CHUNKERS.load(method)().chunk(document, options, count_pieces)


# -- windows of rows


@pytest.mark.parametrize("method", ["table", "qa", "tag"])
@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.lists(LINES, min_size=2, max_size=2), min_size=1, max_size=12),
    header=st.lists(LINES, min_size=2, max_size=2),
    size=st.integers(1, 5),
)
def test_chunks_of_rows_are_the_same_however_the_rows_come(
    method: str, rows: list[list[str]], header: list[str], size: int
) -> None:
    def windows(size: int) -> list[ParsedDocument]:
        parts = (rows[first : first + size] for first in range(0, len(rows), size))
        tables = (table([header, *part], caption="Sheet1") for part in parts)
        return [ParsedDocument("csv", [Block("table", "", page=1, table=one)], name="n.csv") for one in tables]

    apart = [chunk for window in windows(size) for chunk in cut(method, window)]
    assert apart == cut(method, together(windows(size)))


# -- real documents


_SAMPLES = cache(lambda: {name: document(name) for name in names()})  # read once


@pytest.mark.parametrize("method", METHODS)
def test_no_method_loses_a_word_of_any_sample_or_goes_over_its_bound(method: str) -> None:
    bounded = CHUNKERS.load(method).bounded
    for name, one in _SAMPLES().items():
        found = cut(method, one, 100)
        lost = (
            [] if name.startswith(("qa", "tag")) else missing_words(one, found)
        )  # their labels are said in other words
        assert not lost, (name, lost)
        assert all(chunk.tokens <= 100 for chunk in found) or not bounded, name
        assert [chunk for chunk in found if chunk.searched], name


# -- the same again


@pytest.mark.parametrize("method", ["naive", "table", "presentation", "audio", "qa", "book"])
@settings(max_examples=20, deadline=None)
@given(lines=st.lists(st.sampled_from(["Q: why", "A: so", "It rains. " * 9, "mill"]), min_size=1, max_size=12))
def test_what_is_added_at_the_end_changes_no_chunk_but_the_last(method: str, lines: list[str]) -> None:
    blocks = [
        Block("heading", "Top", level=1),
        *(Block("text", line, page=n) for n, line in enumerate(["Q: a", "A: b", *lines])),
    ]
    before = cut(method, ParsedDocument("text", blocks))
    after = cut(method, ParsedDocument("text", [*blocks, Block("text", "It snows.", page=99)]))
    assert after[: len(before) - 1] == before[:-1]
    assert "It snows." in after[-1].text


@pytest.mark.parametrize("method", METHODS)
def test_parents_of_equal_texts_are_different_and_the_same_at_the_next_time(method: str) -> None:
    slides = [Block("text", "One.|Two.", page=n) for n in range(9)]
    document = ParsedDocument("pptx", slides, name="n.pptx")
    found = cut(method, document, 8, children_delimiter="|")
    assert found == cut(method, document, 8, children_delimiter="|")
    keys = [one.parent for one in found if not one.searched]
    assert len(set(keys)) == len(keys)
    assert {one.parent for one in found if one.searched and one.parent} == set(keys)


# -- time that grows with the document and no faster


def _long(n: int) -> dict[str, list[Block]]:
    sentence = "The miller keeps the stones apart, and nothing is lost. "
    return {
        "one paragraph": [Block("text", sentence * n)],
        "one word": [Block("text", "x" * 40 * n)],
        "paragraphs": [Block("text", sentence, page=m // 9) for m in range(n)],
        "headings": [Block("heading", f"{m}. Stones", level=1 + m % 5) for m in range(n)],
        "chapters": [Block("text", f"Chapter {m} Stones\n{sentence}") for m in range(n)],
        "articles": [Block("text", f"第{m}条 租约每十秒续期一次。") for m in range(n)],
        "questions": [Block("text", f"Q: Why {m}?\nA: {sentence}") for m in range(n)],
        "numbered lines": [Block("text", " ".join(f"{m}. Why? So." for m in range(1, n)))],
        "contents": [Block("text", "Contents") for _ in range(n)],
        "entries": [Block("text", "Contents"), *(Block("text", f"Stones .... {m}") for m in range(n))],
        "captions": [Block("caption", f"Table {m}: stones") for m in range(n)],
        "tables": [Block("table", "", table=table([["a", "b"], ["c", str(m)]])) for m in range(n)],
        "one table": [Block("table", "", table=table([["a", "b"], *([f"stone {m}", str(m)] for m in range(n))]))],
        "pictures": [Block("figure", "", asset="p", page=m) for m in range(n)],
        "running heads": [Block("header", f"Report {m} of {n}", page=m) for m in range(n)],
        "colons": [Block("text", "These are:") for _ in range(n)],
        "lists": [Block("list_item", sentence, level=m % 4, marker="-") for m in range(n)],
        "code": [Block("code", "\n".join(f"x = {m}" for m in range(n)))],
        "speech": [Block("speech", sentence, time=(m, m + 1.0)) for m in range(n)],
        "stations": [Block("text", "Experience"), *(Block("text", f"2001 - 2003 Mill {m}") for m in range(n))],
        "periods": [Block("text", "Experience"), Block("text", "2001 - 2003 Mill " * n)],
    }


def _work(run: Callable[[], object]) -> int:
    """How many calls a run makes: of functions, and of generators at each value."""
    calls = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("shape", _long(1))
def test_four_times_the_document_is_four_times_the_work(shape: str) -> None:
    few = 25
    documents = [ParsedDocument("text", _long(n)[shape], name="n.txt") for n in (few, 4 * few)]
    for method in METHODS:
        (few_letters, few_calls), (many_letters, many_calls) = (_costs(method, document) for document in documents)
        assert many_letters <= 5 * few_letters + 100 * few, f"{method} counts tokens again and again"
        assert many_calls <= 5 * few_calls + 100 * few, f"{method} does more than its share of work"


def _costs(method: str, document: ParsedDocument) -> tuple[int, int]:
    """The characters whose tokens a method counts, and the calls that it makes."""
    letters = 0

    def counted(text: str) -> int:
        nonlocal letters
        letters += len(text)
        return len(text)

    chunker = CHUNKERS.load(method)()
    options = ChunkSettings(chunk_token_num=200, overlapped_percent=20)
    calls = _work(lambda: chunker.chunk(document, options, counted))
    return letters, calls


@pytest.mark.parametrize("filling", ["\n", "     ", "word, "], ids=["lines", "blanks", "words"])
@pytest.mark.parametrize("method", ["auto", "qa", "resume"])
def test_no_pattern_goes_over_a_long_text_again_and_again(method: str, filling: str) -> None:
    """A pattern that did would take hours here."""
    long = filling * (120_000 // len(filling))
    blocks = [Block("text", f"1. {long}"), Block("text", "Experience"), Block("text", long)]
    chunker = CHUNKERS.load(method)()
    options = ChunkSettings(chunk_token_num=32_000)
    found = chunker.chunk(ParsedDocument("text", blocks, name="n.txt"), options, lambda text: (len(text) + 2) // 3)
    assert found
