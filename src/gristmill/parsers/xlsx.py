"""Excel workbooks, new and old: a sheet is a page, with a table or several. Formulas are never computed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from gristmill.base.errors import EmptyDocument
from gristmill.parsers.bounds import Blocks
from gristmill.parsers.sheets import Row, Section, sections
from gristmill.parsers.workbook import Workbook
from gristmill.ports.document import Block, Cell, Page, ParsedDocument, Table
from gristmill.ports.parser import WINDOW_CELLS, WINDOW_ROWS, ParseLimits, RowParser, Source

_WIDE = 256  # columns; of a wider table only those are kept that hold something


class XlsxParser(RowParser):
    """Tables with their heads, one or several on a sheet, and the titles above them; merged cells with their spans.

    A large table has a piece in each window that it reaches into.
    """

    name: ClassVar[str] = "xlsx"
    version: ClassVar[int] = 4

    def windows(self, source: Source, limits: ParseLimits) -> Iterator[ParsedDocument]:
        found = False
        with Workbook(source, limits) as book:
            for pieces in _windows(book):
                blocks = Blocks(source.name, limits)
                blocks.add_all(_block(piece) for piece in pieces)
                pages = [Page(piece.sheet.number, label=piece.sheet.name) for piece in pieces if piece.opens]
                found = found or bool(blocks)
                if found:
                    yield ParsedDocument("xlsx", blocks, pages, parser=f"xlsx/{self.version}", name=source.name)
        if not found:
            raise EmptyDocument(f"{source.name} holds no values")


@dataclass(frozen=True)
class _Sheet:
    name: str
    number: int
    spans: Mapping[tuple[int, int], tuple[int, int]]  # of merged cells, by the first of them: rows and columns


@dataclass
class _Piece:
    """Rows of one section that follow each other. ``begins``: they are its first. ``opens``: they are the sheet's first."""

    sheet: _Sheet
    section: Section
    begins: bool = True
    opens: bool = False
    rows: list[Row] = field(default_factory=list)


def _windows(book: Workbook) -> Iterator[list[_Piece]]:
    """The rows of all sheets in windows. A sheet begins a new one where the last is half full."""
    window: list[_Piece] = []
    rows = cells = 0
    for number, name in enumerate(book.names, 1):
        merged = book.merged(name)
        spans = {low: (high[0] - low[0] + 1, high[1] - low[1] + 1) for low, high in merged}
        sheet = _Sheet(name, number, spans)
        piece: _Piece | None = None
        for section, row in sections(book.rows(name), merged):
            most = WINDOW_ROWS if piece else WINDOW_ROWS // 2
            whole = piece is None or section is not piece.section or len(piece.rows) >= len(section.heads)
            if whole and rows and (rows >= most or cells + len(row[1]) > WINDOW_CELLS):
                yield window
                window, rows, cells = [], 0, 0
            if not window or piece is None or section is not piece.section:
                begins = piece is None or section is not piece.section
                piece = _Piece(sheet, section, begins, opens=piece is None)
                window.append(piece)
            piece.rows.append(row)
            rows, cells = rows + 1, cells + len(row[1])
    yield window


def _block(piece: _Piece) -> Block:
    """The table of a piece, or the line above one."""
    sheet, heads = piece.sheet, len(piece.section.heads)
    if piece.section.title:
        words = " ".join(filter(None, piece.rows[0][1]))
        return Block("text", words, page=sheet.number, attrs={"sheet": sheet.name, "part": "title"})
    taken = piece.rows if piece.begins else piece.section.heads + piece.rows
    cells = []
    for number, (row, values) in enumerate(taken):
        for column, value in enumerate(values):
            if value:
                high, wide = sheet.spans.get((row, column), (1, 1))
                covered = bisect_left(taken, row + high, lo=number, key=lambda one: one[0]) - number if high > 1 else 1
                cells.append(Cell(value, number, column, max(1, covered), wide, header=number < heads))
    width = _narrowed(cells)
    table = Table(len(taken), width, cells, heads, sheet.name)
    return Block("table", "", page=sheet.number, table=table, attrs={"sheet": sheet.name})


def _narrowed(cells: list[Cell]) -> int:
    """How many columns the cells take. Where there are very many, those that hold nothing are taken out."""
    width = max((cell.col + cell.colspan for cell in cells), default=0)
    if width <= _WIDE:
        return width
    places = {column: place for place, column in enumerate(sorted({cell.col for cell in cells}))}
    for cell in cells:
        cell.col, cell.colspan = places[cell.col], 1
    return len(places)
