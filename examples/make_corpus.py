"""Makes ``examples/corpus`` from ``examples/sources``: documents in every format that is read.

    python examples/make_corpus.py [FOLDER]

Needs the extra ``office`` and reportlab (``make setup`` brings both). The same sources give the same bytes. They use
little of Markdown: headings, paragraphs and tables.
"""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
from pptx.util import Pt
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

HERE = Path(__file__).parent
SOURCES = HERE / "sources"
DATE = datetime(2026, 11, 24, tzinfo=UTC)


@dataclass
class Piece:
    """A heading (level 1 and up), a paragraph (level 0), or a table."""

    text: str = ""
    level: int = 0
    rows: list[list[str]] = field(default_factory=list)


def pieces(name: str) -> Iterator[Piece]:
    for block in re.split(r"\n{2,}", (SOURCES / name).read_text(encoding="utf-8").strip()):
        lines = block.split("\n")
        if lines[0].startswith("|"):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            yield Piece(rows=[row for n, row in enumerate(rows) if n != 1])
        elif lines[0].startswith("#"):
            marks, _, text = lines[0].partition(" ")
            yield Piece(text, len(marks))
        else:
            yield Piece(" ".join(lines).replace("`", ""))


def make_pdf(name: str, to: Path, font: str = "Helvetica") -> None:
    if font != "Helvetica":
        pdfmetrics.registerFont(UnicodeCIDFont(font))
    base = getSampleStyleSheet()["Normal"]
    wrap = "CJK" if font != "Helvetica" else None
    body = ParagraphStyle("body", base, fontName=font, fontSize=10, leading=15, spaceAfter=8, wordWrap=wrap)
    heads = [ParagraphStyle(f"h{n}", body, fontSize=20 - 3 * n, leading=26 - 3 * n, spaceBefore=10) for n in range(3)]
    story: list[Any] = []
    for piece in pieces(name):
        if piece.rows:
            table = Table([[Paragraph(html.escape(cell), body) for cell in row] for row in piece.rows])
            table.setStyle(
                TableStyle([("GRID", (0, 0), (-1, -1), 0.5, "#888888"), ("VALIGN", (0, 0), (-1, -1), "TOP")])
            )
            story += [table, Spacer(1, 4 * mm)]
        else:
            story.append(Paragraph(html.escape(piece.text), heads[piece.level - 1] if piece.level else body))
    document = SimpleDocTemplate(str(to), pagesize=A5, title=Path(name).stem, invariant=1, author="Gristmill")
    document.build(story)


def settle(path: Path) -> None:
    """Write an office file's container anew with one date everywhere, so that only its content decides its bytes."""
    with zipfile.ZipFile(path) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for filename, data in members:
            if filename == "docProps/core.xml":
                data = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", DATE.strftime("%Y-%m-%dT00:00:00Z").encode(), data)
            archive.writestr(zipfile.ZipInfo(filename, DATE.timetuple()[:6]), data, zipfile.ZIP_DEFLATED)


def make_docx(name: str, to: Path) -> None:
    document = docx.Document()
    document.core_properties.created = document.core_properties.modified = DATE
    for piece in pieces(name):
        if piece.rows:
            table = document.add_table(len(piece.rows), len(piece.rows[0]), style="Table Grid")
            for r, row in enumerate(piece.rows):
                for c, cell in enumerate(row):
                    table.cell(r, c).text = cell
        elif piece.level:
            document.add_heading(piece.text, piece.level)
        else:
            document.add_paragraph(piece.text)
    document.save(str(to))
    settle(to)


def make_pptx(name: str, to: Path) -> None:
    show = pptx.Presentation()
    frame: Any = None
    for piece in pieces(name):
        if piece.level:
            slide = show.slides.add_slide(show.slide_layouts[1])
            slide.shapes.title.text = piece.text
            frame = slide.placeholders[1].text_frame
        elif piece.rows:
            table = slide.shapes.add_table(len(piece.rows), len(piece.rows[0]), Pt(40), Pt(120), Pt(640), Pt(200)).table
            for r, row in enumerate(piece.rows):
                for c, cell in enumerate(row):
                    table.cell(r, c).text = cell
        elif frame.text:
            frame.add_paragraph().text = piece.text
        else:
            frame.text = piece.text
    show.save(str(to))
    settle(to)


def make_html(name: str, to: Path) -> None:
    lines = ["<!doctype html>", '<html><head><meta charset="utf-8"><title>Gristmill</title></head><body>']
    for piece in pieces(name):
        if piece.rows:
            cells = [[f"<td>{html.escape(cell)}</td>" for cell in row] for row in piece.rows]
            lines += ["<table>", *(f"<tr>{''.join(row)}</tr>" for row in cells), "</table>"]
        else:
            tag = f"h{piece.level}" if piece.level else "p"
            lines.append(f"<{tag}>{html.escape(piece.text)}</{tag}>")
    to.write_text("\n".join([*lines, "</body></html>", ""]), encoding="utf-8")


def make_xlsx(to: Path) -> None:
    book = openpyxl.Workbook()
    book.properties.created = book.properties.modified = DATE.replace(tzinfo=None)
    sheet = book.active
    assert sheet is not None
    sheet.title = "Settings"
    for row in csv.reader(io.StringIO((SOURCES / "settings.csv").read_text(encoding="utf-8"))):
        sheet.append([int(cell) if cell.isdigit() else cell for cell in row])
    other = book.create_sheet("Signals")
    for cells in (
        ["signal", "worker idle", "worker busy"],
        ["SIGTERM", "exits at once", "drains for 30 seconds"],
        ["SIGINT", "exits at once", "hands its tasks back at once"],
        ["SIGKILL", "dies", "its tasks go back when their leases end"],
    ):
        other.append(cells)
    book.save(to)
    settle(to)


def make_eml(to: Path) -> None:
    mail = EmailMessage()
    mail["Subject"] = "Incident 17: worker killed during the nightly ingest"
    mail["From"], mail["To"] = "Ada <ada@example.org>", "Operations <ops@example.org>"
    mail["Date"] = "Tue, 24 Nov 2026 07:12:00 +0000"
    mail.set_content(
        "Hello all,\n\nat 03:14 the kernel killed one of our two workers, because another program had taken all memory."
        " It held four tasks. Their leases ended at 03:14:30, the other worker took them over, and the nightly ingest was"
        " complete at 04:02, eleven minutes late. No document was lost and none was indexed twice; gristmill doctor"
        " --deep found no damage.\n\nWhat we change: the other program gets a memory limit of its own.\n\nAda\n"
    )
    numbers = "time,queued,running\n03:10,812,8\n03:14,790,4\n03:15,786,8\n04:02,0,0\n"
    mail.add_attachment(numbers.encode(), maintype="text", subtype="csv", filename="queue.csv")
    mail.set_boundary("=-=-=-=-=")
    to.write_bytes(mail.as_bytes())


def copied(source: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    return lambda to: (to.write_text((SOURCES / source).read_text(encoding="utf-8"), encoding=encoding), None)[1]


CORPUS: dict[str, Callable[[Path], None]] = {
    "leases.pdf": lambda to: make_pdf("leases.md", to),
    "handbook.pdf": lambda to: make_pdf("handbook.md", to),
    "generations.docx": lambda to: make_docx("generations.md", to),
    "search.html": lambda to: make_html("search.md", to),
    "parsing.md": copied("parsing.md"),
    "talk.pptx": lambda to: make_pptx("talk.md", to),
    "settings.xlsx": make_xlsx,
    "settings.csv": copied("settings.csv"),
    "glossary.json": copied("glossary.json"),
    "history.txt": copied("history.txt"),
    "incident.eml": make_eml,
    "代.pdf": lambda to: make_pdf("代.md", to, "STSong-Light"),
    "手册.docx": lambda to: make_docx("手册.md", to),
    "租约.md": copied("租约.md"),
    "历史.txt": copied("历史.txt", "gb18030"),
}


def make(folder: Path) -> None:
    """All files of the corpus, in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, write in CORPUS.items():
        write(folder / name)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus")
