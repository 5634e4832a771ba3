"""PDFs by reportlab."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = A4
PARAGRAPH = (
    "A lease is the right to run a task now, with a fencing token that grows with every",
    "reservation. Whoever holds it extends it every ten seconds. An extension that fails",
    "ends the task here, for somebody else has it already.",
)
ROWS = [
    ["Region", "Q1", "Q2", "Total"],
    ["North", "120", "135", "255"],
    ["South", "98", "101", "199"],
    ["East", "7", "8", "15"],
]


def canvas() -> tuple[io.BytesIO, Any]:
    buffer = io.BytesIO()
    return buffer, Canvas(buffer, pagesize=A4, invariant=1)  # type: ignore[no-untyped-call]


def lines(page: Any, texts: Iterable[str], x: float, y: float, *, size: float = 10, font: str = "Helvetica") -> float:
    """Lines below each other; where the next one would stand."""
    page.setFont(font, size)
    for text in texts:
        page.drawString(x, y, text)
        y -= 1.25 * size
    return y


def grid(page: Any, rows: Sequence[Sequence[str]], x: float, y: float, *, step: float = 90) -> None:
    page.setFont("Helvetica", 10)
    for row in rows:
        for n, text in enumerate(row):
            page.drawString(x + n * step, y, text)
        y -= 14


def report_pdf(pages: int = 4) -> bytes:
    """Pages with a running head and foot, a bookmarked heading, a paragraph; a table on the second."""
    buffer, page = canvas()
    for number in range(1, pages + 1):
        lines(page, ["Annual report 2026"], 72, HEIGHT - 40, size=8)
        lines(page, [f"Page {number} of {pages}"], 280, 30, size=8)
        lines(page, [f"{number}. Chapter {number}"], 72, HEIGHT - 90, size=16, font="Helvetica-Bold")
        page.bookmarkPage(f"chapter-{number}")
        page.addOutlineEntry(f"{number}. Chapter {number}", f"chapter-{number}", 0)
        lines(page, [f"Words of page {number} only.", *PARAGRAPH], 72, HEIGHT - 120)
        if number == 2:
            grid(page, ROWS, 72, HEIGHT - 220)
        page.showPage()
    page.save()
    return buffer.getvalue()
