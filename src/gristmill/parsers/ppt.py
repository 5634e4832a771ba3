"""PowerPoint 97 to 2003, by our own reader; older ones go to LibreOffice where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gristmill.base.errors import EncryptedDocument
from gristmill.parsers import PARSERS, soffice
from gristmill.parsers.bounds import Blocks, too_large
from gristmill.parsers.ole import opened
from gristmill.parsers.powerpoint97 import TITLES, Encrypted, PowerPoint97, Slide, Text
from gristmill.ports.document import Block, Box, Page, ParsedDocument, Range
from gristmill.ports.parser import ParseLimits, Parser, Source

_PLACEHOLDERS = ("*", "‹#›")  # what stands for a date or a number


class PptParser(Parser):
    """Slides with their titles first, the text of shapes with its place, notes. Of earlier saves in the file, nothing."""

    name: ClassVar[str] = "ppt"
    version: ClassVar[int] = 1

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        pages: list[Page] = []
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
                    blocks.add_all(_blocks(slide, number))
        except Encrypted as exc:
            raise EncryptedDocument(
                f"{source.name} is protected by a password. Remove the password and submit it again."
            ) from exc
        blocks.require_text("holds no text")
        return ParsedDocument("ppt", blocks, pages, parser=f"ppt/{self.version}", name=source.name)

    def _converted(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        data = soffice.converted(source, "pptx", "a presentation from before PowerPoint 97")
        document = PARSERS.load("pptx")().parse(Source(source.name, data), limits)
        document.format, document.parser = "ppt", f"ppt/{self.version}"
        return document


def _blocks(slide: Slide, number: int) -> Iterator[Block]:
    for text in sorted(slide.texts, key=lambda one: one.kind not in TITLES):
        yield from _paragraphs(text, number)
    for text in slide.notes:
        for block in _paragraphs(text, number):
            block.kind, block.attrs = "text", {"part": "notes"}
            yield block


def _paragraphs(text: Text, number: int) -> Iterator[Block]:
    boxes = [Box(number, *text.sides)] if text.sides else []
    for line in text.text.split("\r"):
        words = line.replace("\v", "\n")
        if words.strip() in _PLACEHOLDERS:
            continue
        if text.kind in TITLES:
            yield Block("heading", words, level=1, boxes=boxes, page=number)
        else:
            yield Block("text", words, boxes=boxes, page=number)
