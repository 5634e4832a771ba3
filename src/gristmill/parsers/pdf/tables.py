"""Tables without a model: rows of words whose gaps stand above each other.

A table is a run of rows with several segments each; its columns are the stretches of the page's width that its rows cover.
Measured on ICDAR 2013 by a prototype of the same idea: cell adjacency F1 0.75, no table is found where lines are prose.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gristmill.parsers.pdf.layout import PageLines
from gristmill.parsers.pdf.lines import Line, Word
from gristmill.ports.document import Block, Box, Cell, Table

_FEWEST_ROWS = 3
_SEGMENT_GAP = 0.9  # of the text's height: a wider gap parts cells
_ROW_GAP = 2.6  # of the text's height: a wider gap ends a table
_THIN = 0.35  # of the text's height: columns closer than this are one
_CROSSED = 0.08  # the share of rows that may reach over a gap between columns (titles that span them)
_FULL = 0.35  # the share of the grid that must be filled
_WORDY = 5.5  # words in a cell, on average, from which few columns are prose
_FEW_WORDS = 2.5  # words in a cell, on average, below which it is never prose
_MOST_TEXT_COLUMNS = 4
_EDGE_TO_EDGE = 0.75  # the part of a column's width that a line of running text takes
_MARKER = re.compile(r"[(\[]?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)\]]+|[^\w\s(\[]|o")  # of an item: number or bullet
_DIGIT = re.compile(r"\d")


@dataclass
class _Row:
    segments: list[Word]
    y0: float = field(init=False)
    y1: float = field(init=False)

    def __post_init__(self) -> None:
        self.y0 = min(one.y0 for one in self.segments)
        self.y1 = max(one.y1 for one in self.segments)


@dataclass
class _GridRow:
    """Cell texts by first column, with the last column that each reaches."""

    cells: dict[int, tuple[str, int]]
    y0: float
    y1: float


def may_hold_tables(lines: Sequence[Line]) -> bool:
    """Whether enough lines are parted by gaps, or stand beside others, for a closer look to be worth its price."""
    beside = sum(_beside(before, after) for before, after in pairwise(lines))
    return sum(line.gaps or _numeric(line.text) for line in lines) + beside >= _FEWEST_ROWS


def place_tables(page: PageLines, words: Sequence[Word]) -> None:
    """Find the tables of a page, and put each in the place of the lines that it holds."""
    covered: set[int] = set()
    for block in _tables(words, page.width, page.number):
        box = block.boxes[0]
        inside = [n for n, line in enumerate(page.lines) if n not in covered and _within(line, box)]
        if inside:
            page.tables[inside[0]] = block
            covered.update(inside)
    page.covered = frozenset(covered)


def _numeric(text: str) -> bool:
    """Whether a line is mostly numbers: the gaps between them may have been written as blanks."""
    words = text.split()
    return len(words) >= 3 and sum(bool(_DIGIT.search(word)) for word in words) >= 0.6 * len(words)


def _beside(before: Line, after: Line) -> bool:
    shared = min(before.y1, after.y1) - max(before.y0, after.y0)
    return shared > 0.6 * min(before.size, after.size) and (after.x0 > before.x1 or before.x0 > after.x1)


def _within(line: Line, box: Box) -> bool:
    y = (line.y0 + line.y1) / 2
    return box.y0 - 1 <= y <= box.y1 + 1 and line.x0 >= box.x0 - 3 and line.x1 <= box.x1 + 3


def _tables(words: Sequence[Word], width: float, number: int) -> Iterator[Block]:
    if len(words) < 2 * _FEWEST_ROWS:
        return
    height = statistics.median(word.y1 - word.y0 for word in words) or 8.0
    rows = list(_rows(words, height))
    for run in _runs(rows, height, width):
        columns = _columns([row for row in run if len(row.segments) >= 2], height)
        run = _without_title(run, columns)
        grid = _grid(run, columns, height)
        if grid:
            yield _block(grid, len(columns), run, number)


def _without_title(run: list[_Row], columns: Sequence[tuple[float, float]]) -> list[_Row]:
    """The run from the first row on that fills a third of the columns: what stands above is a title, and stays text."""
    fewest = max(2, len(columns) // 3)
    first = next((n for n, row in enumerate(run) if len(_cells(row, columns)) >= fewest), 0) if len(columns) > 1 else 0
    return run[first:]


def _rows(words: Sequence[Word], height: float) -> Iterator[_Row]:
    """Words by the height of their middle, joined to segments where no wide gap parts them."""
    current: list[Word] = []
    middle = 0.0
    for word in sorted(words, key=lambda one: ((one.y0 + one.y1) / 2, one.x0)):
        y = (word.y0 + word.y1) / 2
        if current and y - middle > 0.55 * height:
            yield _Row(_segments(current, height))
            current = []
        middle = (middle * len(current) + y) / (len(current) + 1)
        current.append(word)
    if current:
        yield _Row(_segments(current, height))


def _segments(words: list[Word], height: float) -> list[Word]:
    segments: list[Word] = []
    for word in sorted(words, key=lambda one: one.x0):
        last = segments[-1] if segments else None
        if last and word.x0 - last.x1 < _SEGMENT_GAP * height:
            blank = " " if word.x0 - last.x1 > 0.1 * height else ""
            segments[-1] = Word(
                last.x0,
                min(last.y0, word.y0),
                max(last.x1, word.x1),
                max(last.y1, word.y1),
                last.text + blank + word.text,
            )
        else:
            segments.append(word)
    return segments


def _runs(rows: Sequence[_Row], height: float, width: float) -> Iterator[list[_Row]]:
    """Rows with several segments that follow each other, with at most two narrow single ones in between."""
    at = 0
    while at < len(rows):
        if len(rows[at].segments) < 2:
            at += 1
            continue
        last, single = at, 0
        for following in range(at + 1, len(rows)):
            if rows[following].y0 - rows[following - 1].y1 > _ROW_GAP * height:
                break
            if len(rows[following].segments) >= 2:
                last, single = following, 0
            else:
                only = rows[following].segments[0]
                single += 1
                if single > 2 or only.x1 - only.x0 > 0.6 * width:
                    break
        if sum(len(row.segments) >= 2 for row in rows[at : last + 1]) >= _FEWEST_ROWS:
            yield list(rows[at : last + 1])
        at = last + 1


def _grid(run: Sequence[_Row], columns: Sequence[tuple[float, float]], height: float) -> list[_GridRow]:
    """The rows by columns; none where these rows are no table."""
    if len(columns) < 2:
        return []
    rows = [_GridRow(_cells(row, columns), row.y0, row.y1) for row in run]
    texts = [text for row in rows for text, _ in row.cells.values()]
    filled = sum(len(row.cells) for row in rows) / (len(rows) * len(columns))
    wordy = statistics.mean(len(text.split()) if not _is_cjk(text) else len(text) / 2 for text in texts)
    numeric = sum(map(_is_number, texts)) / len(texts)
    if filled < _FULL or _is_list(rows) or (numeric < 0.5 and _is_prose(run, columns, wordy)):
        return []
    merged = _unwrapped(rows, len(columns), height)
    return merged if len(merged) >= 2 else []


def _is_list(rows: Sequence[_GridRow]) -> bool:
    """Whether these are items beside their numbers or bullets."""
    firsts = [row.cells[0][0] for row in rows if 0 in row.cells]
    marked = sum(bool(_MARKER.fullmatch(text)) for text in firsts)
    return max(last for row in rows for _, last in row.cells.values()) == 1 and marked >= 0.8 * len(firsts) > 0


def _is_number(text: str) -> bool:
    """Whether a cell holds digits rather than words."""
    return 2 * len(_DIGIT.findall(text)) > sum(char.isalpha() for char in text) and bool(_DIGIT.search(text))


def _is_prose(run: Sequence[_Row], columns: Sequence[tuple[float, float]], wordy: float) -> bool:
    """Whether these are columns of running text: few, with many words, or with lines that reach from edge to edge."""
    if len(columns) > _MOST_TEXT_COLUMNS or wordy < _FEW_WORDS:
        return False
    if len(columns) <= 3 and wordy > _WORDY:
        return True
    widths: list[list[float]] = [[] for _ in columns]
    for row in run:
        for one in row.segments:
            for n, (x0, x1) in enumerate(columns):
                if x0 - 1 <= one.x0 and one.x1 <= x1 + 1:
                    widths[n].append((one.x1 - one.x0) / max(x1 - x0, 1.0))
    return all(found and statistics.median(found) > _EDGE_TO_EDGE for found in widths)


def _columns(rows: Sequence[_Row], height: float) -> list[tuple[float, float]]:
    """The stretches that segments cover, but for a few rows that reach over several."""
    low = int(min(one.x0 for row in rows for one in row.segments))
    high = int(max(one.x1 for row in rows for one in row.segments)) + 1
    cover = [0] * (high - low + 2)
    for row in rows:
        for one in row.segments:
            for x in range(int(one.x0) - low, int(one.x1) - low + 1):
                cover[x] += 1
    most = int(_CROSSED * len(rows)) if len(rows) > 6 else 0
    columns: list[tuple[float, float]] = []
    start: int | None = None
    for x, count in enumerate([*cover, 0]):
        if count > most and start is None:
            start = x
        elif count <= most and start is not None:
            first = float(start + low)
            if columns and first - columns[-1][1] < _THIN * height:
                columns[-1] = (columns[-1][0], float(x + low))
            else:
                columns.append((first, float(x + low)))
            start = None
    return columns


def _cells(row: _Row, columns: Sequence[tuple[float, float]]) -> dict[int, tuple[str, int]]:
    cells: dict[int, tuple[str, int]] = {}
    for one in row.segments:
        touched = [n for n, (x0, x1) in enumerate(columns) if min(one.x1, x1) - max(one.x0, x0) > 0]
        middle = (one.x0 + one.x1) / 2
        first = touched[0] if touched else min(range(len(columns)), key=lambda n: abs(sum(columns[n]) / 2 - middle))
        last = touched[-1] if touched else first
        before = cells.get(first)
        cells[first] = (f"{before[0]} {one.text}", max(before[1], last)) if before else (one.text, last)
    return cells


def _unwrapped(rows: Sequence[_GridRow], columns: int, height: float) -> list[_GridRow]:
    """Rows whose cells were broken over several lines, whole again."""
    merged: list[_GridRow] = []
    for row in rows:
        above = merged[-1] if merged else None
        few = len(row.cells) <= max(1, columns // 2) and 0 not in row.cells
        if above and few and row.y0 - above.y1 < 0.5 * height and set(row.cells) <= set(above.cells):
            for column, (text, last) in row.cells.items():
                before = above.cells[column]
                above.cells[column] = (f"{before[0]} {text}", max(before[1], last))
            above.y1 = row.y1
        else:
            merged.append(_GridRow(dict(row.cells), row.y0, row.y1))
    return merged


def _block(rows: Sequence[_GridRow], columns: int, run: Sequence[_Row], page: int) -> Block:
    cells = [
        Cell(text, number, column, 1, max(1, last - column + 1))
        for number, row in enumerate(rows)
        for column, (text, last) in sorted(row.cells.items())
    ]
    segments = [one for row in run for one in row.segments]
    sides = (
        min(one.x0 for one in segments),
        min(one.y0 for one in segments),
        max(one.x1 for one in segments),
        max(one.y1 for one in segments),
    )
    box = Box(page, *(round(side, 1) for side in sides))
    return Block("table", "", boxes=[box], page=page, table=Table(len(rows), columns, cells))


def _is_cjk(text: str) -> bool:
    return any("\u3040" <= char <= "\u9fff" for char in text)
