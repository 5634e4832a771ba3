"""PowerPoint 97 to 2003, by our own reader; older ones go to LibreOffice where it is installed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import ClassVar

from gristmill.base.errors import EncryptedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers import PARSERS, soffice
from gristmill.parsers.bounds import Blocks, too_large
from gristmill.parsers.ole import opened
from gristmill.parsers.powerpoint97 import TITLES, Encrypted, Grid, PowerPoint97, Sides, Slide, Text
from gristmill.ports.document import Asset, Block, Box, Cell, Page, ParsedDocument, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_PLACEHOLDERS = ("*", "‹#›")  # what stands for a date or a number


class PptParser(Parser):
    """Slides with their titles first, text, tables and pictures with their places, notes. Of earlier saves, nothing."""

    name: ClassVar[str] = "ppt"
    version: ClassVar[int] = 2

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        pages: list[Page] = []
        assets: dict[str, Asset] = {}
        try:
            with opened(source, limits, "PowerPoint 97 presentation") as container:
                if "PowerPoint Document" not in container and "PP40" in container:
                    return self._converted(source, limits)
                show = PowerPoint97(container)
                for number, slide in enumerate(show.slides(), 1):
                    if number > limits.max_pages:
                        found = f"more than {limits.max_pages}"
                        raise too_large(source.name, "slides", found, limits.max_pages, "max_pages")
                    pages.append(Page(number, show.width, show.height))
                    blocks.add_all(_blocks(slide, number, assets))
        except Encrypted as exc:
            raise EncryptedDocument(
                f"{source.name} is protected by a password. Remove the password and submit it again."
            ) from exc
        blocks.require_text("holds no text")
        return ParsedDocument("ppt", blocks, pages, assets=assets, parser=f"ppt/{self.version}", name=source.name)

    def _converted(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        data = soffice.converted(source, "pptx", "a presentation from before PowerPoint 97")
        document = PARSERS.load("pptx")().parse(Source(source.name, data), limits)
        document.format, document.parser = "ppt", f"ppt/{self.version}"
        return document


def _blocks(slide: Slide, number: int, assets: dict[str, Asset]) -> Iterator[Block]:
    for shape in sorted(slide.shapes, key=lambda one: not (isinstance(one, Text) and one.kind in TITLES)):
        if isinstance(shape, Text):
            yield from _paragraphs(shape, number)
        elif isinstance(shape, Grid):
            yield Block("table", "", boxes=_boxes(shape.sides, number), page=number, table=_table(shape.cells))
        else:
            key = content_digest(shape.picture.data)
            assets.setdefault(key, Asset(key, shape.picture.mime, shape.picture.data))
            yield Block("figure", "", boxes=_boxes(shape.sides, number), page=number, asset=key)
    for text in slide.notes:
        for block in _paragraphs(text, number):
            block.kind, block.attrs = "text", {"part": "notes"}
            yield block


def _boxes(sides: Sides | None, number: int) -> list[Box]:
    return [Box(number, *sides)] if sides else []


def _table(cells: list[Text]) -> Table:
    """Rows and columns by where the cells begin; one that reaches over such places spans them."""
    sides = [cell.sides for cell in cells if cell.sides]
    lefts, tops = sorted({one[0] for one in sides}), sorted({one[1] for one in sides})
    made = []
    for cell, (left, top, right, bottom) in zip(cells, sides, strict=True):
        row, column = bisect_left(tops, top), bisect_left(lefts, left)
        high, wide = max(1, bisect_left(tops, bottom) - row), max(1, bisect_left(lefts, right) - column)
        text = cell.text.replace("\r", "\n").replace("\v", "\n")
        made.append(Cell(text, row, column, high, wide, header=row == 0))
    return Table(len(tops), len(lefts), made, header_rows=1 if len(tops) > 1 else 0)


def _paragraphs(text: Text, number: int) -> Iterator[Block]:
    boxes = _boxes(text.sides, number)
    for line in text.text.split("\r"):
        words = line.replace("\v", "\n")
        if words.strip() in _PLACEHOLDERS:
            continue
        if text.kind in TITLES:
            yield Block("heading", words, level=1, boxes=boxes, page=number)
        else:
            yield Block("text", words, boxes=boxes, page=number)
