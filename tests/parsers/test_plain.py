"""Text, Markdown, HTML, CSV, JSON and mail: what a reader of these would expect."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from gristmill.base.errors import DamagedDocument, DocumentTooLarge, EmptyDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.csv import CsvParser
from gristmill.parsers.json import JsonParser
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source

LONG = ("words " * 300).strip()
Shape = tuple[str, int, str]


def parse(name: str, data: bytes | str, file: str = "", **limits: int) -> ParsedDocument:
    raw = data.encode() if isinstance(data, str) else data
    return PARSERS.load(name)().parse(Source(file or f"file.{name}", raw), ParseLimits(**limits))


def shapes(name: str, data: bytes | str) -> list[Shape]:
    return [(block.kind, block.level, block.text) for block in parse(name, data).blocks]


def rows(name: str, data: bytes | str, file: str = "") -> list[list[str]]:
    return [row for block in parse(name, data, file).blocks if block.table for row in block.table.grid()]


def test_text_is_paragraphs_and_numbered_headings() -> None:
    text = (
        "Chapter 1\nFirst line\nsecond line\n\n第二章 规则\n\n1.2 Renewal\nA sentence that begins with 1.2 ends so.\n"
    )
    assert shapes("text", text) == [
        ("heading", 1, "Chapter 1"), ("text", 0, "First line\nsecond line"), ("heading", 2, "第二章 规则"),
        ("heading", 2, "1.2 Renewal"), ("text", 0, "A sentence that begins with 1.2 ends so."),
    ]  # fmt: skip


def test_source_code_is_cut_at_definitions_with_its_indents_kept() -> None:
    code = "import os\n\n# why\ndef a():\n    x = 1\n\n    return x\n\n\nclass B:\n    pass\n"
    document = parse("text", code, "a.py")
    assert [block.text for block in document.blocks] == [
        "import os",
        "# why\ndef a():\n    x = 1\n\n    return x",
        "class B:\n    pass",
    ]
    assert {block.attrs["language"] for block in document.blocks} == {"python"}


@pytest.mark.parametrize(
    ("file", "code", "begins"),
    [
        ("a.py", 'x = """\n\nnot a definition\n\n"""\n\ndef a(): ...\n', ['x = """', "def a(): ..."]),
        ("a.c", "int a(void)\n{\n\n    return 1;\n\n}\n\n/* why */\nint b;\n", ["int a(void)", "/* why */"]),
        ("a.sql", "SELECT 1;\n\n\n\nSELECT 2;", ["SELECT 1;", "SELECT 2;"]),
        ("A.java", "class A {\n" + "\n".join(f"    void m{n}() {{\n\n        x();\n    }}\n" for n in range(20)) + "}\n",
         ["class A {", *(f"    void m{n}() {{" for n in range(1, 20))]),
    ],
)  # fmt: skip
def test_code_is_parted_at_definitions_long_ones_at_those_inside(file: str, code: str, begins: list[str]) -> None:
    blocks = parse("text", code, file).blocks
    assert [block.text.split("\n")[0] for block in blocks] == begins
    assert "".join("".join(block.text.split()) for block in blocks) == "".join(code.split())


def test_control_characters_become_blanks() -> None:
    assert shapes("text", b"before\0after\x1b[0m\r\nnext") == [("text", 0, "before after [0m\nnext")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Title\n=====\nwords", [("heading", 1, "Title"), ("text", 0, "words")]),
        ("## A `b` [c](d) **e** ##", [("heading", 2, "A b c e")]),
        ("1. one\n   - two\n\n     more", [("list_item", 1, "one"), ("list_item", 2, "two"), ("list_item", 2, "more")]),
        ("```py\n# no heading\n```", [("code", 0, "# no heading")]),
        ("~~gone~~ &amp; \\*kept\\*", [("text", 0, "gone & *kept*")]),
        ("> quoted\n> > deeper", [("quote", 0, "quoted"), ("quote", 0, "deeper")]),
        ('+++\ntitle = "T"\n+++\nwords', [("record", 0, 'title = "T"'), ("text", 0, "words")]),
        (
            "words[^1]\n\n[^1]: Note\n[^long]: more *words*\n  of it\n\nend",
            [
                ("text", 0, "words[^1]"),
                ("footnote", 0, "[^1]: Note"),
                ("footnote", 0, "[^long]: more words\nof it"),
                ("text", 0, "end"),
            ],
        ),
        ("$$\na_1 * b * c\\\\\n$$\nwords", [("formula", 0, "a_1 * b * c\\\\"), ("text", 0, "words")]),
        ("$$x$$", [("formula", 0, "x")]),
        ("$$ is money\n\nend", [("text", 0, "$$ is money"), ("text", 0, "end")]),
        ("---\ntitle: T\n---\nwords", [("record", 0, "title: T"), ("text", 0, "words")]),
        ("![the picture](a.png)", [("text", 0, "the picture")]),
        ("<!-- no words -->\n\nwords", [("text", 0, "words")]),
        ("<div>\n\n## In a div\n\n</div>", [("heading", 2, "In a div")]),
        ("<details><summary>S</summary>body</details>", [("text", 0, "S"), ("text", 0, "body")]),
        (">" * 20_000 + " deep words", [("text", 0, "deep words")]),
    ],
)
def test_markdown_is_read_as_commonmark(text: str, expected: list[Shape]) -> None:
    assert shapes("markdown", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n| 1 | x \\| y |",
        "<table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>x | y</td></tr></table>",
        "<table>\n<tr><td>a</td><td>b</td></tr>\n\n<tr><td>1</td><td>x | y</td></tr>\n\n</table>\n# After",
    ],
    ids=["pipes", "html", "html with empty lines"],
)
def test_markdown_tables_have_their_rows(text: str) -> None:
    assert rows("markdown", text) == [["a", "b"], ["1", "x | y"]]
    assert "</" not in "".join(block.text for block in parse("markdown", text).blocks)


def test_a_heading_right_below_an_html_table_is_a_heading() -> None:
    assert shapes("markdown", "<table><tr><td>a</td><td>b</td></tr></table>\n## After")[-1] == ("heading", 2, "After")


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<h1>A<br>b</h1>", [("heading", 1, "A b")]),
        ("<p>a<b>b</b> <i>c</i>&nbsp;&amp;</p>", [("text", 0, "ab c\xa0&")]),
        ("<ul><li>a<ul><li>b</ul><li><p>c</ul>", [("list_item", 1, "a"), ("list_item", 2, "b"), ("list_item", 1, "c")]),
        ("<dl><dt>a<dd>b</dl>", [("text", 0, "a"), ("text", 0, "b")]),
        ("<pre> x\n  y</pre>", [("code", 0, " x\n  y")]),
        ("<body><script>x</script><style>y</style><noscript>z</noscript><p>a", [("text", 0, "a")]),
        ("<p>a<table><tr><td>b<td>c</table>d", [("text", 0, "a"), ("table", 0, ""), ("text", 0, "d")]),
        ("<figure><img alt='a'><figcaption>b</figcaption></figure>", [("text", 0, "a"), ("caption", 0, "b")]),
        ("<table><tr><td><h2>Menu</h2></td></tr></table>", [("heading", 2, "Menu")]),
        (
            "<table><tr><td>" + "long " * 300 + "</td><td>side</td></tr></table>",
            [("text", 0, ("long " * 300).strip()), ("text", 0, "side")],
        ),
    ],
)
def test_html_is_read_as_it_is_shown(html: str, expected: list[Shape]) -> None:
    assert shapes("html", html) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<ol><li>a<li>b<ol type=a><li>c</ol><li value=7>d</ol>", [("1.", "a"), ("2.", "b"), ("a.", "c"), ("7.", "d")]),
        ("<ol start=3><li><p>a</p><p>more</p></li><li>b</ol>", [("3.", "a"), ("", "more"), ("4.", "b")]),
        ("<ul><li>a</ul>", [("", "a")]),
        ("<ol start=x><li>a<li value=99999999999>b</ol>", [("1.", "a"), ("2.", "b")]),
    ],
)
def test_items_of_html_lists_have_their_numbers(html: str, expected: list[tuple[str, str]]) -> None:
    assert [(block.marker, block.text) for block in parse("html", html).blocks] == expected


def test_html_says_what_is_navigation_and_code_says_its_language() -> None:
    html = """<nav><a>Home</a></nav><article><h1>A</h1><pre class="brush: js">x</pre>
    <pre><code class="language-python">y</code></pre><pre>z</pre><aside>by the way</aside></article><footer>(c)</footer>"""
    assert [(block.text, block.attrs) for block in parse("html", html).blocks] == [
        ("Home", {"part": "navigation"}), ("A", {}), ("x", {"language": "js"}), ("y", {"language": "python"}), ("z", {}),
        ("by the way", {"part": "aside"}), ("(c)", {"part": "footer"}),
    ]  # fmt: skip


def test_a_pages_title_is_read_unless_a_heading_says_it_and_what_it_says_of_itself_is_meta() -> None:
    head = (
        "<html lang=de><head><title>Duck - An  Encyclopedia</title><meta name=Description content='About ducks'></head>"
    )
    document = parse("html", f"{head}<h1>Duck</h1><p>words")
    assert [block.text for block in document.blocks] == ["Duck", "words"]
    assert document.meta == {
        "encoding": "utf-8", "title": "Duck - An Encyclopedia", "description": "About ducks", "language": "de",
    }  # fmt: skip
    assert shapes("html", f"{head}<h1>Swan</h1>")[0] == ("title", 1, "Duck - An Encyclopedia")


@pytest.mark.parametrize(
    ("source", "shown"),
    [("data:image/png;base64,AAAA", b"\0\0\0"), ("data:image/png;base64,A", b""), ("data:text/html;base64,AAAA", b""),
     ("http://a.example/x.png", b""), ("data:image/svg+xml;base64,AAAA", b"")],
)  # fmt: skip
def test_a_picture_in_a_page_is_a_figure_and_one_elsewhere_is_what_it_is_said_to_show(
    source: str, shown: bytes
) -> None:
    document = parse("html", f"<p>before<img src='{source}' alt='the mill'>after")
    if shown:
        assert [block.text for block in document.blocks] == ["before", "the mill", "after"]
        assert [asset.data for asset in document.assets.values()] == [shown]
    else:
        assert [block.text for block in document.blocks] == ["before the mill after"]


def test_formulas_are_read_as_their_author_wrote_them_and_readings_above_characters_are_left_out() -> None:
    tex = '<annotation encoding="application/x-tex">x^2</annotation>'
    assert shapes("html", f"<p>so <math><semantics><msup><mi>x</mi><mn>2</mn></msup>{tex}</semantics></math> is") == [
        ("text", 0, "so x^2 is")
    ]
    assert shapes("html", "<p><ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>です") == [("text", 0, "漢字です")]


def test_a_table_that_only_frames_something_in_a_cell_is_read_once() -> None:
    html = "<table><tr><th>a<th>b<tr><td><table><tr><td><h4>frame</h4></table><td>c</table>"
    assert rows("html", html) == [["a", "b"], ["frame", "c"]]


def test_html_spans_that_make_a_table_of_millions_are_refused() -> None:
    with pytest.raises(DocumentTooLarge, match="max_cells"):
        parse("html", f"<table>{'<tr><td rowspan=1000>a<td>b' * 2_000}</table>", max_cells=100_000)
    with pytest.raises(DocumentTooLarge, match="max_cells"):
        parse("html", f"<table>{'<tr><td colspan=1000>a<td>b' * 200}</table>", max_cells=100_000)


def test_html_tables_are_rows_with_or_without_names_for_their_columns() -> None:
    plain = "<table><tr><td>a<td>b<tr><td>1<td>2</table>"
    assert rows("html", plain) == [["a", "b"], ["1", "2"]]
    spans = "<table><tr><th rowspan=2>a<th colspan=2>b<tr><th>c<th>d<tr><td>1<td>2<td>3</table>"
    assert rows("html", spans) == [["a", "b", ""], ["", "c", "d"], ["1", "2", "3"]]
    (block,) = parse("html", spans).blocks
    assert block.table is not None
    assert block.table.header_rows == 2


def test_html_tables_with_long_cells_or_headings_in_them_are_still_tables() -> None:
    assert len(rows("html", f"<table>{f'<tr><td>a<td>{LONG}' * 3}</table>")) == 3
    assert rows("html", "<table><tr><td><h3>A</h3><td>B<tr><td>1<td>2</table>") == [["A", "B"], ["1", "2"]]
    nested = "<table><tr><td>a<td>b<tr><td><table><tr><td>x<td>y</table><td>2</table>"
    assert rows("html", nested) == [["a", "b"], ["", "2"], ["x", "y"]]


def test_html_says_its_encoding_even_behind_a_long_script() -> None:
    html = f"<script>{'x' * 9_000}</script><meta charset=windows-1251><p>Привет".encode("cp1251")
    assert shapes("html", b"<html><head>" + html) == [("text", 0, "Привет")]


def test_html_nested_without_end_is_refused_before_it_is_built() -> None:
    with pytest.raises(DocumentTooLarge, match="max_depth"):
        parse("html", "<div>" * 5_000 + "deep")
    assert shapes("html", "<p>x" * 5_000)[-1] == ("text", 0, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        ('a;b\n"x; y\nz";2,5\n', [["a", "b"], ["x; y\nz", "2,5"]]),
        ("a\tb\n1, 2\t3\n", [["a", "b"], ["1, 2", "3"]]),
        ("a|b\n1|2\n", [["a", "b"], ["1", "2"]]),
        ("a,b,c\n1\n\n1,2,3,4\n", [["a", "b", "c", ""], ["1", "", "", ""], ["1", "2", "3", "4"]]),
        ("0070,1.10,=1+1,2026-01-05\n", [["0070", "1.10", "=1+1", "2026-01-05"]]),
        ("only\none\ncolumn\n", [["only"], ["one"], ["column"]]),
    ],
)
def test_csv_values_stay_as_they_are_whatever_parts_them(text: str, expected: list[list[str]]) -> None:
    assert rows("csv", text) == expected


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "gb18030"])
def test_csv_is_read_in_any_encoding(codec: str) -> None:
    assert rows("csv", "名称,数量\n苹果和梨子,1\n".encode(codec)) == [["名称", "数量"], ["苹果和梨子", "1"]]


@pytest.mark.parametrize(("rows", "wide", "sizes"), [(7000, 2, [3000, 3000, 1000]), (70, 2000, [30, 30, 10])])
def test_every_window_of_a_csv_repeats_the_header(rows: int, wide: int, sizes: list[int]) -> None:
    """Wide rows make windows of fewer: a window has a bound of values, too."""
    head = [f"column {n}" for n in range(wide)]
    data = "\n".join(",".join(row) for row in [head, *([f"r{n}", *["v"] * (wide - 1)] for n in range(rows))]).encode()
    windows = CsvParser().windows(Source("a.csv", data), ParseLimits())
    tables = [block.table for window in windows for block in window.blocks if block.table]
    assert [table.rows - 1 for table in tables] == sizes
    assert [table.grid()[0] for table in tables] == [head] * len(sizes)
    assert [row[0] for table in tables for row in table.grid()[1:]] == [f"r{n}" for n in range(rows)]


def test_json_values_stay_as_they_are_written() -> None:
    text = '{"id": 9007199254740993, "v": 1.10, "ok": true, "none": null, "tags": ["a", "b"], "in": [{"x": "中"}]}'
    assert shapes("json", text) == [
        ("record", 0, "id: 9007199254740993\nv: 1.10\nok: true\nnone: null\ntags: a, b\nin[0].x: 中")
    ]


def test_json_lines_are_records_and_a_broken_one_costs_itself_only() -> None:
    document = parse("json", '{"a": 1}\n{"a":\n\n{"a": 3}\n')
    assert [block.text for block in document.blocks] == ["a: 1", "a: 3"]
    assert document.warnings == ["line 2 is not JSON and was left out: Expecting value"]


@pytest.mark.parametrize("text", ["{", "words", '{"a": 1', "[1, 2", "[" * 100_000 + "]" * 100_000, '{"a": 1}}}'])
def test_what_is_not_json_is_damaged(text: str) -> None:
    with pytest.raises(DamagedDocument, match=r"file\.json"):
        parse("json", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1}, {"a": [2]}]', ["a: 1", "a: 2"]),
        ("[1, 2, 3]", ["1, 2, 3"]),
        ('[[1, 2], {"b": 3}, "words"]', ["1, 2", "b: 3", "words"]),
        ('\ufeff{"a": NaN, "b": -Infinity, "c": 1e400}', ["a: NaN\nb: -Infinity\nc: 1e400"]),
        ('{"a": 1, "b": {"c": 2}, "a": 3}', ["a: 1, 3\nb.c: 2"]),
        ('{"a": ' + "9" * 5_000 + "}", ["a: " + "9" * 5_000]),
        ('{"a": 1}\n{"a": 2}\r\n\ufeff{"a": 3}', ["a: 1", "a: 2", "a: 3"]),
        ('[{"a": 1}]\n[{"a": 2}]', ["a: 1", "a: 2"]),
    ],
)
def test_records_are_read_one_by_one_with_all_that_they_say(text: str, expected: list[str]) -> None:
    assert [block.text for block in parse("json", text).blocks] == expected


@pytest.mark.parametrize("text", ['[{"a": 1} {"a": 2}]', '[{"a": 1},', '[{"a": 1}', '[{"a": 1}, ]', "[{]"])
def test_a_list_that_breaks_off_is_damaged_whatever_was_read_of_it(text: str) -> None:
    with pytest.raises(DamagedDocument):
        parse("json", text)


@pytest.mark.parametrize("form", ["[{}]", "{}"])
def test_many_records_come_in_windows_that_together_are_the_document(form: str) -> None:
    records = [f'{{"n": {n}, "text": "record {n}"}}' for n in range(7_001)]
    text = "[" + ",".join(records) + "]" if form[0] == "[" else "\n".join(records)
    source, limits = Source("a.json", text.encode()), ParseLimits()
    parser = JsonParser()
    windows = [[block.text for block in window.blocks] for window in parser.windows(source, limits)]
    assert [len(window) for window in windows] == [3_000, 3_000, 1_001]
    assert [one for window in windows for one in window] == [
        block.text for block in parser.parse(source, limits).blocks
    ]
    with pytest.raises(DocumentTooLarge, match="max_rows"):
        parse("json", text, max_rows=7_000)


def test_json_without_a_value_is_empty() -> None:
    with pytest.raises(EmptyDocument):
        parse("json", "{}")


def mail(*parts: tuple[str, bytes]) -> bytes:
    head = (
        b"From: a@example.org\r\nSubject: S\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
    )
    return (
        head + b"".join(f"--B\r\n{headers}\r\n\r\n".encode() + data + b"\r\n" for headers, data in parts) + b"--B--\r\n"
    )


def bodies(data: bytes) -> list[str]:
    return [block.text for block in parse("email", data).blocks if block.kind != "mail_header"]


def test_every_text_part_of_a_mail_is_read_in_order() -> None:
    data = mail(
        (
            "Content-Type: text/html; charset=gb2312\r\nContent-Transfer-Encoding: quoted-printable",
            b"<p>=B1=A8=B8=E6</p>",
        ),
        ("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", b"c2Vjb25k"),
    )
    assert bodies(data) == ["报告", "second"]


@pytest.mark.parametrize(
    ("plain", "html", "expected"),
    [
        ("Hello Bob", "<p>Hello <b>Bob</b></p>", ["Hello Bob"]),
        ("See HTML.", f"<p>{'words ' * 40}</p>", [("words " * 40).strip()]),
        ("", "<p>only here</p>", ["only here"]),
    ],
)
def test_of_two_versions_of_a_message_the_one_that_says_something_is_read(
    plain: str, html: str, expected: list[str]
) -> None:
    message = EmailMessage()
    message.set_content(plain)
    message.add_alternative(html, subtype="html")
    assert bodies(bytes(message)) == expected


def test_headers_are_decoded_and_shown() -> None:
    data = b"From: =?utf-8?q?=C3=84nne?= <a@b.c>\r\nSubject: =?GB2312?B?vL62yLGouOY=?=\r\nDate: nonsense\r\n\r\nbody"
    headers = [block.text for block in parse("email", data).blocks if block.kind == "mail_header"]
    assert headers[:2] == ["Subject: 季度报告", "From: Änne <a@b.c>"]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_a_mail_stored_by_an_editor_in_another_encoding_is_a_mail(codec: str) -> None:
    assert shapes("email", "Subject: Grüße\r\nFrom: a@b.c\r\n\r\nWörter".encode(codec))[0] == (
        "mail_header",
        0,
        "Subject: Grüße",
    )


def test_attachments_are_documents_of_their_own_and_bad_ones_a_warning() -> None:
    data = mail(
        ("Content-Type: text/plain", b"body"),
        ('Content-Type: text/csv\r\nContent-Disposition: attachment; filename="../../t.csv"', b"a,b\r\n1,2"),
        ('Content-Type: image/png; name="p.png"', b"\x89PNG\r\n\x1a\n"),
        ("Content-Type: message/rfc822", b"Subject: Older\r\n\r\nolder words"),
    )
    document = parse("email", data)
    assert [(child.name, child.format) for child in document.children] == [("../../t.csv", "csv"), ("Older", "email")]
    assert len(document.warnings) == 1
    assert "p.png" in document.warnings[0]


def test_messages_attached_to_messages_are_read_two_levels_deep() -> None:
    message = EmailMessage()
    message.set_content("level 0")
    for level in range(1, 6):
        outer = EmailMessage()
        outer.set_content(f"level {level}")
        outer.add_attachment(message)
        message = outer
    document = parse("email", bytes(message))
    seen = []
    while True:
        seen.append(document.blocks[-1].text)
        if not document.children:
            break
        (document,) = document.children
    assert seen == ["level 5", "level 4", "level 3"]
    assert "too deep" in document.warnings[0]


@pytest.mark.parametrize("charset", ["gbk", "utf-8", "big5"])
def test_headers_in_raw_bytes_are_decoded_like_text(charset: str) -> None:
    subject = "本季度的报告和数据" if charset != "big5" else "這個季度的報告和我們的數據"
    data = f"Subject: {subject}\r\nFrom: a@example.org\r\n\r\nwords".encode(charset)
    assert [block.text for block in parse("email", data).blocks] == [
        f"Subject: {subject}", "From: a@example.org", "words",
    ]  # fmt: skip
