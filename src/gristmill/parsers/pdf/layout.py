"""Lines to blocks: headings, paragraphs, running heads and feet."""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Literal

import msgspec

from gristmill.parsers.pdf.lines import Line, is_right_to_left
from gristmill.ports.document import Block, Box, OutlineEntry

_HEAD, _FOOT = 0.08, 0.93  # the margins where running heads and feet stand, as parts of the page's height
_REPEATED = 3  # pages on which a line must stand to be a running one
_NUMBERED = re.compile(
    r"(?:第[一二三四五六七八九十百零\d]+[编篇章节]|\d+(?:\.\d+){0,3}\.?\s+\S|[IVX]+\.\s|(?:chapter|appendix|part|section)\s+\S)",
    re.I,
)
_NUMBER = re.compile(r"\s*(?:\d{1,3}(?:\.\d{1,3}){0,4}\.?|[A-Z](?:\.\d{1,3}){0,4}\.?|[IVX]{1,6}\.)\s+(?=\S)")
_CJK = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")
_DIGITS = re.compile(r"\d+")
_ENDS = tuple(".!?:;。！？：；")
_CAPTION = re.compile(
    r"(?:(?i:figure|fig\.|table|chart|abbildung|abb\.|tabelle|tab\.|tableau|figura|tabla)\s*[\dIVX]+(?:[.\-\u2013]\d+)*\s*"
    r"(?:[.:\u2013\u2014|]|$|\n|(?=[A-Z\u2018\u201c(]))|[图圖表図]\s*[\d一二三四五六七八九十]+)"
)
_LONGEST_CAPTION = 400
_LONGEST_HEADING = 120
_MOST_LINES = 5  # that stand out one after the other: more are no headings
_WIDEST = 1.5  # blank between lines, in heights of the line, above which they are not of one paragraph
_CODE_GAP = 2.2  # of the type's size: a wider blank ends a piece of code
_EMPTY = 0.9  # of the type's size: a wider blank is an empty line of it
_DEEPEST = 80  # blanks that a line of code is indented by
_FEW = 3  # gaps that say nothing of what is usual
_BULLET = re.compile(r"[\u2022\u2023\u25aa-\u25cf\u2013\u2014\uf000-\uf0ff*-]\s")


class PageLines(msgspec.Struct):
    """The lines of a page in reading order, the tables found on it by the number of the line that they replace, and
    its pictures by the number of the line that they stand before.

    ``scanned`` is what OCR read where the page is a picture, ``unread`` whether it is one that nobody read.
    """

    number: int
    width: float
    height: float
    lines: list[Line]
    tables: dict[int, Block] = {}
    covered: frozenset[int] = frozenset()
    figures: dict[int, list[Block]] = {}
    scanned: list[Block] = []
    unread: bool = False

    @property
    def source(self) -> Literal["text", "ocr", "mixed", "none"]:
        """Where its text came from."""
        if self.scanned:
            return "mixed" if self.lines else "ocr"
        return "text" if self.lines else "none"


class Headings:
    """Which lines are headings: those of the outline where there is one, else those that stand out."""

    def __init__(self, pages: Sequence[PageLines], outline: Sequence[OutlineEntry], *, outlined: bool) -> None:
        sizes = [round(line.em, 1) for page in pages for line in page.lines for _ in range(1 + len(line.text) // 20)]
        self.body = statistics.median(sizes) if sizes else 10.0
        mono = sum(len(line.text) for page in pages for line in page.lines if line.mono)
        self.typed = (
            mono > sum(len(line.text) for page in pages for line in page.lines) / 2
        )  # all of it is: that says nothing
        self._wanted: dict[int, list[OutlineEntry]] = defaultdict(list)
        for entry in outline:
            self._wanted[entry.page].append(entry)
        self.outlined = outlined
        self.numbered: set[tuple[int, int]] = set()  # page and line of headings whose bookmark lacks their number

    def of_page(self, page: PageLines) -> tuple[dict[int, tuple[int, int]], list[OutlineEntry]]:
        """The headings on a page as first line -> (lines, level), and the bookmarks of the page that no line repeats."""
        found: dict[int, tuple[int, int]] = {}
        missing = []
        keys = (
            ["" if n in page.covered else _key(line.text) for n, line in enumerate(page.lines)] if self.outlined else []
        )
        bare = [_key(_NUMBER.sub("", line.text)) if key else "" for key, line in zip(keys, page.lines, strict=False)]
        for entry in self._wanted.get(page.number, ()):
            place = _find(entry.title, keys, found)
            if place is None and (place := _find(entry.title, bare, found)) is not None:
                self.numbered.add((page.number, place[0]))
            if place is None:
                missing.append(entry)
            else:
                found[place[0]] = (place[1], entry.level)
        for entry in list(self._wanted[0]):  # bookmarks that point nowhere: wherever their words stand first
            place = _find(entry.title, keys, found)
            if place is not None:
                found[place[0]] = (place[1], entry.level)
                self._wanted[0].remove(entry)
        if not self.outlined:
            found = {n: (1, self._level(page.lines[n])) for n in self._outstanding(page.lines)}
        return found, missing

    def _outstanding(self, lines: Sequence[Line]) -> Iterator[int]:
        """The lines that stand out, but for those of whole paragraphs that do."""
        numbers = [n for n, line in enumerate(lines) if self._stands_out(line)]
        for _, group in groupby(enumerate(numbers), key=lambda pair: (pair[1] - pair[0], round(lines[pair[1]].em))):
            members = [n for _, n in group]
            if len(members) <= _MOST_LINES:
                yield from members

    def _stands_out(self, line: Line) -> bool:
        if len(line.text) > _LONGEST_HEADING or _BULLET.match(line.text) or not any(map(str.isalpha, line.text)):
            return False
        if line.em > 1.18 * self.body:
            return True
        return line.weight >= 600 and len(line.text) < 80 and bool(_NUMBERED.match(line.text)) and not line.gaps

    def _level(self, line: Line) -> int:
        return 1 if line.em > 1.6 * self.body else 2 if line.em > 1.3 * self.body else 3


def running(pages: Sequence[PageLines]) -> set[str]:
    """The texts, digits masked, that stand in the margins of several pages."""
    seen: dict[str, set[int]] = defaultdict(set)
    for page in pages:
        for line in page.lines:
            if _margin(line, page):
                seen[_masked(line.text)].add(page.number)
    return {text for text, numbers in seen.items() if len(numbers) >= _REPEATED}


def blocks_of(page: PageLines, headings: Headings, repeated: set[str]) -> Iterator[Block]:
    """The blocks of a page in reading order."""
    marked, missing = headings.of_page(page)
    for entry in missing:
        yield Block("heading", entry.title, level=entry.level, page=page.number, source="meta")
    if all(_runs_on(line, page, repeated) for line in page.lines):
        repeated = set()  # what stands alone on its page is no head or foot of anything
    if not headings.outlined:
        marked = {n: found for n, found in marked.items() if not _runs_on(page.lines[n], page, repeated)}
    paragraph = _Paragraph(page.number, _usual_gap(page.lines), typed=headings.typed)
    at = 0
    while at < len(page.lines):
        alone, width = _alone(page, at, marked, repeated)
        if alone and (page.number, at) in headings.numbered:
            alone = [_number_apart(alone[0])]
        figures = [one for n in range(at, at + width) for one in page.figures.get(n, ())]
        if alone is None and not figures and paragraph.takes(page.lines[at]):
            paragraph.add(page.lines[at])
        else:
            yield from paragraph.end()
            yield from figures
            yield from alone or ()
            if alone is None:
                paragraph.add(page.lines[at])
        at += width
    yield from paragraph.end()
    yield from page.figures.get(len(page.lines), ())


def _alone(
    page: PageLines, at: int, marked: dict[int, tuple[int, int]], repeated: set[str]
) -> tuple[list[Block] | None, int]:
    """What begins with a line, if it is no line of a paragraph, and how many lines it takes."""
    line = page.lines[at]
    if at in page.tables:
        return [page.tables[at]], 1
    if at in page.covered:
        return [], 1
    if at in marked:
        width, level = marked[at]
        return [_heading(page.lines[at : at + width], page.number, level)], width
    if _runs_on(line, page, repeated):
        return [_block([line], page.number, "header" if _margin(line, page) == "head" else "footer")], 1
    return None, 1


def _number_apart(heading: Block) -> Block:
    """The heading with its number as marker: its text is that of its bookmark."""
    number = _NUMBER.match(heading.text)
    if number is None:
        return heading
    return msgspec.structs.replace(heading, text=heading.text[number.end() :], marker=number[0].strip())


def captioned(blocks: list[Block]) -> list[Block]:
    """The blocks of a page, with those that name the picture or table before or after them as captions."""
    for n, block in enumerate(blocks):
        if block.kind == "text" and len(block.text) < _LONGEST_CAPTION and _CAPTION.match(block.text):
            around = blocks[max(0, n - 1) : n] + blocks[n + 1 : n + 2]
            if any(one.kind in ("figure", "table") for one in around):
                block.kind = "caption"
    return blocks


def _usual_gap(lines: Sequence[Line]) -> float:
    """The blank between two lines of running text on this page: some documents are set wide. 0 where none is usual."""
    gaps = [
        after.y0 - before.y1
        for before, after in pairwise(lines)
        if abs(after.em - before.em) < 0.1 * before.em
        and not before.text.endswith(_ENDS)
        and 0 < after.y0 - before.y1 < _WIDEST * before.size
    ]
    return statistics.median(gaps) if len(gaps) > _FEW else 0.0


@dataclass
class _Paragraph:
    """Lines that follow each other closely, at one size and from one edge. Those of code are kept as they are; ``typed``
    says that the whole document is written with such letters."""

    page: int
    usual_gap: float
    typed: bool = False
    lines: list[Line] = field(default_factory=list)
    _left: float = 0.0
    _right: float = 0.0

    def takes(self, line: Line) -> bool:
        if not self.lines:
            return True
        last = self.lines[-1]
        if abs(line.em - last.em) > 0.25 * last.em or line.gaps != last.gaps:
            return False
        gap = line.y0 - last.y1
        if not self.typed and (line.mono or last.mono):
            return line.mono and last.mono and -0.5 * last.size < gap < _CODE_GAP * last.em
        if not -0.5 * last.size <= gap < self._reach(last):
            return False
        if is_right_to_left(line.text):
            return abs(line.x1 - last.x1) < 3 * line.size
        if last.text.endswith(_ENDS) and last.x1 < self._right - 4 * last.size:
            return False  # the last line of a paragraph is short
        indented = line.x0 > self._left + 0.8 * line.size and last.x0 <= self._left + 0.5 * last.size
        ended = indented and len(self.lines) > 1 and last.text.endswith(_ENDS)
        return abs(line.x0 - last.x0) < 3 * line.size and not ended

    def add(self, line: Line) -> None:
        self._left = min(self._left, line.x0) if self.lines else line.x0
        self._right = max(self._right, line.x1) if self.lines else line.x1
        self.lines.append(line)

    def _reach(self, last: Line) -> float:
        """The widest blank inside of this paragraph: what is usual on the page, and what letters without a descender add."""
        height = min(max(last.size, last.em), 1.4 * last.size)
        return max(0.75 * height, self.usual_gap + 0.25 * height if self.usual_gap else 0.0)

    def end(self) -> Iterator[Block]:
        if self.lines and self.lines[0].mono and not self.typed and len(self.lines) > 1:
            block = _block(self.lines, self.page, "code")
            block.text = _as_written(self.lines, self._left)
            yield block
        elif self.lines:
            yield _block(self.lines, self.page, "text")
        self.lines = []


def _as_written(lines: Sequence[Line], left: float) -> str:
    """Lines of code with what they are indented by; a wider gap is an empty line."""
    letter = max(min((line.x1 - line.x0) / max(1, len(line.text)) for line in lines), 1.0)
    written: list[str] = []
    for n, line in enumerate(lines):
        if n and line.y0 - lines[n - 1].y1 > _EMPTY * line.em:
            written.append("")
        written.append(" " * min(_DEEPEST, round((line.x0 - left) / letter)) + line.text)
    return "\n".join(written)


def _heading(lines: Sequence[Line], page: int, level: int) -> Block:
    block = _block(lines, page, "heading")
    block.text, block.level = " ".join(block.text.split("\n")), level
    return block


def _block(lines: Sequence[Line], page: int, kind: str) -> Block:
    sides = (
        min(line.x0 for line in lines),
        min(line.y0 for line in lines),
        max(line.x1 for line in lines),
        max(line.y1 for line in lines),
    )
    return Block(
        kind,  # type: ignore[arg-type]  # one of four literals
        _joined(lines),
        boxes=[Box(page, *(round(side, 1) for side in sides))],
        page=page,
        size=round(max(line.size for line in lines), 1),
        bold=all(line.weight >= 600 for line in lines),
    )


def _joined(lines: Sequence[Line]) -> str:
    """Lines to running text: no blank inside of Chinese, none after a hyphen; rows with gaps keep their line ends."""
    pieces = [lines[0].text]
    for before, line in pairwise(lines):
        if before.gaps or line.gaps:
            pieces.append("\n")
        elif not before.hyphen and not (_CJK.match(before.text[-1:]) and _CJK.match(line.text[:1])):
            pieces.append(" ")
        pieces.append(line.text)
    return "".join([*pieces, "-"] if lines[-1].hyphen else pieces)


def _margin(line: Line, page: PageLines) -> str:
    return "head" if line.y0 < _HEAD * page.height else "foot" if line.y1 > _FOOT * page.height else ""


def _runs_on(line: Line, page: PageLines, repeated: set[str]) -> bool:
    return bool(_margin(line, page)) and _masked(line.text) in repeated


def _masked(text: str) -> str:
    return _DIGITS.sub("#", text)


def _key(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()


def _find(title: str, keys: Sequence[str], taken: dict[int, tuple[int, int]]) -> tuple[int, int] | None:
    """The lines that make up a title, together: first and number. A title may be printed over several lines."""
    wanted = _key(title)
    for first, key in enumerate(keys):
        if not key or first in taken or not wanted.startswith(key):
            continue
        text, at = key, first + 1
        while at < len(keys) and keys[at] and len(text) < len(wanted) and wanted.startswith(text):
            text += keys[at]
            at += 1
        if text == wanted:
            return first, at - first
    return None
