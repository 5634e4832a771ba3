"""PdfParser: bytes to blocks, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pypdfium2 as pdfium

from gristmill.base.errors import DamagedDocument, EmptyDocument, EncryptedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers import ocr
from gristmill.parsers.bounds import Blocks, check_size, clean, too_large
from gristmill.parsers.order import ordered
from gristmill.parsers.pdf.layout import Headings, PageLines, blocks_of, running
from gristmill.parsers.pdf.lines import PageText
from gristmill.parsers.pdf.scans import is_scan, read_scan
from gristmill.parsers.pdf.tables import may_hold_tables, place_tables
from gristmill.ports.document import OutlineEntry, Page, ParsedDocument, Range
from gristmill.ports.parser import ParseLimits, Parser, Source, Unit

_MOST_BOOKMARKS = 10_000
_MOST_NAMED = 10  # pages in a warning


class PdfParser(Parser):
    """Text with pages and boxes; headings from the outline, or by size and weight; tables; running heads apart.

    Pages that are pictures are read by OCR, each by itself. Without the extra ``ocr`` they leave a warning, and a document
    of nothing else is an EmptyDocument that says so.
    """

    name: ClassVar[str] = "pdf"
    version: ClassVar[int] = 4
    unit: ClassVar[Unit] = "page"

    def count(self, source: Source, limits: ParseLimits) -> int:
        with _opened(source, limits) as document:
            return len(document)

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        with _opened(source, limits) as document:
            wanted = range(len(document)) if part is None else range(part.first, min(part.last, len(document)))
            pages = [_page(document, number, source.name) for number in wanted]
            outline = _OUTLINES.of(source, document)
            meta = {key.lower(): clean(value) for key, value in document.get_metadata_dict(skip_empty=True).items()}
        mine = [entry for entry in outline if not entry.page or entry.page - 1 in wanted]
        blocks = _blocks(pages, mine, bool(outline), Blocks(source.name, limits))
        warnings = _unread(pages)
        if part is None:
            blocks.require_text(f"has no text layer: {warnings[0]}" if warnings else "holds no text, not even for OCR")
        seen = [Page(page.number, round(page.width, 1), round(page.height, 1), source=page.source) for page in pages]
        return ParsedDocument(
            "pdf", blocks, seen, mine, meta=meta, warnings=warnings, parser=f"pdf/{self.version}", name=source.name
        )


def _unread(pages: list[PageLines]) -> list[str]:
    """A warning that says which pages are scans that nobody read."""
    numbers = [str(page.number) for page in pages if page.unread]
    if not numbers:
        return []
    named = ", ".join(numbers[:_MOST_NAMED]) + (", …" if len(numbers) > _MOST_NAMED else "")
    return [f"{len(numbers)} pages are scans that were not read ({named}); {ocr.EXTRA}"]


def _blocks(pages: list[PageLines], outline: list[OutlineEntry], outlined: bool, blocks: Blocks) -> Blocks:
    headings = Headings(pages, outline, outlined=outlined)
    repeated = running(pages)
    for page in pages:
        blocks.add_all(blocks_of(page, headings, repeated))
        blocks.add_all(page.scanned)
    return blocks


@contextmanager
def _opened(source: Source, limits: ParseLimits) -> Iterator[Any]:
    check_size(source, limits)
    try:
        document = pdfium.PdfDocument(source.data)
    except pdfium.PdfiumError as exc:
        if "password" in str(exc).lower():
            raise EncryptedDocument(
                f"{source.name} is protected by a password. Remove the password and submit it again."
            ) from exc
        raise DamagedDocument(
            f"{source.name} is a damaged PDF ({exc}). Open it in a viewer and print it anew."
        ) from exc
    try:
        if len(document) == 0:
            raise EmptyDocument(f"{source.name} has no pages")
        if len(document) > limits.max_pages:
            raise too_large(source.name, "pages", len(document), limits.max_pages, "max_pages")
        yield document
    finally:
        document.close()


def _page(document: Any, number: int, name: str) -> PageLines:
    try:
        page = document[number]
    except pdfium.PdfiumError as exc:
        raise DamagedDocument(f"{name}: page {number + 1} is damaged ({exc}).") from exc
    try:
        width, height = page.get_size()
        with PageText(page) as text:
            lines = ordered(text.lines())
            found = PageLines(number + 1, width, height, lines)
            if may_hold_tables(lines):
                place_tables(found, text.words())
        if is_scan(page, lines, width, height):
            found.unread = not ocr.installed()
            if not found.unread:
                found.scanned = read_scan(page, number + 1, lines, width, height)
        return found
    finally:
        page.close()


class _Outlines:
    """The bookmarks of the document that was read last: each part of one needs them, and reading them takes as long as
    reading pages does."""

    def __init__(self) -> None:
        self._latest: tuple[str, list[OutlineEntry]] = ("", [])

    def of(self, source: Source, document: Any) -> list[OutlineEntry]:
        digest = content_digest(source.data)
        known, latest = self._latest  # one look: another thread may read another document
        if digest == known:
            return latest
        entries = _outline(document)
        self._latest = (digest, entries)
        return entries


_OUTLINES = _Outlines()


def _outline(document: Any) -> list[OutlineEntry]:
    entries = []
    for item in document.get_toc():
        target = item.get_dest()
        index = target.get_index() if target is not None else None
        title = " ".join(clean(item.get_title()).split())
        if title:
            entries.append(OutlineEntry(title, item.level + 1, 0 if index is None else index + 1))
        if len(entries) >= _MOST_BOOKMARKS:
            break
    return entries
