"""PDF: text in reading order with its pages and places, headings, tables, running heads."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from gristmill.base.errors import DamagedDocument, DocumentTooLarge, EmptyDocument, EncryptedDocument
from gristmill.parsers.pdf import PdfParser
from gristmill.ports.document import Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from gristmill.testing.parsers import FakeOcrResult
from samples.pdf import HEIGHT, WIDTH, canvas, grid, lines, report_pdf

LEFT = [f"left {n} words of the column on this side" for n in range(12)]
RIGHT = [f"right {n} words of the other column here" for n in range(12)]


def drawn(*pages: Callable[[Any], object]) -> bytes:
    buffer, page = canvas()
    for draw in pages:
        draw(page)
        page.showPage()
    page.save()
    return buffer.getvalue()


def parse(data: bytes, **limits: int) -> ParsedDocument:
    return PdfParser().parse(Source("a.pdf", data), ParseLimits(**limits))


def texts(data: bytes, *kinds: str) -> list[str]:
    return [block.text for block in parse(data).blocks if block.kind in (kinds or ("text",))]


def grids(data: bytes) -> list[list[list[str]]]:
    return [block.table.grid() for block in parse(data).blocks if block.table]


def test_every_block_has_its_page_and_a_box_on_it() -> None:
    document = parse(report_pdf(5))
    assert [(page.number, page.width, page.height) for page in document.pages] == [
        (n, round(WIDTH, 1), round(HEIGHT, 1)) for n in range(1, 6)
    ]
    for block in document.blocks:
        (box,) = block.boxes
        assert box.page == block.page
        assert 0 <= box.x0 < box.x1 <= WIDTH
        assert 0 <= box.y0 < box.y1 <= HEIGHT
    assert [block.page for block in document.blocks if "only." in block.text] == [1, 2, 3, 4, 5]
    (words,) = [block for block in document.blocks if block.text.startswith("Words of page 3")]
    assert words.boxes[0].y0 == pytest.approx(120 - 10, abs=4)
    assert words.boxes[0].x0 == pytest.approx(72, abs=2)


def test_bookmarks_are_headings_where_their_words_stand() -> None:
    document = parse(report_pdf(3))
    assert [(entry.title, entry.level, entry.page) for entry in document.outline] == [
        (f"{n}. Chapter {n}", 1, n) for n in (1, 2, 3)
    ]
    assert [(block.text, block.page) for block in document.blocks if block.kind == "heading"] == [
        (f"{n}. Chapter {n}", n) for n in (1, 2, 3)
    ]


def test_a_bookmark_without_the_number_of_its_heading_is_found_and_the_number_kept() -> None:
    buffer, page = canvas()
    for n, title in enumerate(["Foo", "Bar"], 1):
        page.bookmarkPage(title)
        page.addOutlineEntry(title, title, 0)
        lines(page, [f"{n} {title}"], 72, 900 - 200 * n, size=14)
        lines(page, [f"The words of {title} are these."], 72, 860 - 200 * n)
    page.showPage()
    page.save()
    found = [(block.kind, block.marker, block.text) for block in parse(buffer.getvalue()).blocks]
    assert found == [
        ("heading", "1", "Foo"), ("text", "", "The words of Foo are these."),
        ("heading", "2", "Bar"), ("text", "", "The words of Bar are these."),
    ]  # fmt: skip


def test_without_bookmarks_lines_that_stand_out_are_headings() -> None:
    def draw(page: Any) -> None:
        lines(page, ["The whole title"], 72, 760, size=24)
        lines(page, ["A section"], 72, 700, size=14, font="Helvetica-Bold")
        lines(page, [f"Running words of the text, line {n}." for n in range(9)], 72, 680)
        page.saveState()
        page.translate(30, 300)
        page.rotate(90)
        page.drawString(0, 0, "a note up the margin")
        page.restoreState()

    headings = [(block.text, block.level) for block in parse(drawn(draw)).blocks if block.kind == "heading"]
    assert headings == [("The whole title", 1), ("A section", 2)]


def test_running_heads_and_feet_are_kept_apart() -> None:
    assert texts(report_pdf(4), "header") == ["Annual report 2026"] * 4
    assert texts(report_pdf(4), "footer") == [f"Page {n} of 4" for n in (1, 2, 3, 4)]


def test_a_page_that_has_nothing_but_such_a_line_keeps_it_as_text() -> None:
    data = drawn(*[lambda page, n=n: lines(page, [f"Page {n} of 5"], 72, 800) for n in range(1, 6)])
    assert texts(data) == [f"Page {n} of 5" for n in range(1, 6)]


def test_columns_are_read_one_after_the_other() -> None:
    def by_column(page: Any) -> None:
        lines(page, LEFT, 60, 700)
        lines(page, RIGHT, 330, 700)

    def backwards(page: Any) -> None:  # as some producers write: the last line first
        for n in range(11, -1, -1):
            lines(page, [RIGHT[n]], 330, 700 - 12.5 * n)
        for n in range(11, -1, -1):
            lines(page, [LEFT[n]], 60, 700 - 12.5 * n)

    for draw in (by_column, backwards):
        assert " ".join(texts(drawn(draw))) == " ".join([*LEFT, *RIGHT])


def test_a_word_broken_at_the_end_of_a_line_is_whole() -> None:
    assert texts(drawn(lambda page: lines(page, ["The extra-", "ordinary lease of", "every task."], 72, 700))) == [
        "The extraordinary lease of every task."
    ]


def test_lists_and_prose_in_columns_are_no_tables() -> None:
    items = [f"{n}." for n in range(1, 8)]
    sentences = [f"Item {n} of the list says in many words what has to be done next." for n in range(1, 8)]

    def numbered(page: Any) -> None:
        for n in range(7):
            lines(page, [items[n]], 72, 700 - 14 * n)
            lines(page, [sentences[n]], 100, 700 - 14 * n)

    def columns(page: Any) -> None:
        lines(page, [text.replace("words", "2026") for text in LEFT], 60, 700)
        lines(page, [text.replace("words", "(7)") for text in RIGHT], 330, 700)

    assert grids(drawn(numbered)) == []
    assert grids(drawn(columns)) == []


def test_a_table_has_its_rows_and_their_values_as_they_are() -> None:
    rows = [
        ["Name", "Share", "Amount"],
        ["Alpha", "-3.5%", "1,200.50"],
        ["Beta", "0070", "(12)"],
        ["Gamma", "n/a", "2026-01-05"],
    ]

    def draw(page: Any) -> None:
        lines(page, ["Some words before the table."], 72, 760)
        grid(page, rows, 72, 700, step=120)
        lines(page, ["Some words after it."], 72, 600)

    document = parse(drawn(draw))
    assert grids(drawn(draw)) == [rows]
    assert [block.kind for block in document.blocks] == ["text", "table", "text"]


def test_a_page_without_words_between_others_is_a_page() -> None:
    data = drawn(
        lambda page: lines(page, ["one"], 72, 700), lambda page: None, lambda page: lines(page, ["three"], 72, 700)
    )
    assert [(page.number, page.source) for page in parse(data).pages] == [(1, "text"), (2, "none"), (3, "text")]


def test_a_page_with_a_drawing_and_no_words_is_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.parsers.ocr.engine", lambda: lambda picture: FakeOcrResult(None, None, None))
    with pytest.raises(EmptyDocument, match=r"a\.pdf .*OCR"):
        parse(drawn(lambda page: page.rect(72, 72, 200, 200)))


@pytest.mark.parametrize(("password", "error"), [("secret", EncryptedDocument), ("", None)])
def test_only_a_password_that_is_needed_keeps_it_shut(password: str, error: type[EncryptedDocument] | None) -> None:
    buffer = io.BytesIO()
    page = Canvas(buffer, encrypt=StandardEncryption(password, "owner", strength=128))  # type: ignore[no-untyped-call]
    lines(page, ["secret words"], 72, 700)
    page.save()  # type: ignore[no-untyped-call]
    if error is None:
        assert texts(buffer.getvalue()) == ["secret words"]
        return
    with pytest.raises(error, match=r"a\.pdf .*password"):
        parse(buffer.getvalue())


def test_pages_over_the_limit_and_damage_are_named() -> None:
    with pytest.raises(DocumentTooLarge, match=r"a\.pdf has 4 pages; the limit is 3 \(max_pages\)"):
        parse(report_pdf(4), max_pages=3)
    with pytest.raises(DamagedDocument, match=r"a\.pdf"):
        parse(report_pdf(2)[:900])


def test_letters_of_two_units_move_no_line_from_its_place() -> None:
    stream = b"BT /F1 12 Tf 72 700 Td (AAAAAAAAAAAA) Tj 0 -200 Td (second line) Tj 0 -200 Td (third line) Tj ET"
    cmap = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def "
        b"1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfchar <41> <D835DC46> endbfchar "
        b"1 beginbfrange <61> <7A> <0061> endbfrange 1 beginbfchar <20> <0020> endbfchar endcmap end end"
    )
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding/ToUnicode 6 0 R>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(cmap), cmap),
    ]
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    data += b"xref\n0 7\n0000000000 65535 f \n%strailer\n<</Size 7/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(data),
    )
    blocks: list[Block] = parse(data).blocks
    assert [block.text for block in blocks] == ["\U0001d446" * 12, "second line", "third line"]
    assert [round(block.boxes[0].y1, -1) for block in blocks] == [90, 290, 490]


def test_chinese_in_a_font_that_is_not_in_the_file_has_headings_paragraphs_and_boxes() -> None:
    """Such a font's glyphs have no extent that could be measured; and Chinese is set wide."""
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))  # type: ignore[no-untyped-call]

    def draw(page: Any) -> None:
        page.setFont("STSong-Light", 20)
        page.drawString(72, HEIGHT - 100, "文档更新时读者看到什么")
        page.setFont("STSong-Light", 10)
        for n, line in enumerate(
            ["如果索引在原地改写，读者就会看到半个文档：一些分块是", "新的，一些是旧的。Gristmill 从不原地改", "写。"]
        ):
            page.drawString(72, HEIGHT - 140 - 15 * n, line)

    heading, paragraph = parse(drawn(draw)).blocks
    assert (heading.kind, heading.text) == ("heading", "文档更新时读者看到什么")
    assert paragraph.text.replace(" ", "").endswith("一些分块是新的，一些是旧的。Gristmill从不原地改写。")
    assert paragraph.boxes[0].y0 == pytest.approx(131, abs=2)
    assert paragraph.boxes[0].y1 == pytest.approx(171, abs=3)


def test_wide_lines_make_a_paragraph_and_a_wider_blank_ends_it() -> None:
    def draw(page: Any) -> None:
        at = HEIGHT - 100
        for count in (4, 3):
            for n in range(count):
                page.drawString(72, at, f"line {n} of a paragraph of {count} that goes on and on")
                at -= 20
            at -= 20

    assert len(texts(drawn(draw))) == 2
