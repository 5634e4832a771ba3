"""Framed tables: words into the grid of rules that is drawn around them."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from gristmill.parsers.pdf.drawn import Drawn
from gristmill.parsers.pdf.frame import Sides
from gristmill.parsers.pdf.lines import Word
from gristmill.parsers.pdf.ruled import Ruled, Slot, grids
from gristmill.parsers.pdf.words import FoundCell, FoundTable, height_of, is_number, rows_of, text_of

_FEWEST = 4  # cells with words
_SLACK = 1.5  # points that a word may reach over a rule
_FULL = 0.25  # the share of cells that hold words: a diagram's hold few
_APART = 3  # rows of a column with a wide gap in them, from which it is taken for several
_MOST_TABLES = 50  # of a page
_LEVEL = 0.3  # of the text's height: words in line with each other differ by less
_MOST_BESIDE = 6  # words of a row outside of the rules
_ROWS_BESIDE = 0.6  # the share of rows that have such words
_STACKED = 4  # lines in a row of cells from which they may be rows that no rule parts
_BESIDE = 0.6  # the share of a row's cells in which each of such lines has words


def framed(found: Drawn, words: Sequence[Word]) -> list[FoundTable]:
    """The framed tables of a page, the larger ones first. A frame around running text or a drawing is none."""
    tables: list[FoundTable] = []
    taken: set[int] = set()
    framing = sorted(grids(found), key=lambda one: -_area(one.sides))[:_MOST_TABLES]
    outside = [word for word in words if not any(_holds(grid.sides, word) for grid in framing)]
    for grid in framing:
        left = [word for word in words if id(word) not in taken]
        table = _filled(_widened(grid, [word for word in left if _holds(grid.sides, word)], outside), left)
        if table is not None:
            tables.append(table)
            taken |= table.words
    return tables


def _widened(grid: Ruled, inside: Sequence[Word], outside: Sequence[Word]) -> Ruled:
    """The grid with a column before its first and after its last upright rule where each row has words there: many tables
    are open at their sides."""
    x0, y0, x1, y1 = grid.sides
    near = [word for word in outside if y0 <= (word.y0 + word.y1) / 2 <= y1]
    if not (inside and near):
        return grid
    middles = sorted((row.y0 + row.y1) / 2 for row in rows_of(inside))
    slack = _LEVEL * height_of(inside)
    before = _aligned([word for word in near if word.x1 < x0 + _SLACK], middles, slack)
    after = _aligned([word for word in near if word.x0 > x1 - _SLACK], middles, slack)
    if before:
        grid = grid.with_column(min(word.x0 for word in before))
    if after:
        grid = grid.with_column(max(word.x1 for word in after))
    return grid


def _aligned(words: Sequence[Word], middles: Sequence[float], slack: float) -> Sequence[Word]:
    """Words outside of a grid, if they are of its rows: few in each, in most, and in line with it."""
    words = [word for word in words if any(map(str.isalnum, word.text))]
    if not words or len(words) > _MOST_BESIDE * len(middles):
        return []
    rows = []
    for word in words:
        y = (word.y0 + word.y1) / 2
        n = bisect_left(middles, y - slack)
        if n < len(middles) and middles[n] <= y + slack:
            rows.append(n)
    return words if len(set(rows)) > _ROWS_BESIDE * len(middles) and len(rows) > 0.8 * len(words) else []


def _filled(grid: Ruled, words: Sequence[Word]) -> FoundTable | None:
    held: dict[Slot, list[Word]] = defaultdict(list)
    slots = {
        (row, col): slot
        for slot in grid.slots
        for row in range(slot.row, slot.last_row + 1)
        for col in range(slot.col, slot.last_col + 1)
    }
    for word in words:
        place = grid.at((word.x0 + word.x1) / 2, (word.y0 + word.y1) / 2)
        if place is not None:
            held[slots[place]].append(word)
    held = _apart(held, grid)
    if len(held) < _FEWEST or len(held) < _FULL * len(grid.slots) or _open(held):
        return None
    if len({slot.row for slot in held}) < 2 or len({slot.col for slot in held}) < 2:
        return None
    inside = {id(word) for members in held.values() for word in members}
    return FoundTable(_without_empty(_bands(held)), grid.sides, inside)


def _apart(held: dict[Slot, list[Word]], grid: Ruled) -> dict[Slot, list[Word]]:
    """The words by cell, where a cell over several columns that has a piece of a row in each of them is taken as many:
    some tables have upright rules in their head only."""
    result: dict[Slot, list[Word]] = defaultdict(list)
    for slot, members in held.items():
        pieces = _pieces(slot, members, grid) if slot.last_col > slot.col else None
        for part, words in pieces or [(slot, members)]:
            result[part] += words
    return result


def _pieces(slot: Slot, members: Sequence[Word], grid: Ruled) -> list[tuple[Slot, list[Word]]] | None:
    for row in rows_of(members):
        for one in row.segments:
            if bisect_right(grid.xs, one.x0 + _SLACK) != bisect_right(grid.xs, one.x1 - _SLACK):
                return None
    by_column: dict[int, list[Word]] = defaultdict(list)
    for word in members:
        by_column[bisect_right(grid.xs, (word.x0 + word.x1) / 2) - 1].append(word)
    if len(by_column) < 2:
        return None
    return [(Slot(slot.row, col, slot.last_row, col), words) for col, words in by_column.items()]


def _open(held: dict[Slot, list[Word]]) -> bool:
    """Whether some column holds columns of its own that no rule parts: then the rules say too little."""
    single: Counter[tuple[int, int]] = Counter()
    several: Counter[tuple[int, int]] = Counter()
    for slot, members in held.items():
        for row in rows_of(members):
            (several if len(row.segments) > 1 else single)[slot.col, slot.last_col] += 1
    return any(count >= _APART and count > single[place] for place, count in several.items())


def _bands(held: dict[Slot, list[Word]]) -> list[FoundCell]:
    """The cells; a row of cells in which many lines stand beside each other is as many rows."""
    bands: dict[int, list[Slot]] = defaultdict(list)
    for slot in held:
        bands[slot.row].append(slot)
    lines: dict[int, list[tuple[float, float]]] = {}
    first: list[int] = []  # of the rows that each row of cells becomes
    count = 0
    for row in range(max(slot.last_row for slot in held) + 1):
        single = [held[slot] for slot in bands.get(row, ()) if slot.last_row == row]
        lines[row] = _stacked(single)
        first.append(count)
        count += max(1, len(lines[row]))
    first.append(count)
    cells = []
    for slot, words in held.items():
        if slot.last_row > slot.row or not lines[slot.row]:
            cells.append(
                FoundCell(text_of(words), first[slot.row], slot.col, first[slot.last_row + 1] - 1, slot.last_col)
            )
            continue
        for n, (top, bottom) in enumerate(lines[slot.row], first[slot.row]):
            inside = [word for word in words if top <= (word.y0 + word.y1) / 2 < bottom]
            if inside:
                cells.append(FoundCell(text_of(inside), n, slot.col, n, slot.last_col))
    return sorted(cells, key=lambda cell: (cell.row, cell.col))


def _stacked(cells: Sequence[Sequence[Word]]) -> list[tuple[float, float]]:
    """The lines in which words, half of them numbers at least, stand beside each other in most cells, from where to where;
    none where each cell is filled by itself."""
    if len(cells) < 2:
        return []
    rows = rows_of([word for cell in cells for word in cell])
    if len(rows) < _STACKED:
        return []
    borders = [(before.y1 + after.y0) / 2 for before, after in pairwise(rows)]
    filled = [Counter(bisect_right(borders, (word.y0 + word.y1) / 2) for word in cell) for cell in cells]
    shares = [sum(row in cell for cell in filled) / len(cells) for row in range(len(rows))]
    numeric = sum(sum(map(is_number, (word.text for word in cell))) > len(cell) / 2 for cell in cells)
    if statistics.mean(shares) < _BESIDE or 2 * numeric < len(cells):
        return []
    return list(zip([float("-inf"), *borders], [*borders, float("inf")], strict=True))


def _without_empty(cells: list[FoundCell]) -> list[FoundCell]:
    """Without the rows and columns that no cell begins in: a double rule makes them."""
    rows = sorted({cell.row for cell in cells})
    cols = sorted({cell.col for cell in cells})
    return [
        FoundCell(
            cell.text,
            bisect_left(rows, cell.row),
            bisect_left(cols, cell.col),
            bisect_right(rows, cell.last_row) - 1,
            bisect_right(cols, cell.last_col) - 1,
        )
        for cell in cells
    ]


def _holds(sides: Sides, word: Word) -> bool:
    return sides[0] <= (word.x0 + word.x1) / 2 <= sides[2] and sides[1] <= (word.y0 + word.y1) / 2 <= sides[3]


def _area(sides: Sides) -> float:
    return (sides[2] - sides[0]) * (sides[3] - sides[1])
