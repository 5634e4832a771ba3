"""Documents written from a few marks: real headings, slides, sheets and pages from a text that can be read and reviewed.

``# `` begins a heading (a slide, a sheet), ``- `` a list item, ``| `` a row, ``![`` a picture, ``Caption: `` what is below it,
``Note: `` what the speaker says, ``---`` a page. In a row ``>`` and ``v`` go on with the cell before or above.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import docx
import openpyxl
import pptx
from PIL import Image
from pptx.util import Inches
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import simpleSplit
from reportlab.pdfgen.canvas import Canvas

from gristmill.ports.document import Asset, Block, Box, Page, ParsedDocument

_HEADING = re.compile(r"(#{1,6}) (.*)")
_SPOKEN = re.compile(r"(\d+)-(\d+) (.*)")


def written(name: str, text: str) -> bytes:
    """The document of this name (``.docx``, ``.pptx``, ``.xlsx``, ``.pdf``, ``.slides.pdf``)."""
    makers: dict[str, Callable[[str], bytes]] = {
        ".docx": _docx, ".pptx": _pptx, ".xlsx": _xlsx, ".slides.pdf": _slides_pdf, ".pdf": _pdf,
    }  # fmt: skip
    return next(make for ending, make in makers.items() if name.endswith(ending))(text)


def read_picture(name: str, text: str) -> ParsedDocument:
    """What a parser makes of a picture with these words on it."""
    blocks = [Block("figure", "", page=1, asset="p1", boxes=[Box(1, 0, 0, 640, 480)])]
    for n, line in enumerate(text.splitlines()):
        blocks.append(Block("text", line, page=1, boxes=[Box(1, 40, 40 + 30 * n, 600, 64 + 30 * n)], source="ocr"))
    return ParsedDocument(
        "image", blocks, [Page(1, 640, 480)], assets={"p1": Asset("p1", "image/png", b"", "", 640, 480)}, name=name
    )


def heard(name: str, text: str) -> ParsedDocument:
    """What a parser makes of a recording: lines with the seconds of their beginning and end."""
    found = (match.groups() for match in map(_SPOKEN.fullmatch, text.splitlines()) if match)
    blocks = [Block("speech", said, time=(float(first), float(last)), source="asr") for first, last, said in found]
    return ParsedDocument("audio", blocks, name=name)


def _runs(text: str) -> Iterator[str | list[list[str]]]:
    """Lines, and the rows that stand below each other together."""
    rows: list[list[str]] = []
    for line in filter(str.strip, text.splitlines()):
        if line.startswith("| "):
            rows.append([value.strip() for value in line.strip("| ").split(" | ")])
            continue
        if rows:
            yield rows
            rows = []
        yield line
    if rows:
        yield rows


def _docx(text: str) -> bytes:
    document = docx.Document()
    for run in _runs(text):
        if isinstance(run, list):
            table = document.add_table(len(run), len(run[0]))
            for r, row in enumerate(run):
                for c, value in enumerate(row):
                    table.cell(r, c).text = value
        elif heading := _HEADING.fullmatch(run):
            document.add_heading(heading[2], len(heading[1]))
        elif run.startswith("!["):
            document.add_picture(io.BytesIO(_png(len(run))))
        elif run.startswith("Caption: "):
            document.add_paragraph(run.removeprefix("Caption: "), style="Caption")
        elif run.startswith("- "):
            document.add_paragraph(run[2:], style="List Bullet")
        else:
            document.add_paragraph(run)
    return _saved(document)


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (320, 240), (shade * 9 % 255, 90, 160)).save(buffer, "PNG")
    return buffer.getvalue()


def _pptx(text: str) -> bytes:
    show = pptx.Presentation()
    slide = body = None
    for run in _runs(text):
        if isinstance(run, list):
            assert slide is not None
            table = slide.shapes.add_table(len(run), len(run[0]), Inches(1), Inches(2), Inches(8), Inches(2)).table
            for r, row in enumerate(run):
                for c, value in enumerate(row):
                    table.cell(r, c).text = value
        elif heading := _HEADING.fullmatch(run):
            slide = show.slides.add_slide(show.slide_layouts[1])
            slide.shapes.title.text = heading[2]
            body = None
        elif run.startswith("Note: "):
            assert slide is not None
            slide.notes_slide.notes_text_frame.text = run.removeprefix("Note: ")
        else:
            assert slide is not None
            frame = slide.placeholders[1].text_frame
            body = frame.paragraphs[0] if body is None else frame.add_paragraph()
            body.text = run.lstrip("- ")
            body.level = int(run.startswith("--"))
    return _saved(show)


def _xlsx(text: str) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for run in _runs(text):
        if isinstance(run, list):
            sheet = book.worksheets[-1]
            for r, row in enumerate(run, 1):
                for c, value in enumerate(row, 1):
                    if value not in (">", "v"):
                        sheet.cell(r, c, float(value) if re.fullmatch(r"-?\d+\.\d+", value) else value)
                        sheet.merge_cells(
                            start_row=r, start_column=c, end_row=_down(run, r, c), end_column=_right(row, c)
                        )
        else:
            book.create_sheet(run.lstrip("# "))
    return _saved(book)


def _down(rows: list[list[str]], row: int, col: int) -> int:
    """The last row of the cell that begins here."""
    while row < len(rows) and rows[row][col - 1] == "v":
        row += 1
    return row


def _right(row: list[str], col: int) -> int:
    while col < len(row) and row[col] == ">":
        col += 1
    return col


def _pdf(text: str) -> bytes:
    return _pages(text, A4, (20, 15, 13, 12, 11, 11))


def _slides_pdf(text: str) -> bytes:
    return _pages(text, (A4[1], A4[0]), (28, 22, 18, 16, 16, 16))


def _pages(text: str, size: tuple[float, float], sizes: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    page: Any = Canvas(buffer, pagesize=size, invariant=1)  # type: ignore[no-untyped-call]
    y = size[1] - 80
    for run in _runs(text):
        if run == "---":
            page.showPage()
            y = size[1] - 80
            continue
        heading = _HEADING.fullmatch(run) if isinstance(run, str) else None
        points = sizes[len(heading[1]) - 1] if heading else 10
        page.setFont("Times-Bold" if heading else "Times-Roman", points)
        if isinstance(run, list):
            for row in run:
                for n, value in enumerate(row):
                    page.drawString(72 + 160 * n, y, value)
                y -= 14
        else:
            said = heading[2] if heading else re.sub("^- ", "\u2022 ", run)
            if heading:
                page.bookmarkPage(said)
                page.addOutlineEntry(said, said, len(heading[1]) - 1)
            for line in simpleSplit(said, "Times-Roman", points, size[0] - 144):  # type: ignore[no-untyped-call]
                page.drawString(72, y, line)
                y -= 1.2 * points
        y -= 10
    page.save()
    return buffer.getvalue()


def _saved(thing: object) -> bytes:
    buffer = io.BytesIO()
    thing.save(buffer)  # type: ignore[attr-defined]  # all three libraries call it that
    return buffer.getvalue()
