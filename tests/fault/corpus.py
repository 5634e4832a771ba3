"""A small folder of every kind that ingestion treats differently: whole documents, pages read in parts, windows of rows,
slices of chunks, pictures, a text that occurs twice, a file nobody reads."""

from __future__ import annotations

import csv
import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docx
from docx.shared import Mm
from reportlab.lib.pagesizes import A6
from reportlab.pdfgen.canvas import Canvas

from gristmill.ports.parser import WINDOW_CELLS

_canvas: Any = Canvas  # it has no types

PAGES, ROWS = 14, 60
SENTENCE = "The {} of section {} keeps what the {} before it has promised, whoever is asked and whenever that is."
WORDS = "lease fence keeper runner broker catalog chunk sweep drain attempt".split()
GONE = "租约.md"
BROKEN = "broken.pdf"  # not a document: fails in every run, for good


def write(folder: Path) -> None:
    """The first state of the folder."""
    folder.mkdir(parents=True)
    (folder / "notes.md").write_text(_notes("first"), encoding="utf-8")
    (folder / "twice.txt").write_text("\n\n".join([_sentences(40, 4), _sentences(41, 4), _sentences(40, 4)]))
    (folder / "deep").mkdir()
    (folder / "deep" / "租约.md").write_text(
        "# 租约\n\n租约到期以后，任务回到队列，由别的工作进程继续。\n", encoding="utf-8"
    )
    (folder / "table.csv").write_text(_rows(ROWS), encoding="utf-8")
    (folder / "book.pdf").write_bytes(_pdf(PAGES))
    (folder / "report.docx").write_bytes(_docx())
    (folder / BROKEN).write_bytes(b"%PDF-1.7\nthis is where it ends")
    _age(folder, 1_700_000_000)


def change(folder: Path) -> None:
    """The second state: one file changed, one gone from the folder (its document stays), one new."""
    (folder / "notes.md").write_text(_notes("second"), encoding="utf-8")
    (folder / "book.pdf").write_bytes(_pdf(PAGES + 1))
    (folder / "deep" / "租约.md").unlink()
    (folder / "late.md").write_text("# Late\n\nThis one came last.\n", encoding="utf-8")
    for name in ("notes.md", "book.pdf", "late.md"):
        os.utime(folder / name, (1_700_000_100, 1_700_000_100))


def _age(folder: Path, moment: int) -> None:
    """What changed just now is not remembered as seen, for it may change again without a trace."""
    for path in folder.rglob("*"):
        os.utime(path, (moment, moment))


def _notes(state: str) -> str:
    return "\n\n".join(f"## Section {n}, {state}\n\n{_sentences(n, 4)}" for n in range(8)) + "\n"


def _sentences(seed: int, count: int) -> str:
    picked = [(WORDS[(seed * 7 + n) % 10], seed * 10 + n, WORDS[(seed + n * 3) % 10]) for n in range(count)]
    return " ".join(SENTENCE.format(*one) for one in picked)


def _rows(count: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    empty = [""] * (WINDOW_CELLS // 25)  # so that a window is no more than 25 rows
    writer.writerows([n, WORDS[n % 10], f"row {n} of the table", *empty] for n in range(count))
    return out.getvalue()


def _pdf(pages: int) -> bytes:
    out = io.BytesIO()
    canvas = _canvas(out, pagesize=A6, invariant=True)
    for page in range(pages):
        for n, line in enumerate(_lines(_sentences(page + 100, 3))):
            canvas.drawString(20, 380 - 14 * n, line)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _lines(text: str, width: int = 45) -> Iterator[str]:
    line = ""
    for word in text.split():
        if len(line) + len(word) > width:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line


def _docx() -> bytes:
    document = docx.Document()
    document.add_heading("Report", level=1)
    document.add_paragraph(_sentences(300, 5))
    document.add_picture(io.BytesIO(_png(64, 48)), width=Mm(40))
    document.add_heading("Second part", level=2)
    document.add_paragraph(_sentences(301, 5))
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _png(width: int, height: int) -> bytes:
    """A picture, by hand: a grey gradient."""
    rows = b"".join(b"\0" + bytes((x * 3 + y) % 256 for x in range(width)) for y in range(height))

    def piece(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", head) + piece(b"IDAT", zlib.compress(rows)) + piece(b"IEND", b"")
