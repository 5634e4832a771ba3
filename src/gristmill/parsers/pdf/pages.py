"""A page by itself: its lines in reading order, its tables and its pictures."""

from __future__ import annotations

from typing import Any

import pypdfium2 as pdfium

from gristmill.base.errors import DamagedDocument
from gristmill.parsers import ocr
from gristmill.parsers.order import ordered
from gristmill.parsers.pdf.drawn import drawn
from gristmill.parsers.pdf.frame import Frame
from gristmill.parsers.pdf.layout import PageLines
from gristmill.parsers.pdf.lines import PageText
from gristmill.parsers.pdf.pictures import pictures, place
from gristmill.parsers.pdf.regions import table_regions
from gristmill.parsers.pdf.scans import is_scan, read_scan
from gristmill.parsers.pdf.tables import may_hold_tables, place_tables, without_tables
from gristmill.ports.document import Asset
from gristmill.ports.parser import ParseLimits, Source


def read_page(document: Any, number: int, source: Source, limits: ParseLimits) -> tuple[PageLines, list[Asset]]:
    """The page with this number, from 0, of a document that was opened; and its pictures."""
    try:
        page = document[number]
    except pdfium.PdfiumError as exc:
        raise DamagedDocument(f"{source.name}: page {number + 1} is damaged ({exc}).") from exc
    try:
        width, height = page.get_size()
        seen = drawn(page, Frame.of(page), rules=source.wanted.tables != "off")
        with PageText(page) as text:
            lines = ordered(text.lines())
            found = PageLines(number + 1, width, height, lines)
            if source.wanted.tables != "off" and lines:
                regions = table_regions(page, width, height) if source.wanted.tables == "deep" else []
                if regions:
                    place_tables(found, text.words(), seen, regions)
                elif may_hold_tables(lines, seen):
                    place_tables(found, text.words(without_tables(lines, seen)), seen)
        kept: list[Asset] = []
        if lines and seen.pictures:
            shown = list(pictures(page, seen.pictures, (width, height), limits.max_pixels))
            found.figures = place(shown, lines, number + 1)
            kept = [asset for _, asset in shown]
        if is_scan(page, lines, width, height):
            found.unread = not ocr.installed()
            if not found.unread:
                found.scanned = read_scan(page, number + 1, lines, width, height)
        return found, kept
    finally:
        page.close()
