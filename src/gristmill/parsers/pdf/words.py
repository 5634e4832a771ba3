"""Words to rows and running text, by their places."""

from __future__ import annotations

import re
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gristmill.parsers.pdf.frame import Sides
from gristmill.parsers.pdf.lines import Word, is_right_to_left

_SEGMENT_GAP = 0.9  # of the text's height: a wider gap parts cells
_BLANK = 0.1  # of the text's height: a wider gap is a blank
_ROW = 0.55  # of the text's height: words whose middles are farther apart are of two rows
_DIGIT = re.compile(r"\d")
_SMALL = 0.4  # of the text's height: dots, dashes and commas are smaller
_BELOW = 0.3  # of the text's height: how far they may stand below the line
_LEADER = 3.0  # of the text's height: how far the dots that lead to the next cell may stand away
_LEADERS = re.compile(r"[.\u2026\u00b7]+")
_USUAL = 8.0  # points, where nothing can be measured


@dataclass
class Row:
    """Words beside each other, joined to segments where no wide gap parts them."""

    words: list[Word]
    segments: list[Word]
    y0: float = field(init=False)
    y1: float = field(init=False)

    def __post_init__(self) -> None:
        self.y0 = min(one.y0 for one in self.segments)
        self.y1 = max(one.y1 for one in self.segments)


@dataclass(frozen=True, slots=True)
class FoundCell:
    """The text of a cell, and the rows and columns that it takes, the last ones included."""

    text: str
    row: int
    col: int
    last_row: int
    last_col: int


@dataclass
class FoundTable:
    """A table's cells, where it stands, and its words, by their id."""

    cells: list[FoundCell]
    sides: Sides
    words: set[int]


def height_of(words: Sequence[Word]) -> float:
    """The usual height of words; dots and dashes say nothing of it."""
    heights = [word.y1 - word.y0 for word in words if any(map(str.isalnum, word.text))]
    return statistics.median(heights or [word.y1 - word.y0 for word in words]) or _USUAL


def rows_of(words: Sequence[Word], height: float = 0.0) -> list[Row]:
    """The rows from top to bottom. ``height`` is that of the words where it is known."""
    return list(_rows(words, height or height_of(words))) if words else []


def text_of(words: Sequence[Word]) -> str:
    """The words of a cell as running text."""
    lines = [[one.text for one in row.segments] for row in rows_of(words)]
    return joined([" ".join(reversed(line) if _is_from_right(line) else line) for line in lines])


def joined(lines: Sequence[str]) -> str:
    """Lines of a cell as one: no blank inside of Chinese."""
    text = lines[0]
    for line in lines[1:]:
        text += line if is_cjk(text[-1:]) and is_cjk(line[:1]) else f" {line}"
    return text


def is_cjk(text: str) -> bool:
    """Whether there are Chinese or Japanese letters in a text."""
    return any("\u3040" <= char <= "\u9fff" for char in text)


def is_number(text: str) -> bool:
    """Whether a text holds digits rather than words."""
    digits = len(_DIGIT.findall(text))
    return digits > 0 and 2 * digits > sum(map(str.isalpha, text))


def _rows(words: Sequence[Word], height: float) -> Iterator[Row]:
    """Words by the height of their middle; dots and dashes beside those that they stand beside."""
    small = _SMALL * height
    rows = _by_middle([word for word in words if word.y1 - word.y0 > small], height)
    tops = [min(word.y0 for word in row) for row in rows]
    bottoms = [max(word.y1 for word in row) for row in rows]
    alone = []
    for word in words:
        if word.y1 - word.y0 > small:
            continue
        y = (word.y0 + word.y1) / 2
        n = bisect_right(tops, y) - 1
        if n >= 0 and y <= bottoms[n] + _BELOW * height:
            rows[n].append(word)
        else:
            alone.append(word)
    rows += _by_middle(alone, height)
    if alone:
        rows.sort(key=lambda row: min(word.y0 for word in row))
    return (Row(row, segments_of(row, height)) for row in rows)


def _by_middle(words: Sequence[Word], height: float) -> list[list[Word]]:
    rows: list[list[Word]] = []
    middle = 0.0
    for word in sorted(words, key=lambda one: (one.y0 + one.y1) / 2):
        y = (word.y0 + word.y1) / 2
        if rows and y - middle <= _ROW * height:
            middle = (middle * len(rows[-1]) + y) / (len(rows[-1]) + 1)
            rows[-1].append(word)
        else:
            rows.append([word])
            middle = y
    return rows


def segments_of(words: Sequence[Word], height: float, cuts: Sequence[float] = ()) -> list[Word]:
    """Words of one row, joined where neither a wide gap nor a cut parts them."""
    segments: list[Word] = []
    texts: list[list[str]] = []
    for word in sorted(words, key=lambda one: one.x0):
        last = segments[-1] if segments else None
        reach = _LEADER if _LEADERS.fullmatch(word.text) else _SEGMENT_GAP
        if last and word.x0 - last.x1 < reach * height and not _parted(last, word, cuts):
            texts[-1] += (" " if word.x0 - last.x1 > _BLANK * height else "", word.text)
            last.y0, last.x1, last.y1 = min(last.y0, word.y0), max(last.x1, word.x1), max(last.y1, word.y1)
        else:
            segments.append(Word(word.x0, word.y0, word.x1, word.y1, ""))
            texts.append([word.text])
    for segment, pieces in zip(segments, texts, strict=True):
        segment.text = "".join(reversed(pieces) if _is_from_right(pieces) else pieces)
    return segments


def _is_from_right(pieces: Sequence[str]) -> bool:
    """Whether most words are written from right to left: then all stand in that order."""
    lettered = [piece for piece in pieces if any(map(str.isalpha, piece))]
    return 2 * sum(map(is_right_to_left, lettered)) > len(lettered)


def _parted(before: Word, after: Word, cuts: Sequence[float]) -> bool:
    return bisect_left(cuts, before.x1) < bisect_right(cuts, after.x0)
