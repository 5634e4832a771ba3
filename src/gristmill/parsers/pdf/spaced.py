"""Tables that no rules frame: rows of words whose gaps stand above each other.

A table is a run of rows with several segments each; its columns are the stretches of the page's width that its rows cover.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gristmill.parsers.pdf.lines import Word
from gristmill.parsers.pdf.words import (
    FoundCell,
    FoundTable,
    Row,
    height_of,
    is_cjk,
    is_number,
    joined,
    rows_of,
    segments_of,
)

_FEWEST_ROWS = 3
_FEWEST_WORDS = 4
_MOST_COLUMNS = 200
_ROW_GAP = 2.6  # of the text's height: a wider gap ends a table
_THIN = 0.35  # of the text's height: columns closer than this are one
_CROSSED = 0.08  # the share of rows that may reach over a gap between columns (titles that span them)
_FULL = 0.35  # the share of the grid that must be filled
_WORDY = 5.5  # words in a cell, on average, from which few columns are prose
_FEW_WORDS = 2.5  # words in a cell, on average, below which it is never prose
_MOST_TEXT_COLUMNS = 4
_EDGE_TO_EDGE = 0.75  # the part of a column's width that a line of running text takes
_TITLE = 0.55  # of the usual number of pieces in a row: one with fewer stands over several columns
_FEW_ROWS = 6  # of which none may reach over a gap
_RIVER = 0.3  # of the text's height: numbers that stand closer are one
_IN_RIVER = 0.2  # the share of rows that may reach over it
_FEWEST_IN_RIVER = 4  # rows
_MOST_OF = 0.7  # the share of rows that have such a gap
_APART = 1.2  # of their height: rows of a table stand closer
_MANY_ROWS = 8  # of which a column that belongs to them has something in more than a few
_SPARSE = 0.15  # that share
_SCALE = 4  # numbers that a scale has
_NUMBER = re.compile(r"-?\d{1,9}(?:,\d{3})*(?:\.\d{1,9})?")
_LINE = re.compile(r"[-_=\u2013\u2014]{5,}")  # drawn with letters
_MARKER = re.compile(r"[(\[]?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)\]]+|[^\w\s(\[]|o")  # of an item: number or bullet


@dataclass
class _GridRow:
    """Cell texts by first column, with the last column that each reaches."""

    cells: dict[int, tuple[str, int]]
    y0: float
    y1: float


def spaced(words: Sequence[Word], width: float) -> Iterator[FoundTable]:
    """The tables among the words of a page, or of a piece of it, that is so wide."""
    if len(words) < 2 * _FEWEST_ROWS:
        return
    height = height_of(words)
    for run in _runs(_written(words, height), height, width):
        run, columns = _in_columns(run, height)
        middle = _without_sides(run, columns)
        if middle is not run:
            run, columns = _in_columns(middle, height)
        run = _without_title(run, columns)
        grid = _grid(run, columns)
        rows = _unwrapped(grid, len(columns), height)
        if len(rows) >= 2 and _is_table(grid, run, columns):
            yield _found(rows, run)


def spaced_in(words: Sequence[Word]) -> FoundTable | None:
    """The table that these words are, if they stand in columns at all."""
    if len(words) < _FEWEST_WORDS:
        return None
    height = height_of(words)
    run = _written(words, height)
    if sum(len(row.segments) >= 2 for row in run) < 2:
        return None
    run, columns = _in_columns(run, height)
    grid = _grid(run, columns)
    rows = _unwrapped(grid, len(columns), height)
    return _found(rows, run) if len(rows) >= 2 else None


def _without_sides(run: list[Row], columns: Sequence[tuple[float, float]]) -> list[Row]:
    """The rows without the outer columns that nearly all of them leave empty: a diagram beside a table."""
    if len(run) < _MANY_ROWS or len(columns) < 3:
        return run
    counts = Counter(column for row in run for column in _cells(row, columns))
    kept = [n for n in range(len(columns)) if counts[n] >= _SPARSE * len(run)]
    if len(kept) < 2 or (kept[0] == 0 and kept[-1] == len(columns) - 1):
        return run
    left, right = columns[kept[0]][0], columns[kept[-1]][1]
    rows = []
    for row in run:
        words = [word for word in row.words if left - 1 <= word.x0 and word.x1 <= right + 1]
        segments = [one for one in row.segments if left - 1 <= one.x0 and one.x1 <= right + 1]
        if words and segments:
            rows.append(Row(words, segments))
    return rows


def _written(words: Sequence[Word], height: float) -> list[Row]:
    """The rows but for those of lines that are drawn with letters."""
    return [row for row in rows_of(words, height) if not all(_LINE.fullmatch(word.text) for word in row.words)]


def _in_columns(run: list[Row], height: float) -> tuple[list[Row], list[tuple[float, float]]]:
    """The rows cut where columns part that stand close, and where the columns stand."""
    columns = _columns(run, height)
    if len(columns) > _MOST_COLUMNS:
        return run, []
    cuts = list(_rivers(run, columns, height))
    if cuts:
        run = [Row(row.words, segments_of(row.words, height, cuts)) for row in run]
        columns = _columns(run, height)
    return run, columns


def _rivers(run: Sequence[Row], columns: Sequence[tuple[float, float]], height: float) -> Iterator[float]:
    """Where narrow gaps between numbers stand above each other in a column: in most of its rows, and in nothing's way."""
    for x0, x1 in columns:
        inside = [[word for word in row.words if word.x0 >= x0 - 1 and word.x1 <= x1 + 1] for row in run]
        numbers = [row for row in inside if sum(is_number(word.text) for word in row) >= 2]
        if len(numbers) < max(_FEWEST_IN_RIVER, _MOST_OF * sum(len(row) > 1 for row in inside)):
            continue
        gaps = [
            (before.x1, after.x0)
            for row in numbers
            for before, after in pairwise(sorted(row, key=lambda word: word.x0))
            if after.x0 - before.x1 > _RIVER * height and is_number(before.text) and is_number(after.text)
        ]
        covered = _stretches([(word.x0, word.x1) for row in numbers for word in row], int(_IN_RIVER * len(numbers)))
        for before, after in pairwise(covered):
            middle = (before[1] + after[0]) / 2
            if sum(left <= middle <= right for left, right in gaps) >= _MOST_OF * len(numbers):
                yield middle


def _without_title(run: list[Row], columns: Sequence[tuple[float, float]]) -> list[Row]:
    """The run from the first row on that fills a third of the columns: what stands above is a title, and stays text."""
    fewest = max(2, len(columns) // 3)
    first = next((n for n, row in enumerate(run) if len(_cells(row, columns)) >= fewest), 0) if len(columns) > 1 else 0
    return run[first:]


def _runs(rows: Sequence[Row], height: float, width: float) -> Iterator[list[Row]]:
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


def _grid(run: Sequence[Row], columns: Sequence[tuple[float, float]]) -> list[_GridRow]:
    """The rows by columns."""
    return [_GridRow(_cells(row, columns), row.y0, row.y1) for row in run] if len(columns) > 1 else []


def _is_table(rows: Sequence[_GridRow], run: Sequence[Row], columns: Sequence[tuple[float, float]]) -> bool:
    """Whether rows by columns are neither running text nor a list nor a diagram."""
    texts = [text for row in rows for text, _ in row.cells.values()]
    filled = sum(len(row.cells) for row in rows) / (len(rows) * len(columns))
    wordy = statistics.mean(len(text.split()) if not is_cjk(text) else len(text) / 2 for text in texts)
    numeric = sum(map(is_number, texts)) / len(texts)
    if filled < _FULL or _is_list(rows) or _is_diagram(rows):
        return False
    return numeric >= 0.5 or not _is_prose(run, columns, wordy)


def _is_diagram(rows: Sequence[_GridRow]) -> bool:
    """Whether these are the scales of a diagram, equal steps of numbers, with little beside them."""
    columns: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        for column, (text, _) in row.cells.items():
            columns[column].append(text)
    scales = [texts for texts in columns.values() if _is_scale(texts)]
    if not scales or sum(len(row.cells) for row in rows) - sum(map(len, scales)) >= len(rows):
        return False
    full = sum(len(row.cells) for row in rows) > 0.75 * len(rows) * len(columns)
    apart = statistics.median((after.y0 - before.y1) / (before.y1 - before.y0) for before, after in pairwise(rows))
    return not full or apart > _APART


def _is_scale(texts: Sequence[str]) -> bool:
    numbers = [float(text.replace(",", "")) for text in texts if _NUMBER.fullmatch(text)]
    if len(numbers) < max(_SCALE, 0.6 * len(texts)):
        return False
    steps = [round(after - before, 6) for before, after in pairwise(numbers)]
    return steps[0] != 0 and sum(step == steps[0] for step in steps) >= 0.8 * len(steps)


def _is_list(rows: Sequence[_GridRow]) -> bool:
    """Whether these are items beside their numbers or bullets."""
    firsts = [row.cells[0][0] for row in rows if 0 in row.cells]
    marked = sum(bool(_MARKER.fullmatch(text)) for text in firsts)
    return max(last for row in rows for _, last in row.cells.values()) == 1 and marked >= 0.8 * len(firsts) > 0


def _is_prose(run: Sequence[Row], columns: Sequence[tuple[float, float]], wordy: float) -> bool:
    """Whether these are columns of running text: few, with many words, or with lines that reach from edge to edge."""
    if len(columns) > _MOST_TEXT_COLUMNS or wordy < _FEW_WORDS:
        return False
    if len(columns) <= 3 and wordy > _WORDY:
        return True
    if _is_justified(run):
        return True
    widths: list[list[float]] = [[] for _ in columns]
    for row in run:
        for one in row.segments:
            for n, (x0, x1) in enumerate(columns):
                if x0 - 1 <= one.x0 and one.x1 <= x1 + 1:
                    widths[n].append((one.x1 - one.x0) / max(x1 - x0, 1.0))
    return all(found and statistics.median(found) > _EDGE_TO_EDGE for found in widths)


def _is_justified(run: Sequence[Row]) -> bool:
    """Whether nearly all rows begin and end at the same places: lines of text that was stretched to them."""
    lefts, rights = ([round(edge) for edge in edges] for edges in zip(*(_edges(row) for row in run), strict=True))
    same = [sum(abs(edge - statistics.mode(edges)) <= 1 for edge in edges) for edges in (lefts, rights)]
    return len(run) > 2 and min(same) >= len(run) - 1


def _edges(row: Row) -> tuple[float, float]:
    return min(one.x0 for one in row.segments), max(one.x1 for one in row.segments)


def _columns(run: Sequence[Row], height: float) -> list[tuple[float, float]]:
    """The stretches that segments cover, but for a few rows that reach over several."""
    counts = [len(row.segments) for row in run if len(row.segments) >= 2]
    fewest = max(2.0, _TITLE * statistics.median(counts))
    rows = [row for row in run if len(row.segments) >= fewest]
    most = int(_CROSSED * len(rows)) if len(rows) > _FEW_ROWS else 0
    columns: list[tuple[float, float]] = []
    for first, last in _stretches([(one.x0, one.x1) for row in rows for one in row.segments], most):
        if columns and first - columns[-1][1] < _THIN * height:
            columns[-1] = (columns[-1][0], last)
        else:
            columns.append((first, last))
    return columns


def _stretches(spans: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Where more than so many spans lie above each other."""
    found: list[tuple[float, float]] = []
    depth, start = 0, 0.0
    for x, step in sorted([(x0, 1) for x0, _ in spans] + [(x1, -1) for _, x1 in spans], key=lambda edge: edge[0]):
        if depth <= most < depth + step:
            start = x
        elif depth > most >= depth + step:
            found.append((start, x))
        depth += step
    return found


def _cells(row: Row, columns: Sequence[tuple[float, float]]) -> dict[int, tuple[str, int]]:
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
        if above and (_continues(above, row, columns, height) or _stands_beside(above, row)):
            for column, (text, last) in row.cells.items():
                before = above.cells.get(column)
                above.cells[column] = (joined([before[0], text]), max(before[1], last)) if before else (text, last)
            above.y1 = max(above.y1, row.y1)
        else:
            merged.append(_GridRow(dict(row.cells), row.y0, row.y1))
    return merged


def _continues(above: _GridRow, row: _GridRow, columns: int, height: float) -> bool:
    """Whether a row is the rest of cells above: there are few, close below, and none at the left; or its label goes on."""
    gap = row.y0 - above.y1
    if 0 in row.cells:  # a label of several lines, with its values beside the first or the last of them
        return (
            gap < 0.8 * height
            and row.cells[0][0][:1].islower()
            and 0 in above.cells
            and 1 in (len(row.cells), len(above.cells))
        )
    return gap < 0.5 * height and len(row.cells) <= max(1, columns // 2) and set(row.cells) <= set(above.cells)


def _stands_beside(above: _GridRow, row: _GridRow) -> bool:
    """Whether values stand beside the middle of a label of several lines."""
    return row.y0 < above.y1 and ((set(above.cells) == {0}) != (set(row.cells) == {0}) or 0 not in row.cells)


def _found(rows: Sequence[_GridRow], run: Sequence[Row]) -> FoundTable:
    cells = [
        FoundCell(text, number, column, number, max(last, column))
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
    return FoundTable(cells, sides, set())
