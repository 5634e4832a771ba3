"""The lines and words of a page with their places, as pdfium tells them. Points, origin top left."""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import pypdfium2.raw as pdfium

from gristmill.parsers.pdf.frame import Frame, Sides

# pdfium writes these where it takes a hyphen at a line's end for one that only the line's end asked for.
_SOFT_HYPHENS = str.maketrans("", "", "\x02\ufffe\u00ad")
_AFTER_HYPHEN = re.compile("(?<=[\x02\ufffe])(?=[^\r])")
_FORMS = re.compile(
    "[\ufb00-\ufb06\ufb1d-\ufdff\ufe70-\ufefc]+"
)  # ligatures, and letters as they stand inside of words
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_FIXED_PITCH = 1  # of a font's flags
_MONO = re.compile(rb"courier|consol|menlo|monaco|mono|typewriter|cmtt|inconsolata", re.I)
_LONGEST_NAME = 128
_LONGEST_WORD = 500  # glyphs: what is longer is cut, so that its text is not copied ever again
_BLANKS = frozenset("\0\n\r \xa0")
_HYPHENS = frozenset("-\x02\ufffe\u00ad")  # pdfium makes up blanks, line ends and these
_LATIN = "\u0590"
_UPRIGHT = 1.5
_FLAT = 0.1  # part of the font's size: a line that is less high has no glyphs to be measured
_ASCENT = 0.88  # part of the font's size above the base line, in nearly all Chinese fonts
_WORD_GAP = 0.6  # of the height: a wider gap parts words even where no blank does; thin digits stand apart up to half


class Line(msgspec.Struct, array_like=True, gc=False):
    """A line of text. ``size`` is the height of its tallest run, which depends on its letters; ``em`` is its font's size.
    ``gaps`` says whether wide gaps part it."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: float
    weight: int
    gaps: bool = False
    em: float = 0.0
    hyphen: bool = False  # the line ended with a hyphen that only the line's end asked for
    mono: bool = False  # its letters are all of one width


@dataclass(slots=True)
class Word:
    """A run of glyphs without a gap."""

    x0: float
    y0: float
    x1: float
    y1: float
    text: str


class PageText:
    """The text of a page, opened once for its lines and, where they are wanted, its words."""

    def __init__(self, page: Any) -> None:
        self._textpage = page.get_textpage()
        self._frame = Frame.of(page)
        self._count = max(0, self._textpage.count_chars())
        self._text = _characters(self._textpage.raw, self._count) if self._count else ""
        self._placed: list[tuple[Line, int, int]] = []  # the lines with their first glyph and the one after their last

    def __enter__(self) -> PageText:
        return self

    def __exit__(self, *_: object) -> None:
        self._textpage.close()

    def lines(self) -> list[Line]:
        """The lines in the order of the content stream: few calls a line instead of four a glyph."""
        self._placed = list(_lines(self._textpage.raw, self._text, self._count, self._frame))
        return [line for line, _, _ in self._placed]

    def words(self, without: Sequence[Sides] = ()) -> list[Word]:
        """The words by their glyphs' boxes, but for those of lines in the places ``without``, once the lines were asked for.

        Dear, so only for pages that may hold a table.
        """
        raw, text = self._textpage.raw, self._text
        glyphs: Sequence[str] = text if len(text) == self._count else _glyphs(raw, self._count)
        return [word for piece in self._wanted(without) for word in _words(raw, glyphs, self._frame, piece)]

    def _wanted(self, without: Sequence[Sides]) -> Iterator[range]:
        """The glyphs but for those of the lines in these places."""
        at = 0
        for line, first, last in self._placed if without else ():
            if any(_inside(line, sides) for sides in without):
                yield range(at, first)
                at = last
        yield range(at, self._count)


def _characters(raw: Any, count: int) -> str:
    buffer = ctypes.create_string_buffer((count + 1) * 2)
    got = pdfium.FPDFText_GetText(raw, 0, count, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)))
    return buffer.raw[: max(0, got - 1) * 2].decode("utf-16-le", "surrogatepass")


def _inside(line: Line, sides: Sides) -> bool:
    return sides[0] <= line.x0 and line.x1 <= sides[2] and sides[1] <= (line.y0 + line.y1) / 2 <= sides[3]


def _lines(raw: Any, text: str, count: int, frame: Frame) -> Iterator[tuple[Line, int, int]]:
    room = _Room()
    same = _units(text) == count
    at = 0
    for whole, after in _split(text):
        line = whole.strip()
        if line:
            first, length = at + len(whole) - len(whole.lstrip()), _units(line)
            if not same:  # characters without a meaning have a place on the page, but none in the text
                last = pdfium.FPDFText_GetCharIndexFromTextIndex(raw, first + length - 1)
                first = pdfium.FPDFText_GetCharIndexFromTextIndex(raw, first)
                length = last - first + 1
            boxes = room.boxes(raw, first, length, frame)
            if len(boxes) > 1 and len(line) == length and _on_rows(boxes) and not _turned(raw, first, frame.quarters):
                for begin, end in _rows(raw, line, first, frame):
                    parts = room.boxes(raw, first + begin, end - begin, frame)
                    if parts and line[begin:end].strip():
                        yield (
                            _measured(raw, line[begin:end].strip(), first + begin, parts, room),
                            first + begin,
                            first + end,
                        )
            elif boxes:
                em = _em(raw, first, room)
                if em > 0 and any(box[3] - box[1] < _FLAT * em for box in boxes):
                    boxes = [_outlined(raw, first, first + length - 1, em, frame)]
                yield _measured(raw, line, first, boxes, room), first, first + length
        at += _units(whole) + after


def _measured(raw: Any, text: str, first: int, boxes: list[Sides], room: _Room) -> Line:
    font = pdfium.FPDFText_GetFontWeight(raw, first), _em(raw, first, room), _is_mono(raw, first, room)
    return _line(text, boxes, font)


def _on_rows(boxes: Sequence[Sides]) -> bool:
    """Whether what pdfium takes for one line stands on several: it does so with numbers in columns."""
    return any(after[1] >= before[3] for before, after in pairwise(boxes))


def _rows(raw: Any, line: str, first: int, frame: Frame) -> Iterator[tuple[int, int]]:
    """From where to where the rows of such a line go: each begins after a blank, above or below all of what stood before."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    begin, high, low, blank = 0, float("inf"), float("-inf"), False
    for n, char in enumerate(line):
        if char in _BLANKS:
            blank = True
        elif pdfium.FPDFText_GetCharBox(raw, first + n, left, right, bottom, top):
            _, y0, _, y1 = frame.place(left.value, bottom.value, right.value, top.value)
            if blank and (y0 >= low or y1 <= high) and n > begin:
                yield begin, n
                begin, high, low = n, y0, y1
            high, low, blank = min(high, y0), max(low, y1), False
    yield begin, len(line)


class _Room:
    """What pdfium writes its answers into, once for a page: making it costs more than the question."""

    def __init__(self) -> None:
        self.matrix = pdfium.FS_MATRIX()
        self.name = ctypes.create_string_buffer(_LONGEST_NAME)
        self.flags = ctypes.c_int()
        self.sides = tuple(ctypes.c_double() for _ in range(4))

    def boxes(self, raw: Any, first: int, length: int, frame: Frame) -> list[Sides]:
        """The boxes around the runs of a line."""
        left, top, right, bottom = self.sides
        return [
            frame.place(left.value, bottom.value, right.value, top.value)
            for number in range(pdfium.FPDFText_CountRects(raw, first, length))
            if pdfium.FPDFText_GetRect(raw, number, left, top, right, bottom)
        ]


def _split(text: str) -> Iterator[tuple[str, int]]:
    """The lines with the number of characters that end them: none where the line's end is a hyphen that pdfium took out,
    after which it goes on to whatever is written next."""
    for line in text.split("\n"):
        *before, last = _AFTER_HYPHEN.split(line)
        for piece in before:
            yield piece, 0
        yield last, 1


def _outlined(raw: Any, first: int, last: int, em: float, frame: Frame) -> Sides:
    """The box of a line whose font is not in the file (many Chinese ones are not): its glyphs have a place, but no extent."""
    x, y, end, _ = (ctypes.c_double() for _ in range(4))
    pdfium.FPDFText_GetCharOrigin(raw, first, x, y)
    left, base = x.value, y.value
    pdfium.FPDFText_GetCharOrigin(raw, last, end, y)
    return frame.place(left, base - (1 - _ASCENT) * em, max(end.value, left) + em, base + _ASCENT * em)


def _em(raw: Any, first: int, room: _Room) -> float:
    """The size of the font that a line begins with, as it stands on the page."""
    matrix = room.matrix
    if not pdfium.FPDFText_GetMatrix(raw, first, matrix):
        return 0.0
    return float(pdfium.FPDFText_GetFontSize(raw, first)) * math.hypot(matrix.c, matrix.d)


def _units(text: str) -> int:
    """The length as pdfium counts it: mathematical letters and the like are two."""
    return len(text) if text.isascii() or max(text) <= "\uffff" else len(text) + sum(char > "\uffff" for char in text)


def _is_mono(raw: Any, first: int, room: _Room) -> bool:
    """Whether the letters that a line begins with are all of one width."""
    room.flags.value = 0
    size = pdfium.FPDFText_GetFontInfo(raw, first, room.name, _LONGEST_NAME, room.flags)
    if room.flags.value & _FIXED_PITCH:
        return True
    return 0 < size <= _LONGEST_NAME and _MONO.search(room.name, 0, size - 1) is not None


def _line(text: str, boxes: list[Sides], font: tuple[int, float, bool]) -> Line:
    weight, em, mono = font
    x0, y0, x1, y1 = boxes[0]
    size, gaps = y1 - y0, False
    if len(boxes) > 1:
        x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
        x1, y1 = max(box[2] for box in boxes), max(box[3] for box in boxes)
        size = max(box[3] - box[1] for box in boxes)
    if size > _UPRIGHT * (x1 - x0) and len(text) > 2:  # written up or down the page: its width is the letters' height
        size = x1 - x0
    if len(boxes) > 1:
        spans = sorted((box[0], box[2]) for box in boxes)
        gaps = any(after[0] - before[1] > 0.9 * size for before, after in pairwise(spans))
    return Line(
        text if text.isascii() and text.isprintable() else plain_letters(text.translate(_SOFT_HYPHENS)),
        x0,
        y0,
        x1,
        y1,
        size,
        weight,
        gaps,
        em if 0.5 * size < em < 3 * size else size,  # some fonts tell nonsense
        text[-1] in "\x02\ufffe\u00ad",
        mono,
    )


def _words(raw: Any, glyphs: Sequence[str], frame: Frame, wanted: range) -> Iterator[Word]:
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    word: Word | None = None
    tallest = 0.0
    for number in wanted:
        glyph = glyphs[number]
        if glyph in _BLANKS or (glyph in _HYPHENS and pdfium.FPDFText_IsGenerated(raw, number) == 1):
            if word:
                yield word
            word = None
            continue
        if not pdfium.FPDFText_GetCharBox(raw, number, left, right, bottom, top):
            continue
        x0, y0, x1, y1 = frame.place(left.value, bottom.value, right.value, top.value)
        tall = y1 - y0
        if glyph > _LATIN and word and _leads(word, (x0, y0, x1, y1), glyph):
            continue
        if word and _continues(word, x0, y0, y1, tallest if tallest > tall else tall):
            # comparisons, for each glyph comes by here and a call of max costs as much as they do together
            word.x1 = x1 if x1 > word.x1 else word.x1
            word.y0 = y0 if y0 < word.y0 else word.y0
            word.y1 = y1 if y1 > word.y1 else word.y1
            word.text += glyph
            tallest = tallest if tallest > tall else tall
        elif not _turned(raw, number, frame.quarters):
            if word:
                yield word
            word, tallest = Word(x0, y0, x1, y1, glyph), tall
    if word:
        yield word


def _leads(word: Word, sides: Sides, glyph: str) -> bool:
    """Whether a glyph goes on with a word to the left; then it is of it."""
    x0, y0, x1, y1 = sides
    if not _RIGHT_TO_LEFT.match(glyph) or not word.x0 - _WORD_GAP * (y1 - y0) < x1 <= word.x0 + (x1 - x0) / 2 + 1:
        return False
    if min(y1, word.y1) <= max(y0, word.y0) or len(word.text) > _LONGEST_WORD:
        return False
    word.x0, word.y0, word.y1 = x0, min(y0, word.y0), max(y1, word.y1)
    word.text += glyph
    return True


def is_right_to_left(text: str) -> bool:
    """Whether a text is written from right to left, by its first letter."""
    return next((bool(_RIGHT_TO_LEFT.match(char)) for char in text if char.isalpha()), False)


def plain_letters(text: str) -> str:
    """The text with the letters that are meant where ligatures, or letters as they look inside of words, are written."""
    return text if text.isascii() else _FORMS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)


def _turned(raw: Any, number: int, quarters: int) -> bool:
    """Whether a glyph is written up or down a margin."""
    return abs(math.sin(pdfium.FPDFText_GetCharAngle(raw, number) + quarters * math.pi / 2)) > 0.5


def _glyphs(raw: Any, count: int) -> list[str]:
    """What each character stands for; the second half of a pair stands for nothing."""
    codes = [pdfium.FPDFText_GetUnicode(raw, number) for number in range(count)]
    glyphs = [chr(code) for code in codes]
    for number, (high, low) in enumerate(pairwise(codes)):
        if 0xD800 <= high < 0xDC00 <= low < 0xE000:
            glyphs[number], glyphs[number + 1] = chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00), ""
    return glyphs


def _continues(word: Word, x0: float, y0: float, y1: float, height: float) -> bool:
    if len(word.text) > _LONGEST_WORD:
        return False
    reach = _WORD_GAP * height
    if not word.x0 - 1 <= x0 < word.x1 + (reach if reach > 1.2 else 1.2):
        return False
    shared = (y1 if y1 < word.y1 else word.y1) - (y0 if y0 > word.y0 else word.y0)
    smaller = min(y1 - y0 or 1.0, word.y1 - word.y0 or 1.0)
    return shared > 0.2 * smaller
