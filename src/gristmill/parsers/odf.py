"""OpenDocument: texts (odt), tables (ods) and presentations (odp)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gristmill.base.errors import DamagedDocument, EncryptedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers.bounds import Blocks, clean, open_zip, too_large
from gristmill.parsers.xml import ERRORS, local, read_xml
from gristmill.ports.document import Asset, Block, Cell, Page, ParsedDocument, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_CONTENT, _MANIFEST = "content.xml", "META-INF/manifest.xml"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_SIGNS = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
_PASSED = frozenset(("tracked-changes", "forms", "sequence-decls", "scripts", "event-listeners", "dde-connections"))
_ASIDE = frozenset(("note", "annotation"))
_MOST_REPEATED = 1000  # blanks in one place


class OdfParser(Parser):
    """Headings, lists with their depth, tables with spans, notes, comments, text boxes, pictures; slides and sheets as pages.

    Values of cells are as the program showed them; formulas are not computed.
    """

    name: ClassVar[str] = "odf"
    version: ClassVar[int] = 2

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        with open_zip(source, limits) as archive:
            reader = _Reader(source.name, limits, archive)
            try:
                _refuse_encrypted(archive, source.name)
                root = read_xml(archive, _CONTENT)
                for body in root.iter("{urn:oasis:names:tc:opendocument:xmlns:office:1.0}body"):
                    blocks.add_all(reader.children(body))
            except ERRORS as exc:
                raise DamagedDocument(
                    f"{source.name} is a damaged OpenDocument file ({type(exc).__name__}: {exc}). Open it and save it again."
                ) from exc
        blocks.require_text("holds no text")
        return ParsedDocument(
            "odf", blocks, reader.pages, assets=reader.assets, parser=f"odf/{self.version}", name=source.name
        )


def _refuse_encrypted(archive: zipfile.ZipFile, name: str) -> None:
    if _MANIFEST in archive.namelist() and any(True for _ in read_xml(archive, _MANIFEST).iter("{*}encryption-data")):
        raise EncryptedDocument(f"{name} is protected by a password. Remove the password and submit it again.")


@dataclass
class _Reader:
    name: str
    limits: ParseLimits
    archive: zipfile.ZipFile
    assets: dict[str, Asset] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)
    rows: int = 0
    cells: int = 0
    sheets: bool = False

    def children(self, parent: Any, depth: int = 0, *, notes: bool = False) -> Iterator[Block]:
        """The blocks of everything in an element, in its order. ``depth`` is that of the list around it."""
        for item in parent:
            kind = local(item)
            if kind in _PASSED:
                continue
            if kind == "h":
                yield from self._paragraph(item, "heading", _number(item, _TEXT + "outline-level", 1, 9))
            elif kind == "p":
                yield from self._paragraph(item, "list_item" if depth else "text", depth, notes=notes)
            elif kind == "list":
                yield from self.children(item, depth + 1, notes=notes)
            elif kind == "table":
                yield from self._table(item)
            elif kind == "notes":
                yield from self.children(item, notes=True)
            else:
                yield from self._other(item, kind, depth, notes=notes)

    def _other(self, item: Any, kind: str, depth: int, *, notes: bool) -> Iterator[Block]:
        if kind == "page":
            self._page(item.get(_DRAW + "name", ""))
            yield from self.children(item)
        elif kind == "frame" and item.get(_PRESENTATION + "class") == "title":
            for block in self.children(item):
                block.kind, block.level = "heading", 1
                yield block
        elif kind == "image":
            yield from self._image(item)
        elif kind == "spreadsheet":
            self.sheets = True
            yield from self.children(item)
        else:
            yield from self.children(item, depth, notes=notes)

    def _image(self, item: Any) -> Iterator[Block]:
        """A picture that is in the file, with what it is said to show."""
        try:
            data = self.archive.read(item.get(_LINK, "").removeprefix("./"))
        except KeyError:
            return
        mime = next((mime for sign, mime in _SIGNS if data.startswith(sign)), "")
        if mime:
            key = content_digest(data)
            self.assets.setdefault(key, Asset(key, mime, data))
            said = (one.text or "" for one in item.itersiblings() if local(one) in ("title", "desc"))
            yield Block("figure", " ".join(said), page=len(self.pages), asset=key)

    def _page(self, label: str) -> None:
        if len(self.pages) >= self.limits.max_pages:
            found = f"more than {self.limits.max_pages}"
            raise too_large(self.name, "pages", found, self.limits.max_pages, "max_pages")
        self.pages.append(Page(len(self.pages) + 1, label=clean(label)))

    def _paragraph(self, item: Any, kind: Any, level: int, *, notes: bool = False) -> Iterator[Block]:
        attrs = {"part": "notes"} if notes else {}
        yield Block(kind, text_of(item), level=level, page=len(self.pages), attrs=attrs)
        for inner in _beside(item):
            for block in self.children(inner):
                block.kind = "footnote" if local(inner) in _ASIDE and block.kind == "text" else block.kind
                yield block

    def _table(self, item: Any) -> Iterator[Block]:
        if self.sheets:
            self._page(item.get(_TABLE + "name", ""))
        cells: list[Cell] = []
        row = 0
        for element in _rows(item):
            found = list(self._cells(element, row))
            if self.sheets and not found:
                continue
            repeated = _number(element, _TABLE + "number-rows-repeated", 1, 1 << 20) if found else 1
            for copy in range(repeated):
                self._count(len(found))
                cells += [Cell(c.text, row + copy, c.col, c.rowspan, c.colspan, header=row == 0) for c in found]
            row += repeated
        _clip(cells, row)
        cols = max((cell.col + cell.colspan for cell in cells), default=0)
        attrs = {"sheet": self.pages[-1].label} if self.sheets and self.pages else {}
        table = Table(row, cols, cells, header_rows=1 if row > 1 else 0)
        yield Block("table", "", table=table, page=len(self.pages), attrs=attrs)

    def _cells(self, row: Any, number: int) -> Iterator[Cell]:
        col = 0
        for cell in row:
            if local(cell) not in ("table-cell", "covered-table-cell"):
                continue
            repeated = _number(cell, _TABLE + "number-columns-repeated", 1, 1 << 20)
            text = "\n".join(filter(None, map(_flat, self.children(cell)))) if local(cell) == "table-cell" else ""
            if text:
                rows = _number(cell, _TABLE + "number-rows-spanned", 1, 1 << 20)
                cols = _number(cell, _TABLE + "number-columns-spanned", 1, 1000)
                self._check_cells(repeated)
                for copy in range(repeated):
                    yield Cell(text, number, col + copy, rows, cols)
            col += repeated

    def _count(self, cells: int) -> None:
        self.rows += 1
        self._check_cells(cells)
        self.cells += cells
        if self.rows > self.limits.max_rows:
            found = f"more than {self.limits.max_rows}"
            raise too_large(self.name, "rows", found, self.limits.max_rows, "max_rows")

    def _check_cells(self, more: int) -> None:
        if self.cells + more > self.limits.max_cells:
            found = f"more than {self.limits.max_cells}"
            raise too_large(self.name, "cells", found, self.limits.max_cells, "max_cells")


def _clip(cells: list[Cell], rows: int) -> None:
    for cell in cells:
        cell.rowspan = max(1, min(cell.rowspan, rows - cell.row))


def _rows(table: Any) -> Iterator[Any]:
    """The rows, also those in groups and heads; not those of tables inside."""
    for item in table:
        if local(item) == "table-row":
            yield item
        elif local(item) in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _rows(item)


def _flat(block: Block) -> str:
    if block.table is None:
        return block.text
    return "\n".join(" ".join(filter(None, row)) for row in block.table.grid())


def text_of(paragraph: Any) -> str:
    """The words of a paragraph, without those of notes, comments and frames that are anchored in it."""
    pieces: list[str] = [paragraph.text or ""]
    for item in paragraph:
        kind = local(item)
        if kind == "s":
            pieces.append(" " * _number(item, _TEXT + "c", 1, _MOST_REPEATED))
        elif kind == "tab":
            pieces.append("\t")
        elif kind == "line-break":
            pieces.append("\n")
        elif kind not in _ASIDE and kind not in ("frame", "ruby-text", "custom-shape"):
            pieces.append(text_of(item))
        pieces.append(item.tail or "")
    return "".join(pieces)


def _beside(paragraph: Any) -> Iterator[Any]:
    """What is anchored in a paragraph, and not part of its words."""
    for item in paragraph:
        if local(item) in _ASIDE or local(item) in ("frame", "custom-shape"):
            yield item
        else:
            yield from _beside(item)


def _number(element: Any, name: str, default: int, most: int) -> int:
    value = element.get(name, "")
    return max(1, min(int(value), most)) if value.isascii() and value.isdigit() and len(value) < 10 else default
