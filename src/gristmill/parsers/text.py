"""Plain text and source code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import ClassVar

from gristmill.parsers.bounds import Blocks, check_size, clean
from gristmill.parsers.cards import cards, is_cards
from gristmill.parsers.charset import decode
from gristmill.parsers.detect import LANGUAGES
from gristmill.ports.document import Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

# A numbered line of its own, short and without the end of a sentence. Chinese laws and books name their parts.
_ZH_HEADING = re.compile(r"第[一二三四五六七八九十百千零〇\d]+([编篇章节])(?:\s|\u3000|$)")
_ZH_LEVELS = {"编": 1, "篇": 1, "章": 2, "节": 3}
_EN_HEADING = re.compile(
    r"(?:(?:chapter|part|appendix|section|book)\s+(?:\d+|[ivxlc]+|[a-z])\b|(\d+(?:\.\d+){1,3})\.?\s+\w)", re.I
)
_LONGEST_HEADING = 80
_SENTENCE_END = tuple(".。!！?？;；,，:：")
_LONGEST_DEFINITION, _DEEPEST = 60, 4  # lines, and definitions in definitions
_TRIPLE = re.compile(r"\"{3}|'{3}")
_PARAGRAPH = re.compile(r"\n[ \t\u3000]*\n\s*")


class TextParser(Parser):
    """Paragraphs, parted by empty lines; numbered lines as headings; calendars and contacts as records; source code as code,
    parted at top-level definitions, and long ones at those inside."""

    name: ClassVar[str] = "text"
    version: ClassVar[int] = 5

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        text, encoding = decode(source.data)
        text = clean(text)
        blocks = Blocks(source.name, limits)
        language = LANGUAGES.get(PurePath(source.name).suffix.lower(), "")
        found = _code(text, language) if language else cards(text) if is_cards(text) else _paragraphs(text)
        blocks.add_all(found)
        blocks.require_text("holds no text")
        meta = {"encoding": encoding}
        return ParsedDocument("text", blocks, meta=meta, parser=f"text/{self.version}", name=source.name)


def heading_level(line: str) -> int:
    """The depth of a line that looks like a numbered heading; 0 if it does not."""
    line = line.strip()
    if not line or len(line) > _LONGEST_HEADING or line.endswith(_SENTENCE_END):
        return 0
    chinese = _ZH_HEADING.match(line)
    if chinese:
        return _ZH_LEVELS[chinese[1]]
    english = _EN_HEADING.match(line)
    if english:
        return english[1].count(".") + 1 if english[1] else 1
    return 0


def _paragraphs(text: str) -> Iterator[Block]:
    for paragraph in _PARAGRAPH.split(text):
        lines: list[str] = []
        for line in paragraph.split("\n"):
            level = heading_level(line)
            if level:
                yield Block("text", "\n".join(lines))
                yield Block("heading", line, level=level)
                lines = []
            else:
                lines.append(line)
        yield Block("text", "\n".join(lines))


def _code(text: str, language: str) -> Iterator[Block]:
    """Code by top-level definitions; of a long one by those in it. Comments stay with what they stand before."""
    attrs = {"language": language}
    for piece in _definitions(text.split("\n"), 0, quotes=language == "python"):
        yield Block("code", "\n".join(piece), attrs=dict(attrs))


def _definitions(lines: Sequence[str], indent: int, depth: int = 0, *, quotes: bool) -> Iterator[Sequence[str]]:
    """Lines between empty ones that a line follows which is indented no further, and does not close what is above."""
    for piece in _parted(lines, indent, quotes=quotes):
        inner = min((width for line in piece[1:] if (width := _indent(line)) > indent), default=0)
        if len(piece) > _LONGEST_DEFINITION and inner and depth < _DEEPEST:
            yield from _definitions(piece, inner, depth + 1, quotes=quotes)
        else:
            yield piece


def _parted(lines: Sequence[str], indent: int, *, quotes: bool) -> Iterator[Sequence[str]]:
    begin = 0
    empty = quoted = False
    for number, line in enumerate(lines):
        if not line.strip():
            empty = True
            continue
        if empty and number > begin and not quoted and _indent(line) <= indent and line.lstrip()[0] not in ")]}":
            yield lines[begin:number]
            begin = number
        empty = False
        if quotes and len(_TRIPLE.findall(line)) % 2:
            quoted = not quoted
    yield lines[begin:]


def _indent(line: str) -> int:
    """How far a line is indented; an empty one is not."""
    stripped = line.lstrip()
    return len(line) - len(stripped) if stripped else 0
