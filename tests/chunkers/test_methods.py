"""Chunk methods: reviewed samples, what holds for any blocks in any order, and the choice by content."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkers.reviewed import document, expected, names, shown
from gristmill.chunkers import CHUNKERS
from gristmill.chunkers.levels import bullet, family_of, is_title, levelled
from gristmill.ports.chunker import Chunker, ChunkSettings
from gristmill.ports.document import Block, Chunk, Page, ParsedDocument
from gristmill.testing.chunkers import count_pieces, said, squeezed, table, texts_of

METHODS = sorted(CHUNKERS.builtin)
LINES = st.sampled_from(
    [
        "第一章 总则", "第二条 保护数据。", "（一）建立制度；", "Chapter 2 Summer", "Article 3. Order", "1.1 Scope",
        "2. Rules", "Contents", "Q: why", "A: because", "one\ttwo", "one,two", "Abstract", "References", "Experience",
        "mill 2019 - 2023", "a@example.org",
        "x" * 50, "word " * 30, "。！？", " ", "",
    ]
)  # fmt: skip
KINDS = st.sampled_from(
    [
        "text",
        "heading",
        "list_item",
        "code",
        "quote",
        "footnote",
        "caption",
        "title",
        "speech",
        "mail_header",
        "figure",
        "header",
    ]
)
TEXTS = st.lists(LINES, min_size=1, max_size=3).map("\n".join)
BLOCKS = st.builds(
    Block,
    kind=KINDS,
    text=TEXTS,
    level=st.integers(0, 5),
    page=st.integers(0, 2),
    marker=st.sampled_from(["", "", "1.", "-"]),
    asset=st.sampled_from(["", "p"]),
    source=st.sampled_from(["text", "ocr"]),
)
MARKED = ("text", "list_item", "heading")
SPOKEN = BLOCKS.filter(lambda block: not block.marker or (block.kind in MARKED and bool(block.text.strip())))
TABLES = st.builds(
    lambda rows, heads, caption: Block(
        "table", "", table=table(rows, header_rows=min(heads, len(rows)), caption=caption)
    ),
    st.lists(st.lists(LINES, min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(0, 2),
    st.sampled_from(["", "Sheet1"]),
)
MIXED = st.lists(st.one_of(SPOKEN, SPOKEN, TABLES), max_size=9)
LABELS = st.sampled_from(["text", "pptx", "csv", "email", "image"])


def made(method: str, blocks: list[Block], **more: object) -> list[Chunk]:
    """The chunks of these blocks."""
    options = ChunkSettings(**more)  # type: ignore[arg-type]
    return CHUNKERS.load(method)().chunk(ParsedDocument("text", blocks), options, count_pieces)


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks]


@pytest.mark.parametrize("name", names())
def test_a_reviewed_sample_gives_the_chunks_that_were_reviewed(name: str) -> None:
    assert shown(name) == expected(name).read_text(encoding="utf-8")


def test_each_method_has_a_reviewed_sample() -> None:
    assert {method for method in METHODS if any(name.startswith(method) for name in names())} == {*METHODS} - {"auto"}


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20, deadline=None)
@given(blocks=MIXED, limit=st.integers(1, 90), label=LABELS)
def test_blocks_in_any_order_are_chunked_within_the_bound_and_nothing_is_lost(
    method: str, blocks: list[Block], limit: int, label: str
) -> None:
    chunker: Chunker = CHUNKERS.load(method)()
    whole = ParsedDocument(label, blocks, name="n")
    options = ChunkSettings(chunk_token_num=limit)
    found = chunker.chunk(whole, options, count_pieces)
    assert all(chunk.text.strip() and chunk.tokens == count_pieces(chunk.text) for chunk in found)
    assert not chunker.bounded or all(one.tokens <= limit or len(one.text.strip("| ")) == 1 for one in found)
    letters = squeezed("".join(map(said, found)))
    labels = set(squeezed("Q:A:a1.,，、；;\t：")) if method in ("qa", "tag", "auto") else set()  # said in other words
    assert set(squeezed("".join(texts_of(whole)))) - labels <= set(letters)
    assert letters.count("x") >= squeezed("".join(block.text for block in blocks if block.kind != "header")).count("x")
    assert chunker.chunk(whole, options, count_pieces) == found


@pytest.mark.parametrize(
    ("name", "method"),
    {
        "laws.txt": "laws", "laws_english.md": "naive", "qa.md": "qa", "qa_labelled.txt": "qa", "qa_table.csv": "qa",
        "tag.csv": "tag", "table.csv": "table", "email.eml": "email", "resume.txt": "resume",
        "resume_chinese.txt": "resume", "manual.md": "manual", "presentation.pptx": "presentation",
        "picture.png": "picture", "audio.wav": "audio", "naive.md": "naive", "one.md": "naive",
    }.items(),
)  # fmt: skip
def test_auto_takes_the_method_that_the_content_calls_for(name: str, method: str) -> None:
    auto = CHUNKERS.load("auto")()
    choice = auto.choose(document(name))
    assert choice.method == method
    assert choice.reason
    options = ChunkSettings()
    assert auto.chunk(document(name), options, count_pieces) == CHUNKERS.load(method)().chunk(
        document(name), options, count_pieces
    )


@pytest.mark.parametrize(
    ("pages", "words", "method"), [(5, 40, "presentation"), (5, 400, "naive"), (2, 40, "naive")], ids=str
)
def test_wide_pages_with_few_words_are_slides(pages: int, words: int, method: str) -> None:
    blocks = [Block("text", "word " * words, page=n + 1) for n in range(pages)]
    wide = ParsedDocument("pdf", blocks, [Page(n + 1, 960, 540) for n in range(pages)])
    assert CHUNKERS.load("auto")().choose(wide).method == method


def test_a_table_without_header_whose_rows_begin_with_questions_is_one_of_questions() -> None:
    rows = [[f"Who is {n}?", f"number {n}"] for n in range(4)]
    sheet = ParsedDocument("csv", [Block("table", "", table=table(rows, header_rows=0))])
    assert CHUNKERS.load("auto")().choose(sheet).method == "qa"
    wide = ParsedDocument("csv", [Block("table", "", table=table([[*row, "x"] for row in rows], header_rows=0))])
    assert CHUNKERS.load("auto")().choose(wide).method == "table"


# -- what all methods do with their chunks


@pytest.mark.parametrize("method", ["naive", "one", "manual"])
def test_children_are_searched_in_the_place_of_their_parent(method: str) -> None:
    parent, *children = made(method, [Block("text", "First line.\nSecond. \n\nThird.")], children_delimiter="\n")
    assert (parent.text, parent.searched) == ("First line.\nSecond. \n\nThird.", False)
    assert [(one.text, one.searched, one.parent) for one in children] == [
        (text, True, parent.parent) for text in ("First line.", "Second.", "Third.")
    ]
    assert parent.parent
    assert [one.tokens for one in children] == [count_pieces(one.text) for one in children]


def test_a_chunk_without_the_delimiter_has_no_children_and_no_character_of_it_is_a_pattern() -> None:
    (whole,) = made("naive", [Block("text", "one. two")], children_delimiter="|*")
    assert (whole.searched, whole.parent) == (True, "")
    assert texts(made("naive", [Block("text", "a.b*c")], children_delimiter="`.b`*"))[1:] == ["a.b", "*", "c"]


def test_a_table_stands_between_the_sentences_around_it_as_far_as_there_is_room() -> None:
    rows = [["a", "b"], *([f"r{n}", "1"] for n in range(12))]
    blocks = [
        Block("text", "Far away. " * 20 + "Just before."),
        Block("table", "", table=table(rows)),
        Block("text", "Just behind. " + "Later. " * 20),
    ]
    around = [
        one.text for one in made("naive", blocks, chunk_token_num=150, table_context_size=8) if one.kind == "table"
    ]
    assert around[0].startswith("Just before.\n| a | b |")
    assert around[-1].endswith("\nJust behind.")
    small = made("naive", blocks, chunk_token_num=60, table_context_size=30)
    assert all(one.tokens <= 60 for one in small)
    bare = [one.text for one in made("naive", blocks, chunk_token_num=150) if one.kind == "table"]
    assert all("Just" not in text for text in bare)


def test_sheets_are_html_in_pieces_of_twelve_rows_where_that_is_wanted() -> None:
    sheet = Block("table", "", table=table([["a", "b"], *([f"{n}", "<x>"] for n in range(20))], caption="S&P"))
    options = ChunkSettings(html4excel=True)
    first, second = CHUNKERS.load("naive")().chunk(ParsedDocument("xlsx", [sheet]), options, count_pieces)
    assert first.text.startswith(
        "<table>\n<caption>S&amp;P</caption>\n<tr><th>a</th><th>b</th></tr>\n<tr><td>0</td><td>&lt;x&gt;"
    )
    assert (first.text.count("<td>0<"), first.text.count("<tr>"), second.text.count("<tr>")) == (1, 13, 9)
    (plain,) = CHUNKERS.load("naive")().chunk(ParsedDocument("docx", [sheet]), options, count_pieces)
    assert plain.text.startswith("S&P\n| a | b |")


# -- rules of single methods


def test_a_long_answer_is_cut_below_its_question() -> None:
    found = made("qa", [Block("text", "Q: Why?\nA: " + "Because of this. " * 30)], chunk_token_num=60)
    assert len(found) > 2
    assert all(text.startswith("Question: Why?\n") for text in texts(found))
    assert {tuple(one.questions) for one in found} == {("Why?",)}


def test_a_long_article_is_cut_below_its_chapter_and_number() -> None:
    lines = ["第一章 总则", "第一条 短。", "第二条 " + "数据处理者应当保护数据。" * 20, "第三条 短。"]
    found = texts(made("laws", [Block("text", line) for line in lines], chunk_token_num=80))
    assert all(text.startswith("第一章 总则\n第") for text in found)
    assert sum(text.startswith("第一章 总则\n第二条\n") for text in found) == 1


def test_a_resume_says_in_every_chunk_who_it_is_about_and_nothing_that_is_not_written() -> None:
    found = CHUNKERS.load("resume")().chunk(document("resume.txt"), ChunkSettings(), count_pieces)
    assert all("Ada Miller" in text for text in texts(found))
    assert "Age" not in found[0].text
    (plain,) = made("resume", [Block("text", "3 sacks of flour, delivered 2019.")])
    assert plain.text == "3 sacks of flour, delivered 2019."


def test_one_is_one_whatever_the_bound_and_ends_at_its_own() -> None:
    blocks = [Block("heading", "H", level=1), *(Block("text", f"line {n}.") for n in range(900))]
    (whole,) = made("one", blocks, chunk_token_num=16)
    assert whole.tokens > 2_000
    assert all(one.tokens <= 32_768 for one in made("one", [Block("text", "word. " * 30_000)]))


@pytest.mark.parametrize(
    ("lines", "family", "levels"),
    [
        (["第一编 总则", "第二章 附则", "第三节 一般", "第四条 内容", "（五）项"], 0, [1, 2, 3, 4, 5]),
        (["1. Scope", "1.1 Aim", "1.1.1 Detail", "2 Terms"], 1, [3, 4, 5, 3]),
        (["一、总则", "（一）目的", "（1）细则", "二、附则"], 2, [3, 4, 5, 3]),
        (["PART ONE", "Chapter IV: Water", "Section 12", "Article 3. Order"], 3, [1, 2, 3, 4]),
        (["# a", "## b", "### c"], 4, [1, 2, 3]),
        (["0.5 litres", "3 个", "1..... 7", "1.2的", "Section 12 of the act says", "plain words"], -1, [0] * 6),
    ],
    ids=["law", "decimal", "outline", "english", "markdown", "none"],
)
def test_lines_have_the_depth_of_their_number(lines: list[str], family: int, levels: list[int]) -> None:
    assert family_of(lines) == family
    assert [bullet(line, family) for line in lines] == levels


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("第三条 数据，内容。", True),
        ("Order of water", True),
        ("Water, and more", False),
        ("a " * 13, False),
        ("很" * 32, False),
    ],
    ids=str,
)
def test_a_title_is_short_and_no_sentence(line: str, title: bool) -> None:
    assert is_title(line) is title


def test_the_only_heading_of_the_first_level_is_the_title() -> None:
    blocks = [Block("heading", "Law", level=1), *(Block("heading", f"H{n}", level=2) for n in range(3))]
    assert [line.level for line in levelled(blocks)] == [0, 2, 2, 2]
