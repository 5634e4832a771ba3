"""Office documents by python-docx, python-pptx and openpyxl."""

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
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pptx.util import Inches

TEXT_BOX = (
    "<w:r {ns}><w:pict><v:shape xmlns:v='urn:schemas-microsoft-com:vml'><v:textbox><w:txbxContent>"
    "<w:p><w:r><w:t>Words in a text box</w:t></w:r></w:p></w:txbxContent></v:textbox></v:shape></w:pict></w:r>"
)


def report_docx() -> bytes:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Running head"
    document.sections[0].footer.paragraphs[0].text = "Running foot"
    document.add_heading("Annual report", 0)
    document.add_heading("Leases", 1)
    paragraph = document.add_paragraph("A lease is the right to run a ")
    paragraph.add_run("task").bold = True
    paragraph.add_run(" now.")
    paragraph._p.append(parse_xml(TEXT_BOX.format(ns=nsdecls("w"))))
    document.add_paragraph("first", style="List Bullet")
    document.add_paragraph("second", style="List Number")
    table = document.add_table(4, 3)
    for r, row in enumerate(
        [["Region", "Q1", "Q2"], ["North", "1,200.50", "2026-01-05"], ["South", "98", ""], ["All", "", ""]]
    ):
        for c, text in enumerate(row):
            table.cell(r, c).text = text
    table.cell(3, 0).merge(table.cell(3, 2))
    table.cell(1, 2).merge(table.cell(2, 2))
    frame = document.add_table(1, 1)
    frame.cell(0, 0).paragraphs[0].text = "A note in a frame."
    frame.cell(0, 0).add_paragraph("And its second paragraph.")
    document.add_heading("Tokens", 2)
    document.add_paragraph("A token grows. 中文段落。")
    return saved(document)


def talk_pptx() -> bytes:
    show = pptx.Presentation()
    first = show.slides.add_slide(show.slide_layouts[1])
    first.shapes.title.text = "Leases"
    first.placeholders[1].text = "Reserve in batches\nExtend together"
    first.notes_slide.notes_text_frame.text = "Say why leases are short."
    second = show.slides.add_slide(show.slide_layouts[5])
    second.shapes.title.text = "Figures 数字"
    table = second.shapes.add_table(3, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for r, row in enumerate([["Region", "Sales"], ["North", "1,200.50"], ["South", "98"]]):
        for c, text in enumerate(row):
            table.cell(r, c).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(5), Inches(3), Inches(1)).text_frame.text = "Words in a group"
    return saved(show)


def book_xlsx() -> bytes:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = "Orders"
    sheet.append(["order", "amount", "date", "paid"])
    for n in range(1, 8):
        sheet.append([f"SO-{n}", n + 0.5, datetime.date(2026, 1, n), n % 2 == 0])
    sheet.append(["=SUM(B2:B8)", 12, None, "0070"])
    second = book.create_sheet("合并")
    second["B2"] = "merged title"
    second.merge_cells("B2:D3")
    second["B5"], second["D5"] = "left", "right"
    hidden = book.create_sheet("Hidden")
    hidden.append(["words on a hidden sheet"])
    hidden.sheet_state = "hidden"
    return saved(book)


def saved(thing: object) -> bytes:
    """What one of the libraries writes of its document."""
    buffer = io.BytesIO()
    thing.save(buffer)  # type: ignore[attr-defined]  # all three libraries call it that
    return buffer.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], bytes | None], **more: bytes) -> bytes:
    """The container with every member changed, or left out for None, and some more in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            made = change(name, old.read(name))
            if made is not None:
                new.writestr(name, made)
        for name, content in more.items():
            new.writestr(name, content)
    return buffer.getvalue()


def strict(data: bytes) -> bytes:
    """The document in the strict dialect of its format."""
    space = re.compile(rb"http://schemas\.openxmlformats\.org/(?!package)(\w+)/2006/(\w+)")
    return repacked(data, lambda name, raw: space.sub(rb"http://purl.oclc.org/ooxml/\1/\2", raw))
