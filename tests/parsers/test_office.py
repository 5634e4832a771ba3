"""Word, PowerPoint and Excel: what a reader of these would expect."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml import parse_xml
from pptx.util import Inches

from gristmill.base.errors import EncryptedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.xlsx import XlsxParser
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples import office, packed

DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/"
RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def parse(name: str, data: bytes) -> ParsedDocument:
    return PARSERS.load(name)().parse(Source(f"file.{name}", data), ParseLimits())


def shapes(name: str, data: bytes) -> list[tuple[str, int, str]]:
    return [(block.kind, block.level, block.text) for block in parse(name, data).blocks]


def grids(name: str, data: bytes) -> list[list[list[str]]]:
    return [block.table.grid() for block in parse(name, data).blocks if block.table]


def changed(data: bytes, member: str, change: Callable[[str], str]) -> bytes:
    """The office document with one of its members rewritten."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            raw = old.read(name)
            new.writestr(name, change(raw.decode()) if name == member else raw)
    return buffer.getvalue()


def saved(thing: Any) -> bytes:
    buffer = io.BytesIO()
    thing.save(buffer)
    return buffer.getvalue()


def test_a_word_document_is_read_in_order_with_its_boxes_frames_and_lists() -> None:
    assert shapes("docx", office.report_docx()) == [
        ("header", 0, "Running head"), ("title", 1, "Annual report"), ("heading", 1, "Leases"),
        ("text", 0, "A lease is the right to run a task now."), ("text", 0, "Words in a text box"),
        ("list_item", 1, "first"), ("list_item", 1, "second"), ("table", 0, ""),
        ("text", 0, "A note in a frame."), ("text", 0, "And its second paragraph."),
        ("heading", 2, "Tokens"), ("text", 0, "A token grows. 中文段落。"), ("footer", 0, "Running foot"),
    ]  # fmt: skip


def test_merged_cells_of_a_word_table_have_their_spans() -> None:
    (block,) = [block for block in parse("docx", office.report_docx()).blocks if block.table]
    assert block.table is not None
    spans = {cell.text: (cell.rowspan, cell.colspan) for cell in block.table.cells if cell.text}
    assert spans["2026-01-05"] == (2, 1)
    assert spans["All"] == (1, 3)
    assert spans["1,200.50"] == (1, 1)


def test_inserted_words_are_read_and_deleted_ones_are_not() -> None:
    document = docx.Document()
    document.add_paragraph("KEPT")
    data = changed(
        saved(document),
        "word/document.xml",
        lambda xml: re.sub(
            r"<w:r>(.*?)</w:r>",
            r"<w:r>\1</w:r><w:ins w:id='1'><w:r><w:t> NEW</w:t></w:r></w:ins>"
            r"<w:del w:id='2'><w:r><w:delText> OLD</w:delText></w:r></w:del>",
            xml,
            count=1,
        ),
    )
    assert shapes("docx", data) == [("text", 0, "KEPT NEW")]


def test_a_heading_broken_over_lines_is_one_line_and_tabs_stay() -> None:
    document = docx.Document()
    document.add_heading("One\nheading", 3)
    document.add_paragraph("a\tb")
    assert shapes("docx", saved(document)) == [("heading", 3, "One heading"), ("text", 0, "a\tb")]


def test_a_word_document_of_one_big_table_is_read_as_what_stands_in_it() -> None:
    document = docx.Document()
    outer = document.add_table(2, 1)
    outer.cell(0, 0).paragraphs[0].text = "Above. " * 200
    inner = outer.cell(1, 0).add_table(2, 2)
    for n, text in enumerate("abcd"):
        inner.cell(n // 2, n % 2).text = text
    assert grids("docx", saved(document)) == [[["a", "b"], ["c", "d"]]]
    assert shapes("docx", saved(document))[0] == ("text", 0, ("Above. " * 200).strip())


def test_a_presentation_is_slides_with_titles_first_notes_last_and_places() -> None:
    document = parse("pptx", office.talk_pptx())
    assert [(block.kind, block.text, block.page) for block in document.blocks] == [
        ("heading", "Leases", 1), ("text", "Reserve in batches", 1), ("text", "Extend together", 1),
        ("text", "Say why leases are short.", 1), ("heading", "Figures 数字", 2), ("table", "", 2),
        ("text", "Words in a group", 2),
    ]  # fmt: skip
    assert grids("pptx", office.talk_pptx()) == [[["Region", "Sales"], ["North", "1,200.50"], ["South", "98"]]]
    assert all(block.boxes for block in document.blocks if block.attrs.get("part") != "notes" and block.kind != "text")


def test_the_words_of_a_chart_are_read_and_a_strange_shape_costs_only_itself() -> None:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Chart"
    chart: Any = CategoryChartData()  # type: ignore[no-untyped-call]
    chart.categories = ["North", "South"]
    chart.add_series("Sales", (1.5, 2))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(2), Inches(4), Inches(3), chart)
    box = slide.shapes.add_textbox(Inches(1), Inches(5), Inches(3), Inches(1))
    box.text_frame.text = "Strange words"
    data = changed(
        saved(show),
        "ppt/slides/slide1.xml",
        lambda xml: (
            xml.replace(' txBox="1"', "").replace("<a:prstGeom", "<a:oddGeom").replace("</a:prstGeom", "</a:oddGeom")
        ),
    )
    found = [block.text for block in parse("pptx", data).blocks]
    assert found[0] == "Chart"
    assert "Sales North: 1.5, South: 2" in found
    assert "Strange words" in found


def related(part: Any, path: str, kind: str, content: str) -> str:
    """A part of its own that this part refers to; the name of the relation."""
    made = Part(PackURI(path), "application/xml", part.package, content.encode())
    return str(part.relate_to(made, f"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}"))


def test_the_words_of_diagrams_and_comments_are_read() -> None:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Diagram"
    spaces = f'xmlns:dgm="{DRAWING}diagram" xmlns:a="{DRAWING}main" '
    point = "<dgm:pt{}><dgm:t><a:p><a:r><a:t>{}</a:t></a:r></a:p></dgm:t></dgm:pt>"
    points = point.format("", "Fetch") + point.format("", "Parse") + point.format(' type="pres"', "never")
    diagram = related(
        slide.part, "/ppt/diagrams/data1.xml", "diagramData", f"<dgm:dataModel {spaces}>{points}</dgm:dataModel>"
    )
    spaces += 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
    for n, cm in enumerate(
        ("<p:text>Older words</p:text>", "<p:txBody><a:p><a:r><a:t>Newer</a:t></a:r></a:p></p:txBody>")
    ):
        related(
            slide.part, f"/ppt/comments/comment{n}.xml", "comments", f"<p:cmLst {spaces}><p:cm>{cm}</p:cm></p:cmLst>"
        )
    frame = slide.shapes.add_table(1, 1, Inches(1), Inches(2), Inches(4), Inches(1))._element
    data = frame.find(f".//{{{DRAWING}main}}graphicData")
    data.clear()
    data.set("uri", DRAWING + "diagram")
    data.append(parse_xml(f'<dgm:relIds {spaces} xmlns:r="{RELATED}" r:dm="{diagram}"/>'))
    assert [(block.kind, block.text) for block in parse("pptx", saved(show)).blocks] == [
        ("heading", "Diagram"), ("figure", "Fetch\nParse"), ("footnote", "Older words"), ("footnote", "Newer"),
    ]  # fmt: skip


def test_presentations_in_the_strict_dialect_are_read_and_embedded_files_are_children() -> None:
    data = office.talk_pptx()
    assert parse("pptx", office.strict(data)).blocks == parse("pptx", data).blocks
    more = {"ppt/embeddings/notes.docx": office.report_docx()}
    found = parse("pptx", office.repacked(data, lambda _, raw: raw, **more))
    assert [child.name for child in found.children] == ["notes.docx"]


def test_a_workbook_is_a_table_for_each_sheet_hidden_ones_too_with_values_as_a_reader_sees_them() -> None:
    document = parse("xlsx", office.book_xlsx())
    assert [page.label for page in document.pages] == ["Orders", "合并", "Hidden"]
    orders, merged, hidden = grids("xlsx", office.book_xlsx())
    assert orders[0] == ["order", "amount", "date", "paid"]
    assert orders[1] == ["SO-1", "1.5", "2026-01-01", "FALSE"]
    assert orders[-1][1:] == ["12", "", "0070"]
    assert merged == [["", "merged title", "", ""], ["", "left", "", "right"]]
    assert hidden == [["words on a hidden sheet"]]
    (title,) = [cell for block in document.blocks if block.table for cell in block.table.cells if "merged" in cell.text]
    assert (title.rowspan, title.colspan) == (1, 3)  # the merged rows without a value of their own are left out


def test_windows_of_a_workbook_repeat_the_headers_of_its_sheets() -> None:
    """A sheet goes over the end of a window, and begins a new one where the last is half full."""
    book = openpyxl.Workbook(write_only=True)
    for name, rows in (("long", 4000), ("short", 10), ("half", 2000), ("last", 3)):
        sheet: Any = book.create_sheet(name)
        for row in [["key", "name"], *([n, f"{name}-{n}"] for n in range(rows))]:
            sheet.append(row)
    windows = list(XlsxParser().windows(Source("a.xlsx", saved(book)), ParseLimits()))
    shape = [
        [(block.attrs["sheet"], block.table.rows, block.table.grid()[0][0]) for block in window.blocks if block.table]
        for window in windows
    ]
    assert shape == [
        [("long", 3000, "key")],
        [("long", 1002, "key"), ("short", 11, "key"), ("half", 1988, "key")],
        [("half", 14, "key"), ("last", 4, "key")],
    ]
    assert [[page.label for page in window.pages] for window in windows] == [["long"], ["short", "half"], ["last"]]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1, "1"), (-0.5, "-0.5"), (1e20, "1e+20"), (123456789012, "123456789012"), (True, "TRUE"), (0.1, "0.1"),
        (datetime.datetime(2026, 1, 5, 10, 30), "2026-01-05 10:30:00"), (datetime.date(2026, 1, 5), "2026-01-05"),
        (datetime.time(10, 30), "10:30:00"), ("0070", "0070"), ("  padded  ", "padded"), ("a\nb", "a\nb"), ("=1+1", ""),
    ],
)  # fmt: skip
def test_values_are_shown_as_they_are_stored(value: object, shown: str) -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append([value, "x"])
    assert grids("xlsx", saved(book)) == [[[shown, "x"]]]


def test_two_cells_at_the_ends_of_a_sheet_are_two_rows() -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet["A1"], sheet["XFD1048576"] = "first", "last"
    (block,) = parse("xlsx", saved(book)).blocks
    assert block.table is not None
    assert [(cell.text, cell.row) for cell in block.table.cells] == [("first", 0), ("last", 1)]


@pytest.mark.parametrize("name", ["docx", "pptx", "xlsx"])
def test_a_member_with_a_password_is_an_encrypted_document(name: str) -> None:
    data = {"docx": office.report_docx, "pptx": office.talk_pptx, "xlsx": office.book_xlsx}[name]()
    with pytest.raises(EncryptedDocument, match="password"):
        parse(name, packed.locked(data))
