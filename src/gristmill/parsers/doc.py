"""Word 97 to 2003, by our own reader; older ones and WordML go to LibreOffice where it is installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from gristmill.base.errors import EncryptedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers import PARSERS, soffice
from gristmill.parsers.bounds import Blocks
from gristmill.parsers.officeart import Picture
from gristmill.parsers.ole import opened
from gristmill.parsers.word97 import Encrypted, NotWord97, Paragraph, Word97
from gristmill.ports.document import Asset, Block, Cell, Kind, ParsedDocument, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_FIELD = re.compile("[\x13\x14\x15]")
_CONTROLS = {ord(char): None for char in "\x00\x01\x02\x03\x04\x05\x06\x08\x1f\xad"} | {
    0x0B: "\n", 0x0E: "\n", 0x1E: "-", 0xA0: " ",
}  # fmt: skip
_ORDER = ("header", "text", "comment", "footnote")
_KINDS: dict[str, Kind] = {"footnote": "footnote", "header": "header"}


class DocParser(Parser):
    """Headings by style and outline level, lists, tables, notes, heads, comments, text boxes; the results of fields,
    never their code; pictures. No text that is hidden or that tracked changes have deleted."""

    name: ClassVar[str] = "doc"
    version: ClassVar[int] = 2

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        assets: dict[str, Asset] = {}
        try:
            with opened(source, limits, "Word 97 document") as container:
                stories: dict[str, list[Paragraph]] = {story: [] for story in _ORDER}
                word = Word97(container)
                for paragraph in word.paragraphs():
                    stories[paragraph.story].append(paragraph)
                for paragraphs in stories.values():
                    blocks.add_all(_blocks(paragraphs, assets))
                blocks.add_all(_figures(word.floating(), assets))
        except NotWord97 as exc:
            return self._converted(source, limits, str(exc))
        except Encrypted as exc:
            raise EncryptedDocument(
                f"{source.name} is protected by a password. Remove the password and submit it again."
            ) from exc
        blocks.require_text("holds no text")
        return ParsedDocument("doc", blocks, assets=assets, parser=f"doc/{self.version}", name=source.name)

    def _converted(self, source: Source, limits: ParseLimits, what: str) -> ParsedDocument:
        data = soffice.converted(source, "docx", what)
        document = PARSERS.load("docx")().parse(Source(source.name, data), limits)
        document.format, document.parser = "doc", f"doc/{self.version}"
        return document


@dataclass
class _Fields:
    """Fields may span paragraphs: between their begin and their middle is code, from there to their end what they show."""

    code: list[bool] = field(default_factory=list)

    def shown(self, text: str) -> str:
        pieces, at = [], 0
        for match in _FIELD.finditer(text):
            if not any(self.code):
                pieces.append(text[at : match.start()])
            at = match.end()
            if match[0] == "\x13":
                self.code.append(True)
            elif self.code and match[0] == "\x14":
                self.code[-1] = False
            elif self.code:
                self.code.pop()
        if not any(self.code):
            pieces.append(text[at:])
        return "".join(pieces).translate(_CONTROLS)


@dataclass
class _Rows:
    """The table that is being read."""

    cells: list[Cell] = field(default_factory=list)
    row: int = 0
    col: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, paragraph: Paragraph, text: str) -> None:
        if paragraph.row_end:
            self.row, self.col, self.lines = self.row + 1, 0, []
            return
        self.lines.append(text)
        if paragraph.end == "\x07":
            whole = "\n".join(line for line in self.lines if line.strip())
            self.cells.append(Cell(whole, self.row, self.col, header=self.row == 0))
            self.col, self.lines = self.col + 1, []

    def blocks(self) -> Iterator[Block]:
        rows = max((cell.row + 1 for cell in self.cells), default=0)
        cols = max((cell.col + 1 for cell in self.cells), default=0)
        if rows == cols == 1:  # a frame around text
            yield Block("text", self.cells[0].text)
        elif rows:
            yield Block("table", "", table=Table(rows, cols, self.cells, header_rows=1 if rows > 1 else 0))
        yield Block("text", "\n".join(self.lines))  # a damaged table's cell without an end


def _figures(pictures: Iterable[Picture], assets: dict[str, Asset]) -> Iterator[Block]:
    for picture in pictures:
        key = content_digest(picture.data)
        if key not in assets:
            assets[key] = Asset(key, picture.mime, picture.data)
            yield Block("figure", "", asset=key)


def _blocks(paragraphs: Iterable[Paragraph], assets: dict[str, Asset]) -> Iterator[Block]:
    fields = _Fields()
    table: _Rows | None = None
    pictures: list[Picture] = []  # of the table
    for paragraph in paragraphs:
        text = fields.shown(paragraph.text)
        if paragraph.in_table:
            table = table or _Rows()
            table.add(paragraph, text)
            pictures += paragraph.pictures
            continue
        if table is not None:
            yield from table.blocks()
            table = None
        yield from _figures(pictures, assets)
        yield _block(paragraph, text)
        yield from _figures(paragraph.pictures, assets)
        pictures = []
    if table is not None:
        yield from table.blocks()
    yield from _figures(pictures, assets)


def _block(paragraph: Paragraph, text: str) -> Block:
    if paragraph.story in _KINDS:
        return Block(_KINDS[paragraph.story], text)
    if paragraph.story == "comment":
        return Block("footnote", text, attrs={"part": "comment"})
    if paragraph.level:
        return Block("heading", text, level=paragraph.level)
    if paragraph.listed:
        return Block("list_item", text, level=paragraph.listed)
    return Block("text", text)
