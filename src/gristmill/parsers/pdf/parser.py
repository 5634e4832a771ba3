"""PdfParser: bytes to pages, and pages to blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, ClassVar

import msgspec
import pypdfium2 as pdfium

from gristmill.base.errors import DamagedDocument, EmptyDocument, EncryptedDocument
from gristmill.parsers import ocr
from gristmill.parsers.bounds import Blocks, check_size, clean, too_large
from gristmill.parsers.pdf.borders import over_borders
from gristmill.parsers.pdf.layout import Headings, PageLines, blocks_of, captioned, running
from gristmill.parsers.pdf.pages import read_page
from gristmill.parsers.pdf.regions import require_weights
from gristmill.ports.document import Asset, Block, OutlineEntry, Page, ParsedDocument, Range
from gristmill.ports.parser import PageParser, ParseLimits, Reading, Source

_MOST_BOOKMARKS = 10_000
_MOST_PICTURES = 64 << 20  # bytes of all that are kept
_LOGO = 4  # pages from which on a picture is one
_MOST_NAMED = 10  # pages in a warning


class _Pages(msgspec.Struct):
    """The data of a reading. What the document says of itself as a whole is with its first page."""

    pages: list[PageLines]
    outline: list[OutlineEntry] = []
    meta: dict[str, str] = {}


class PdfParser(PageParser):
    """Text with pages and boxes; headings from the outline, or by size and weight; tables; running heads apart.

    Pages that are pictures are read by OCR, each by itself. Without the extra ``ocr`` they leave a warning, and a document
    of nothing else is an EmptyDocument that says so.
    """

    name: ClassVar[str] = "pdf"
    version: ClassVar[int] = 12

    def count(self, source: Source, limits: ParseLimits) -> int:
        with _opened(source, limits) as document:
            return len(document)

    def read(self, source: Source, limits: ParseLimits, part: Range) -> Reading:
        if source.wanted.tables == "deep":
            require_weights(source.name)
        with _opened(source, limits) as document:
            there = range(part.first, min(part.last, len(document)))
            wanted = [number for number in there if source.wanted.wants(number + 1)]
            found, assets = _Pages([]), dict[str, Asset]()
            for number in wanted:
                page, pictures = read_page(document, number, source, limits)
                found.pages.append(page)
                assets |= {one.id: one for one in pictures}
            if part.first == 0:
                found.outline = _outline(document)
                about = document.get_metadata_dict(skip_empty=True)
                found.meta = {key.lower(): clean(value) for key, value in about.items()}
        return Reading(len(found.pages), msgspec.msgpack.encode(found), assets)

    def join(self, name: str, limits: ParseLimits, readings: Iterable[Reading]) -> ParsedDocument:
        whole, assets = _Pages([]), dict[str, Asset]()
        for reading in readings:
            assets |= reading.assets
            piece = msgspec.msgpack.decode(reading.data, type=_Pages)
            whole.pages += piece.pages
            whole.outline += piece.outline
            whole.meta |= piece.meta
        assets = _kept(whole.pages, assets)
        blocks = _blocks(whole.pages, whole.outline, Blocks(name, limits))
        warnings = _unread(whole.pages)
        blocks.require_text(f"has no text layer: {warnings[0]}" if warnings else "holds no text, not even for OCR")
        seen = [
            Page(page.number, round(page.width, 1), round(page.height, 1), source=page.source) for page in whole.pages
        ]
        return ParsedDocument(
            "pdf",
            blocks,
            seen,
            whole.outline,
            assets,
            meta=whole.meta,
            warnings=warnings,
            parser=f"pdf/{self.version}",
            name=name,
        )


def _unread(pages: list[PageLines]) -> list[str]:
    """A warning that says which pages are scans that nobody read."""
    numbers = [str(page.number) for page in pages if page.unread]
    if not numbers:
        return []
    named = ", ".join(numbers[:_MOST_NAMED]) + (", …" if len(numbers) > _MOST_NAMED else "")
    return [f"{len(numbers)} pages are scans that were not read ({named}); {ocr.EXTRA}"]


def _kept(pages: list[PageLines], assets: dict[str, Asset]) -> dict[str, Asset]:
    """The pictures that the document keeps: none that stands on many pages, as logos do, and no more than so many bytes of
    them. The pages lose the others."""
    seen: dict[str, set[int]] = defaultdict(set)
    for page in pages:
        for figure in chain.from_iterable(page.figures.values()):
            seen[figure.asset].add(page.number)
    kept: dict[str, Asset] = {}
    room = _MOST_PICTURES
    for key, numbers in seen.items():
        room -= len(assets[key].data)
        if len(numbers) < _LOGO and room >= 0:
            kept[key] = assets[key]
    for page in pages:
        page.figures = {n: [one for one in figures if one.asset in kept] for n, figures in page.figures.items()}
    return kept


def _blocks(pages: list[PageLines], outline: list[OutlineEntry], blocks: Blocks) -> Blocks:
    blocks.add_all(over_borders(_page_by_page(pages, outline)))
    return blocks


def _page_by_page(pages: list[PageLines], outline: list[OutlineEntry]) -> Iterator[Block]:
    headings = Headings(pages, outline, outlined=bool(outline))
    repeated = running(pages)
    for page in pages:
        yield from captioned(list(blocks_of(page, headings, repeated)))
        yield from page.scanned


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
