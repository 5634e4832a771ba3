"""What only Word has: numbers that are counted, hidden and deleted text, files put into a document, two dialects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from gristmill.parsers import PARSERS
from gristmill.parsers.numbering import Numbering, read_numbering
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples import office, ole, plain

NS = nsdecls("w")


def parse(data: bytes, **limits: int) -> ParsedDocument:
    return PARSERS.load("docx")().parse(Source("file.docx", data), ParseLimits(**limits))


def document(*paragraphs: str) -> Any:
    """A document of these paragraphs, written in XML."""
    made = docx.Document()
    for xml in paragraphs:
        made.element.body.insert(len(made.element.body) - 1, parse_xml(f"<w:p {NS}>{xml}</w:p>"))
    return made


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (run("shown ") + run("hidden", "<w:vanish/>") + run("again"), "shown again"),
        (run("shown", '<w:vanish w:val="0"/>'), "shown"),
        (run("a") + f"<w:del>{run('never')}</w:del><w:ins>{run(' new')}</w:ins>", "a new"),
        (run("a ") + f"<w:moveFrom>{run('there')}</w:moveFrom><w:moveTo>{run('here')}</w:moveTo>", "a here"),
        (run("a") + f'<w:hyperlink w:anchor="x">{run(" link")}</w:hyperlink>', "a link"),
        (run("a") + f"<w:smartTag><w:r><w:t> tag</w:t></w:r></w:smartTag><w:fldSimple>{run(' 7')}</w:fldSimple>", "a tag 7"),
    ],
)  # fmt: skip
def test_of_a_paragraph_is_read_what_its_reader_sees(xml: str, text: str) -> None:
    assert [block.text for block in parse(office.saved(document(xml))).blocks] == [text]


def test_text_in_a_hidden_style_and_rows_that_were_deleted_are_left_out() -> None:
    made = document(run("secret", '<w:rStyle w:val="Gone"/>') + run("open"))
    made.styles.element.append(
        parse_xml(
            f'<w:style {NS} w:type="character" w:styleId="Gone"><w:name w:val="Gone"/><w:rPr><w:vanish/></w:rPr></w:style>'
        )
    )
    table = made.add_table(2, 1)
    table.cell(0, 0).text, table.cell(1, 0).text = "kept " * 2, "deleted"
    table.rows[1]._tr.insert(0, parse_xml(f'<w:trPr {NS}><w:del w:id="1" w:author="x"/></w:trPr>'))
    paragraph, rows = parse(office.saved(made)).blocks
    assert paragraph.text == "open"
    assert rows.table is not None
    assert [cell.text for cell in rows.table.cells] == ["kept kept"]


def test_a_heading_is_one_by_the_styles_that_its_style_is_based_on_or_by_its_outline_level() -> None:
    style = '<w:style {} w:type="paragraph" w:styleId="{}"><w:name w:val="{}"/>{}</w:style>'
    made = document(
        f'<w:pPr><w:pStyle w:val="Mine"/></w:pPr>{run("by style")}',
        f'<w:pPr><w:outlineLvl w:val="2"/></w:pPr>{run("by level")}',
        f'<w:pPr><w:pStyle w:val="Mine"/><w:outlineLvl w:val="9"/></w:pPr>{run("body after all")}',
        f'<w:pPr><w:pStyle w:val="Plain"/></w:pPr>{run("of a style for text")}',
    )
    made.styles.element.append(parse_xml(style.format(NS, "Mine", "My own", '<w:basedOn w:val="Heading2"/>')))
    body = '<w:basedOn w:val="Heading1"/><w:pPr><w:outlineLvl w:val="9"/></w:pPr>'
    made.styles.element.append(parse_xml(style.format(NS, "Plain", "Plain", body)))
    assert [(block.kind, block.level) for block in parse(office.saved(made)).blocks] == [
        ("heading", 2), ("heading", 3), ("text", 0), ("text", 0),
    ]  # fmt: skip


def rules(*levels: tuple[str, str], more: str = "") -> Numbering:
    """One list of these levels (a format and a text each), which the lists 1 and 2 count by."""
    inner = "".join(
        f'<w:lvl w:ilvl="{n}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for n, (kind, text) in enumerate(levels)
    )
    return read_numbering(
        parse_xml(
            f'<w:numbering {NS}><w:abstractNum w:abstractNumId="7">{inner}</w:abstractNum><w:num w:numId="1">'
            f'<w:abstractNumId w:val="7"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="7"/>{more}</w:num></w:numbering>'
        )
    )


@pytest.mark.parametrize(
    ("levels", "asked", "shown"),
    [
        ([("decimal", "%1.")], [0, 0, 0], ["1.", "2.", "3."]),
        ([("decimal", "%1."), ("lowerLetter", "(%2)")], [0, 1, 1, 0, 1], ["1.", "(a)", "(b)", "2.", "(a)"]),
        ([("upperRoman", "%1"), ("decimal", "%1.%2")], [0, 0, 1, 1], ["I", "II", "II.1", "II.2"]),
        (
            [("chineseCounting", "第%1章"), ("chineseCounting", "第%2条")],
            [0, 1, 1, 0],
            ["第一章", "第一条", "第二条", "第二章"],
        ),
        ([("bullet", "•")], [0, 0], ["", ""]),
        ([("decimal", "%1"), ("decimal", "%1.%2")], [1, 1], ["1.1", "1.2"]),
        ([("none", "")], [0], [""]),
        ([("unheardOf", "%1)")], [0], ["1)"]),
    ],
)
def test_lists_count_as_word_counts_them(levels: list[tuple[str, str]], asked: Sequence[int], shown: list[str]) -> None:
    numbering = rules(*levels)
    assert [numbering.number("1", level) for level in asked] == shown


def test_lists_that_share_their_rules_go_on_counting_unless_one_begins_anew() -> None:
    numbering = rules(("decimal", "%1"))
    assert [numbering.number(name, 0) for name in "1121"] == ["1", "2", "3", "4"]
    numbering = rules(("decimal", "%1"), more='<w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride>')
    assert [numbering.number(name, 0) for name in "1122"] == ["1", "2", "5", "6"]
    assert [numbering.number(name, level) for name, level in (("9", 0), ("1", 99), ("", 0))] == [""] * 3


@pytest.mark.parametrize(
    ("number", "shown"),
    [(10, "十"), (12, "十二"), (20, "二十"), (103, "一百零三"), (110, "一百一十"), (1001, "一千零一"), (0, "〇")],
)
def test_chinese_numbers_are_written_as_they_are_said(number: int, shown: str) -> None:
    numbering = rules(("chineseCounting", "%1"))
    numbering.begins["1", 0] = number
    assert numbering.number("1", 0) == shown


def test_list_items_have_their_numbers_and_headings_the_names_of_chapters() -> None:
    made = docx.Document()
    part = made.part.numbering_part.element
    for xml in (
        '<w:abstractNum {} w:abstractNumId="77"><w:lvl w:ilvl="0"><w:numFmt w:val="chineseCounting"/>'
        '<w:lvlText w:val="第%1章"/></w:lvl><w:lvl w:ilvl="1"><w:numFmt w:val="decimal"/><w:lvlText w:val="%2."/></w:lvl>'
        "</w:abstractNum>",
        '<w:num {} w:numId="77"><w:abstractNumId w:val="77"/></w:num>',
    ):
        part.append(parse_xml(xml.format(NS)))
    for text, style, level in (("总则", "Heading 1", 0), ("first", "List Number", 1), ("second", "List Number", 1)):
        paragraph = made.add_paragraph(text, style=style)
        paragraph._p.get_or_add_pPr().append(
            parse_xml(f'<w:numPr {NS}><w:ilvl w:val="{level}"/><w:numId w:val="77"/></w:numPr>')
        )
    found = [(block.kind, block.marker, block.text) for block in parse(office.saved(made)).blocks]
    assert found == [("heading", "第一章", "总则"), ("list_item", "1.", "first"), ("list_item", "2.", "second")]


def test_a_document_in_the_strict_dialect_is_read_like_any_other() -> None:
    data = office.report_docx()
    assert parse(office.strict(data)).blocks == parse(data).blocks


def packed_file(name: str, data: bytes) -> bytes:
    """An OLE object as the packager of Windows makes it."""
    label = name.encode() + b"\0"
    body = b"\2\0" + label + b"C:\\temp\\" + label + bytes(4) + len(label).to_bytes(4, "little") + label
    body += len(data).to_bytes(4, "little") + data
    return ole.compound({"\x01Ole10Native": len(body).to_bytes(4, "little") + body})


def test_files_put_into_a_document_are_its_children_and_tables_behind_charts_are_not() -> None:
    chart = b'<Relationships><Relationship Id="a" Target="../embeddings/behind.xlsx"/></Relationships>'
    data = office.repacked(
        office.report_docx(), lambda _, raw: raw,
        **{
            "word/embeddings/notes.docx": office.report_docx(),
            "word/embeddings/oleObject1.bin": packed_file("orders.csv", plain.orders_csv()),
            "word/embeddings/oleObject2.bin": ole.report_doc(),
            "word/embeddings/oleObject3.bin": ole.compound({"Contents": b"of a program nobody knows"}),
            "word/embeddings/oleObject4.bin": b"\xd0\xcf\x11\xe0 broken",
            "word/embeddings/behind.xlsx": office.book_xlsx(),
            "word/charts/_rels/chart1.xml.rels": chart,
        },
    )  # fmt: skip
    found = parse(data)
    assert [(child.name, child.format) for child in found.children] == [
        ("notes.docx", "docx"), ("orders.csv", "csv"), ("oleObject2.doc", "doc"),
    ]  # fmt: skip
    assert not parse(data, attachment_depth=0).children
