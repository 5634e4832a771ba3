"""Chunk methods: reviewed samples, what holds for any blocks in any order, and the choice by content."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkers.reviewed import FOLDER, document, expected, method_of, names, shown
from gristmill.chunkers import CHUNKERS
from gristmill.chunkers.families import bullet, family_of, is_title
from gristmill.chunkers.levels import levelled
from gristmill.chunkers.rows import heads_of
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


def test_each_method_has_three_real_documents_whose_source_and_licence_are_told() -> None:
    rows = [
        line.strip("| ").split(" | ")
        for line in (FOLDER / "README.md").read_text("utf-8").splitlines()
        if line[:3] == "| `"
    ]
    told = {name.strip("`") for row in rows for name in row[0].split(", ") if all(row) and len(row) == 3}
    real = [name for name in names() if name.partition(".")[0] in told]
    assert {name.partition(".")[0] for name in real} == told
    counted = Counter(map(method_of, real))
    assert {method: counted[method] for method in METHODS if counted[method] < 3} == {"auto": 0}


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
        "laws.txt": "laws", "laws_english.md": "laws", "qa.md": "qa", "qa_labelled.txt": "qa", "qa_table.csv": "qa",
        "tag.csv": "tag", "table.csv": "table", "email.eml": "email", "resume.txt": "resume",
        "resume_chinese.txt": "resume", "manual.md": "manual", "presentation.pptx": "presentation",
        "picture.png": "picture", "audio.wav": "audio", "laws_grundgesetz.txt": "laws", "laws_constitution.txt": "laws",
        "qa_civics_study.pdf.md": "qa", "resume_lincoln.txt": "resume", "resume_lu_xun.txt": "resume",
        "paper_cloud_computing.md": "paper", "paper_zero_trust.docx.md": "paper", "tag_analects.txt": "tag",
        "tag_subjects.xlsx.md": "tag", "book_pride_and_prejudice.docx.md": "book", "email_bedell.eml": "email",
        "one_gettysburg.txt": "naive", "naive_declaration.docx.md": "naive", "knowledge_graph_moon_landing.html": "naive",
        "naive.md": "naive", "one.md": "naive",
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


SHEET = Block(
    "table",
    "",
    table=table([["name", "price", "new"], ["Mill", "2.50", "yes"], ["Pond", "3", "no"], ["Race", "", "n/a"]]),
)


def test_values_of_a_row_are_fields_of_its_chunk_and_of_every_piece_of_it() -> None:
    assert [one.fields for one in made("table", [SHEET])] == [
        {"name_raw": "Mill", "price_flt": 2.5, "new_kwd": "yes"},
        {"name_raw": "Pond", "price_flt": 3.0, "new_kwd": "no"},
        {"name_raw": "Race", "new_raw": "n/a"},
    ]
    long = Block("table", "", table=table([["n", "said"], ["1", "word " * 200]]))
    pieces = made("table", [long], chunk_token_num=60)
    assert len(pieces) > 1
    assert all(one.fields == {"n_long": 1} for one in pieces)
    assert all(not one.fields for one in made("naive", [SHEET]))


def test_what_is_known_of_a_person_is_in_the_fields_of_every_chunk() -> None:
    lines = [
        "Name: Ada Miller",
        "Phone: 13800138000",
        "Born: 3 May 1990",
        "Engineer with 9 years of experience.",
        "Skills",
        "Ponds",
    ]
    chunks = made("resume", [Block("text", line) for line in lines])
    assert len(chunks) > 1
    expected = {
        "Name_raw": "Ada Miller",
        "Phone_raw": "13800138000",
        "Birth_dt": "1990-05-03 00:00:00",
        "Experience_flt": 9.0,
    }
    assert [one.fields for one in chunks] == [expected] * len(chunks)


def test_a_column_is_text_or_a_field_or_both_as_its_role_says() -> None:
    first, *_ = made(
        "table", [SHEET], table_column_roles={"name": "indexing", "price": "metadata", "other": "metadata"}
    )
    assert (first.text, first.fields) == ("- name: Mill\n- new: yes", {"price_flt": 2.5, "new_kwd": "yes"})


def test_every_chunk_of_a_paper_has_its_title() -> None:
    blocks = [
        Block("heading", "On Leases", level=1),
        Block("text", "Ada Miller"),
        Block("heading", "Abstract", level=2),
        Block("text", "What a lease is."),
        Block("heading", "1 Fencing", level=2),
        Block("text", "A token."),
    ]
    chunks = made("paper", blocks)
    assert len(chunks) > 2
    assert {one.title for one in chunks} == {"On Leases"}
    assert {one.title for one in made("paper", [Block("text", "Nothing but text.")])} == {""}


def test_a_long_answer_is_cut_below_its_question() -> None:
    found = made("qa", [Block("text", "Q: Why?\nA: " + "Because of this. " * 30)], chunk_token_num=60)
    assert len(found) > 2
    assert all(text.startswith("Question: Why?\n") for text in texts(found))
    assert {tuple(one.questions) for one in found} == {("Why?",)}


def test_a_question_without_a_labelled_answer_is_its_first_line() -> None:
    lines = ["Q: Who keeps the stones", "apart?", "The miller.", "Q: Why", "To grind.", "A: Or not."]
    found = made("qa", [Block("text", "\n".join(lines))])
    assert [(one.questions, one.text) for one in found] == [
        (["Who keeps the stones\napart?"], "Question: Who keeps the stones\napart?\nAnswer: The miller."),
        (["Why\nTo grind."], "Question: Why\nTo grind.\nAnswer: Or not."),
    ]


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


# -- what belongs together


@pytest.mark.parametrize(
    ("before", "after", "caption"),
    [
        (Block("caption", "Rivers of the world"), None, "Rivers of the world"),
        (Block("text", "Table 3. Rivers"), None, "Table 3. Rivers"),
        (Block("text", "表3 河流"), None, "表3 河流"),
        (None, Block("caption", "Table 3: Rivers"), "Table 3: Rivers"),
        (Block("text", "Rivers flow."), None, ""),
        (Block("caption", "Figure 3: a river"), None, ""),
        (Block("text", "Table 3 shows it. " * 30), None, ""),
    ],
    ids=["caption", "numbered", "chinese", "below", "text", "figure", "long"],
)
def test_the_caption_of_a_table_stands_above_each_of_its_pieces(
    before: Block | None, after: Block | None, caption: str
) -> None:
    rows = Block("table", "", table=table([["river", "km"], *([f"river {n}", str(n)] for n in range(40))]))
    found = texts(made("naive", [one for one in (before, rows, after) if one is not None], chunk_token_num=90))
    pieces = [text for text in found if "| river | km |" in text]
    assert len(pieces) > 2
    assert all(text.startswith(f"{caption}\n| river" if caption else "| river") for text in pieces)
    assert sum(text.count(caption) for text in found) == len(pieces) or not caption


@pytest.mark.parametrize(
    ("rows", "heads"),
    [
        ([["", "2021", "2022"], ["North", "12", "15"], ["South", "7", "8"]], 1),
        ([["", "Sales", ""], ["Region", "Q1", "Q2"], ["North", "1.5", "$2"], ["South", "(3)", "4%"]], 2),
        ([["Year", "Total", "Public"], ["Actual", "", ""], ["1996", "5,193", "3,776"], ["1997", "5", "3"]], 1),
        ([["a", "b"], ["c", "d"]], 0),
        ([["1", "2.5"], ["3", "4"]], 0),
        ([["Region", "Q1", "Q2"], ["North", "7", "8"], ["South", "3", "9"]], 1),
        (
            [
                ["Group", "2005", "", "2010", ""],
                ["Group", "Number", "%", "Number", "%"],
                ["All", "9,1", "*1", "**8", "–2"],
                ["Few", "1", "2", "2", "1"],
            ],
            2,
        ),
        ([["Year", "K", "1", "2", "3"], ["1996", "3", "5", "6", "8"], ["1997", "1", "8", "2", "7"]], 1),
    ],
    ids=["years", "two", "parting line", "words", "numbers", "neighbours", "census", "grades"],
)
def test_the_header_of_a_table_is_what_goes_before_its_numbers(rows: list[list[str]], heads: int) -> None:
    assert heads_of(table(rows, header_rows=0), rows) == heads


@pytest.mark.parametrize(
    "lead", [Block("heading", "Rivers", level=1), Block("text", "These rivers are long:")], ids=str
)
@pytest.mark.parametrize("long", [False, True])
def test_what_announces_something_stands_with_it(lead: Block, long: bool) -> None:
    rows = table([["river", "km"], *([f"river {n}", str(n)] for n in range(40))])
    follows = Block("table", "", table=rows) if long else Block("list_item", "the Nile " * 9)
    found = texts(made("naive", [Block("text", "alpha " * 18), lead, follows], chunk_token_num=64))
    (text,) = [text for text in found if lead.text in text]
    assert text.startswith(f"{lead.text}\n")
    assert len(text) > len(lead.text) + 1


@pytest.mark.parametrize(
    ("lines", "starts"),
    [
        (["第一章 总则", "第一节 一般规定", "第一条 甲。", "第二条 乙。"], ["第一章 总则\n第一节 一般规定\n第"] * 2),
        (
            ["Article I. One", "Section 1. Aa", "Section 2. Bb", "Article II. Two"],
            ["Article I. One\nS"] * 2 + ["Article II"],
        ),
        (["Chapter 1 Aa", "Section 2 Bb", "Article 3 Cc", "Article 4 Dd"], ["Chapter 1 Aa\nSection 2 Bb\nArticle"] * 2),
        (["TITLE I", "SEC. 101. Names", "SEC. 102. Ends", "TITLE II"], ["TITLE I\nSEC"] * 2 + ["TITLE II"]),
        (["Abschnitt 1", "§ 1 Zweck", "§ 2 Ende"], ["Abschnitt 1\n§"] * 2),
        (["第三条的规定见下。", "第一条 甲。", "第二条 乙。"], ["第三条的规定见下。", "第一条", "第二条"]),
    ],
    ids=["sections of a law", "constitution", "code", "act", "german", "reference"],
)
def test_a_law_is_cut_at_its_articles_whatever_is_above_them(lines: list[str], starts: list[str]) -> None:
    found = texts(made("laws", [Block("text", line) for line in lines]))
    assert len(found) == len(starts)
    assert all(text.startswith(start) for text, start in zip(found, starts, strict=True))


def test_the_first_line_of_a_law_without_headings_is_its_title() -> None:
    found = made("laws", [Block("text", "数据安全法\n二〇二一年通过"), Block("text", "第一条 甲。\n第二条 乙。")])
    assert [one.text.split("\n")[0] for one in found] == ["数据安全法"] * 3
    assert [one.path for one in found[1:]] == [["数据安全法"]] * 2


@pytest.mark.parametrize(
    "entries",
    [
        [Block("text", "Spring ........ 3\nSummer ........ 9")],
        [Block("table", "", table=table([["1", "Spring", "3"], ["2", "Summer", "9"]]))],
        [Block("list_item", "Chapter 1"), Block("list_item", "Chapter 2")],
    ],
    ids=["dots", "table", "links"],
)
@pytest.mark.parametrize("method", ["book", "laws", "manual"])
def test_contents_open_no_chapters(method: str, entries: list[Block]) -> None:
    chapters = [
        Block("heading", "Chapter 1", level=1), Block("text", "Spring comes. " * 20),
        Block("heading", "Chapter 2", level=1), Block("text", "Summer comes. " * 20),
    ]  # fmt: skip
    first, *others = texts(made(method, [Block("text", "Contents"), *entries, *chapters]))
    assert first.startswith("Contents\n")
    assert "comes" not in first
    assert [text.split("\n")[0] for text in others] == ["Chapter 1", "Chapter 2"]


def test_the_title_of_questions_is_their_path() -> None:
    blocks = [
        Block("heading", "FAQ", level=1), Block("heading", "Who?", level=2), Block("text", "They."),
        Block("heading", "Why?", level=2), Block("text", "Because."),
    ]  # fmt: skip
    found = made("qa", blocks)
    assert [(one.path, one.text) for one in found] == [
        (["FAQ"], "Question: Who?\nAnswer: They."),
        (["FAQ"], "Question: Why?\nAnswer: Because."),
    ]


def test_stations_that_were_taken_for_one_paragraph_are_parted() -> None:
    lines = ["林若溪 个人简历", "教育背景", "2011.09-2015.06 浙江大学 本科 2015.09-2018.03 浙江大学 硕士"]
    first, *stations = texts(made("resume", [Block("text", line) for line in lines]))
    assert "Name: 林若溪\n" in first
    assert [text.split("\n")[-2] for text in stations] == [
        "2011.09-2015.06 浙江大学 本科",
        "2015.09-2018.03 浙江大学 硕士",
    ]


@pytest.mark.parametrize(
    ("name", "blocks", "method"),
    [
        ("poems.epub", [Block("text", "A poem.")], "book"),
        ("talk.odp", [Block("text", "A slide.")], "presentation"),
        ("war.txt", [Block("heading", "CHAPTER I"), Block("text", "well " * 600)], "book"),
        ("rules.txt", [Block("text", f"§ {n} Rule\nEverybody follows it.") for n in range(1, 7)], "laws"),
        ("manual.txt", [Block("text", f"Section {n} Pumps\nSee below.") for n in range(1, 7)], "naive"),
        ("paper.pdf", [Block("heading", "Mills"), Block("heading", "Abstract"), Block("text", "Mills grind.")], "paper"),
        ("guide.docx", [Block("text", "Contents"), *(Block("heading", one) for one in ("Aa", "Bb", "Cc"))], "book"),
        ("page.html", [Block("text", "Contents"), *(Block("heading", one) for one in ("Aa", "Bb", "Cc"))], "naive"),
        ("tags.csv", [Block("table", "", table=table([["mills grind the corn of all", "mill, corn"]] * 4))], "tag"),
        ("words.csv", [Block("table", "", table=table([["Berlin", "Paris, Rome"]] * 4))], "table"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)  # fmt: skip
def test_auto_knows_a_document_by_its_form(name: str, blocks: list[Block], method: str) -> None:
    document = ParsedDocument({"txt": "text"}.get(name[-3:], name.partition(".")[2]), blocks, name=name)
    choice = CHUNKERS.load("auto")().choose(document)
    assert choice.method == method, choice.reason
