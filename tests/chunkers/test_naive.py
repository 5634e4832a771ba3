"""The naive chunker: bounded chunks along the document's structure, with nothing lost."""

from __future__ import annotations

import re
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.base.tokens import count_tokens
from gristmill.chunkers.naive import NaiveChunker
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.document import Block, Box, Cell, Chunk, Kind, ParsedDocument, Table
from gristmill.testing.chunkers import count_pieces, squeezed, table, texts_of

unhurried = settings(deadline=None)
WORD = re.compile(r"\d+")
PROSE = st.text(st.sampled_from("abc de.!?;\n。！？中文é\u0301👍 "), min_size=1, max_size=300)
KINDS = st.sampled_from(["text", "heading", "list_item", "code", "quote", "footnote", "caption", "title"])
BLOCKS = st.lists(
    st.builds(Block, kind=KINDS, text=PROSE, level=st.integers(0, 7), page=st.integers(0, 3)), max_size=12
)
ROWS = st.lists(st.lists(PROSE, min_size=1, max_size=4), min_size=1, max_size=12)
TABLES = st.builds(
    lambda rows, heads: Block("table", "", table=table(rows, header_rows=min(heads, len(rows)))),
    ROWS,
    st.integers(0, 2),
)
MIXED = st.lists(st.one_of(st.builds(Block, kind=KINDS, text=PROSE, level=st.integers(0, 7)), TABLES), max_size=8)


def chunked(blocks: list[Block], limit: int = 512, overlap: int = 0, delimiter: str = "\n!?。；！？") -> list[Chunk]:
    options = ChunkSettings(chunk_token_num=limit, delimiter=delimiter, overlapped_percent=overlap)
    return NaiveChunker().chunk(ParsedDocument("test", blocks), options, count_pieces)


@unhurried
@given(BLOCKS, st.integers(1, 80))
def test_the_chunks_put_together_are_the_text(blocks: list[Block], limit: int) -> None:
    together = squeezed("".join(chunk.text for chunk in chunked(blocks, limit)))
    assert together == squeezed("".join(block.text for block in blocks))


@unhurried
@given(MIXED, st.integers(1, 80), st.sampled_from([0, 0, 10, 50, 90]))
def test_no_chunk_is_larger_than_allowed(blocks: list[Block], limit: int, overlap: int) -> None:
    for chunk in chunked(blocks, limit, overlap):
        assert chunk.tokens == count_pieces(chunk.text)
        assert chunk.tokens <= limit or len(chunk.text.strip("| ")) == 1, chunk


@unhurried
@given(BLOCKS, st.integers(1, 80), st.sampled_from([0, 50]))
def test_bound_and_text_hold_for_counts_that_do_not_add_up(blocks: list[Block], limit: int, overlap: int) -> None:
    def growing(text: str) -> int:
        return int(len(text) ** 1.3)

    options = ChunkSettings(chunk_token_num=limit, overlapped_percent=overlap)
    found = NaiveChunker().chunk(ParsedDocument("test", blocks), options, growing)
    assert all(growing(chunk.text) <= limit or len(chunk.text) == 1 for chunk in found)
    if not overlap:
        assert squeezed("".join(one.text for one in found)) == squeezed("".join(block.text for block in blocks))


@settings(max_examples=30, deadline=None)
@given(MIXED, st.integers(8, 80))
def test_the_bound_holds_for_the_tokens_of_cl100k(blocks: list[Block], limit: int) -> None:
    found = NaiveChunker().chunk(ParsedDocument("test", blocks), ChunkSettings(chunk_token_num=limit), count_tokens)
    assert all(chunk.tokens == count_tokens(chunk.text) <= limit for chunk in found)


@unhurried
@given(MIXED, st.integers(1, 80))
def test_every_word_of_every_cell_is_found(blocks: list[Block], limit: int) -> None:
    letters = "".join(chunk.text for chunk in chunked(blocks, limit))
    for text in texts_of(ParsedDocument("test", blocks)):
        for char in set(squeezed(text)):
            assert char in letters


@unhurried
@given(
    st.lists(st.tuples(KINDS, st.lists(st.sampled_from([" ", ". ", "! ", "\n", "; "]), max_size=40)), max_size=8),
    st.integers(12, 80),
    st.sampled_from([10, 30, 90]),
)
def test_overlap_is_the_end_of_the_chunk_before_and_no_more_than_asked_for(
    shapes: list[tuple[Kind, list[str]]], limit: int, percent: int
) -> None:
    number = count()
    blocks = [Block(kind, "".join(f"{next(number)}{end}" for end in ends)) for kind, ends in shapes]
    words = [WORD.findall(chunk.text) for chunk in chunked(blocks, limit, percent)]
    said = 0
    for before, after in pairwise([[], *words]):
        repeated = [word for word in after if int(word) < said]
        assert after[len(repeated) :] == [str(n) for n in range(said, said + len(after) - len(repeated))]
        assert before[len(before) - len(repeated) :] == repeated
        assert count_pieces(" ".join(repeated)) <= limit * percent // 100
        said += len(after) - len(repeated)
    assert said == next(number)


@unhurried
@given(ROWS, st.integers(0, 2))
def test_a_table_that_fits_is_whole_in_one_chunk(rows: list[list[str]], heads: int) -> None:
    block = Block("table", "", table=table(rows, header_rows=min(heads, len(rows))))
    before, after = Block("text", "0123 " * 40), Block("text", "4567 " * 40)
    whole = [chunk.text for chunk in chunked([block], 10_000)]
    if whole and count_pieces(whole[0]) <= 64:
        assert sum(whole[0] in chunk.text for chunk in chunked([before, block, after], 64)) >= 1


def test_code_that_fits_is_whole_in_one_chunk() -> None:
    code = "\n\n".join(f"line_{n}" for n in range(20))
    found = chunked([Block("text", "before " * 40), Block("code", code), Block("text", "after " * 40)], 100)
    assert sum(code in chunk.text for chunk in found) == 1


def test_a_larger_table_is_cut_between_rows_under_its_header() -> None:
    rows = [["name", "amount"], *([f"row {n}", f"{n}.50"] for n in range(60))]
    found = chunked([Block("table", "", table=table(rows))], 80)
    assert len(found) > 3
    assert all(chunk.text.startswith("| name | amount |\n") for chunk in found)
    lines = [line for chunk in found for line in chunk.text.split("\n")[1:]]
    assert lines == [f"| row {n} | {n}.50 |" for n in range(60)]


def test_rows_are_lines_with_their_values_as_they_are() -> None:
    cells = [
        Cell("Region", 0, 0, 2, 1, True), Cell("Sales", 0, 1, 1, 2, True), Cell("Q1", 1, 1), Cell("Q2", 1, 2),
        Cell("North", 2, 0, 2, 1), Cell("1,200.50", 2, 1), Cell("2026-01-05", 2, 2), Cell("a\nb", 3, 2), Cell("0070", 4, 4),
    ]  # fmt: skip
    (chunk,) = chunked([Block("table", "", table=Table(5, 6, cells, 2, "Sales by region"))])
    assert chunk.text.split("\n") == [
        "Sales by region",
        "| Region | Sales |",
        "| Region | Q1 | Q2 |",
        "| North | 1,200.50 | 2026-01-05 |",
        "| North |  | a b |",
        "|  |  |  | 0070 |",
    ]
    assert chunk.kind == "table"


def test_two_far_cells_are_no_row_of_ten_thousand_bars() -> None:
    (chunk,) = chunked([Block("table", "", table=Table(1, 16_384, [Cell("1", 0, 0), Cell("2", 0, 16_383)]))])
    assert chunk.text == "| 1 | 2 |"


def test_a_single_column_needs_no_bars() -> None:
    (chunk,) = chunked([Block("table", "", table=table([["one"], ["two"]]))])
    assert chunk.text == "one\ntwo"


def test_delimiters_stay_in_the_text_and_text_between_backticks_is_one() -> None:
    text = "one two three ## four five six ## seven eight nine"
    assert [chunk.text for chunk in chunked([Block("text", text)], 11, delimiter="`##`")] == [
        "one two three ##",
        "four five six ##",
        "seven eight nine",
    ]


def test_a_chunk_ends_at_each_quoted_word() -> None:
    blocks = [
        Block("heading", "Tales", level=1), Block("text", "one ## two", page=1), Block("list_item", "three", marker="-"),
        Block("text", "end ##"), Block("code", "a ## b"), Block("text", "four!"),
    ]  # fmt: skip
    found = chunked(blocks, delimiter="!`##`")
    assert [one.text for one in found] == ["Tales\none ##", "two\n- three\nend ##", "a ## b\nfour!"]
    assert [one.path for one in found] == [[], ["Tales"], ["Tales"]]


def test_a_chunk_knows_the_headings_above_it() -> None:
    blocks = [
        Block("title", "Book", level=1), Block("text", "Preface words."),
        Block("heading", "Chapter 1", level=2), Block("heading", "Section 1.1", level=3), Block("text", "alpha " * 30),
        Block("heading", "Section 1.2", level=3), Block("text", "beta " * 30),
        Block("heading", "Chapter 2", level=2), Block("text", "gamma " * 30),
    ]  # fmt: skip
    paths = {word: [one.path for one in chunked(blocks, 120) if word in one.text] for word in ("beta", "gamma")}
    assert paths == {"beta": [["Book", "Chapter 1"]], "gamma": [["Book"]]}
    assert [one.path for one in chunked(blocks, 60) if "beta" in one.text][-1] == ["Book", "Chapter 1", "Section 1.2"]


def test_a_heading_stays_with_what_follows_it() -> None:
    blocks = [Block("text", "alpha " * 18), Block("heading", "Heading", level=1), Block("text", "beta " * 18)]
    first, second = chunked(blocks, 65)
    assert "Heading" not in first.text
    assert second.text.startswith("Heading\nbeta")


def test_pages_and_boxes_go_with_their_text() -> None:
    boxes = [Box(n, 10, 10, 100, 20) for n in (1, 2, 3)]
    blocks = [
        Block("text", f"{word} " * 18, page=box.page, boxes=[box]) for word, box in zip("abc", boxes, strict=True)
    ]
    found = chunked(blocks, 50)
    assert [(chunk.pages, chunk.boxes) for chunk in found] == [([n], [box]) for n, box in enumerate(boxes, 1)]
    (whole,) = chunked(blocks, 400)
    assert (whole.pages, whole.boxes) == ([1, 2, 3], boxes)


@pytest.mark.parametrize(
    ("heads", "kept"),
    [
        (["Report", "Report", "Report"], ["Report"]),
        (["Report 2026 - 1", "Report 2026 - 2", "Report 2026 - 3"], ["Report 2026 - 1"]),
        (["Page 7 of 9", "Page 8 of 9", "Page 9 of 9"], ["Page 7 of 9"]),
        (["Patient 4711", "Patient 1234", "Patient 4711"], ["Patient 4711", "Patient 1234"]),
        (["See note 99999999999", "See note 5", "#1"], ["See note 99999999999", "See note 5", "#1"]),
    ],
)
def test_running_heads_are_said_once_unless_they_say_something_else(heads: list[str], kept: list[str]) -> None:
    blocks = [Block("header", head, page=page) for page, head in enumerate(heads, 1)]
    (chunk,) = chunked(blocks)
    assert chunk.text.split("\n") == kept


def test_a_picture_goes_with_the_text_beside_it() -> None:
    (chunk,) = chunked([Block("figure", "", asset="p1"), Block("text", "what it shows")])
    assert (chunk.text, chunk.asset) == ("what it shows", "p1")


def test_a_text_of_any_length_is_counted_and_exactly_where_it_has_blanks() -> None:
    sentence = "Nothing accepted is lost; naïve 中文 words.\n"
    once, twice = count_tokens(sentence), count_tokens(sentence * 2)
    assert count_tokens(sentence * 20_000) == once + (twice - once) * 19_999
    assert count_tokens("x" * 1_000_000) == pytest.approx(125_000, rel=0.01)
    assert count_tokens("\n" * 3_000_000) > 0
