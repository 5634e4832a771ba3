"""Tables whose cells are framed: from the rules on a page to a grid of cells, those over several places included."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gristmill.parsers.pdf.drawn import Drawn, Rule
from gristmill.parsers.pdf.frame import Sides

_SAME = 2.5  # points by which rules that are meant as one may lie apart
_REACH = 3.5  # points that a rule may end before the one it meets
_OPEN = 8.0  # points that most rules reach beyond the outermost of those they meet, where a table has open sides
_MOST = 800  # rules of a page, put together: a page with more is a drawing
_MOST_PLACES = 20_000  # of a grid


@dataclass(frozen=True, slots=True)
class Slot:
    """A framed cell: its rows and columns (the last included)."""

    row: int
    col: int
    last_row: int
    last_col: int


@dataclass
class Ruled:
    """Rules that meet each other: where the columns and rows of their grid part, and its cells."""

    xs: list[float]
    ys: list[float]
    slots: list[Slot]

    @property
    def sides(self) -> Sides:
        return self.xs[0], self.ys[0], self.xs[-1], self.ys[-1]

    def with_column(self, x: float) -> Ruled:
        """With one more column, before the first or after the last, as far as this place."""
        rows = range(len(self.ys) - 1)
        if x < self.xs[0]:
            moved = [Slot(one.row, one.col + 1, one.last_row, one.last_col + 1) for one in self.slots]
            return Ruled([x, *self.xs], self.ys, [*moved, *(Slot(row, 0, row, 0) for row in rows)])
        col = len(self.xs) - 1
        return Ruled([*self.xs, x], self.ys, [*self.slots, *(Slot(row, col, row, col) for row in rows)])

    def at(self, x: float, y: float) -> tuple[int, int] | None:
        """The row and column of a place."""
        row, col = bisect_right(self.ys, y) - 1, bisect_right(self.xs, x) - 1
        if 0 <= row < len(self.ys) - 1 and 0 <= col < len(self.xs) - 1:
            return row, col
        return None


def grids(found: Drawn) -> list[Ruled]:
    """The grids that the rules of a page make, of two columns at least. None for a page that is a drawing."""
    level, upright = joined(found.level), joined(found.upright)
    if len(level) + len(upright) > _MOST or len(level) < 2 or len(upright) < 2:
        return []
    return [grid for group in _groups(level, upright) if (grid := _grid(*group)) is not None]


def joined(rules: Sequence[Rule]) -> list[Rule]:
    """Rules in one line that follow or cover each other, as one each."""
    lines: list[list[Rule]] = []
    for rule in sorted(rules, key=lambda one: one.at):
        if not lines or rule.at - lines[-1][0].at > _SAME:
            lines.append([])
        lines[-1].append(rule)
    whole: list[Rule] = []
    for line in lines:
        at = sum(rule.at for rule in line) / len(line)
        first, last = float("inf"), float("-inf")
        for rule in sorted(line, key=lambda one: one.first):
            if rule.first > last + _REACH:
                if last >= first:
                    whole.append(Rule(at, first, last))
                first, last = rule.first, rule.last
            else:
                last = max(last, rule.last)
        whole.append(Rule(at, first, last))
    return whole


def _groups(level: Sequence[Rule], upright: Sequence[Rule]) -> Iterator[tuple[list[Rule], list[Rule]]]:
    """Rules that meet, directly or by others."""
    roots = list(range(len(level) + len(upright)))

    def root(n: int) -> int:
        while roots[n] != n:
            roots[n] = roots[roots[n]]
            n = roots[n]
        return n

    for n, one in enumerate(level):
        for m, other in enumerate(upright, len(level)):
            if (
                one.first - _REACH <= other.at <= one.last + _REACH
                and other.first - _REACH <= one.at <= other.last + _REACH
            ):
                roots[root(m)] = root(n)
    groups: dict[int, tuple[list[Rule], list[Rule]]] = defaultdict(lambda: ([], []))
    for n, one in enumerate((*level, *upright)):
        groups[root(n)][n >= len(level)].append(one)
    yield from groups.values()


def _grid(level: Sequence[Rule], upright: Sequence[Rule]) -> Ruled | None:
    if not level or not upright:
        return None
    ys, xs = _places(level, upright), _places(upright, level)
    rows, cols = len(ys) - 1, len(xs) - 1
    if cols < 2 or rows < 1 or rows * cols > _MOST_PLACES:
        return None
    below = _closed(level, ys, xs)  # below[n][col]: a rule on the n-th line over the column
    beside = _closed(upright, xs, ys)
    return Ruled(xs, ys, list(_slots(below, beside, rows, cols)))


def _places(rules: Sequence[Rule], others: Sequence[Rule]) -> list[float]:
    """Where rules stand, once for those that lie close together; and how far the others reach, for some tables are open."""
    places: list[float] = []
    for rule in sorted(rules, key=lambda one: one.at):
        if not places or rule.at - places[-1] > _REACH:
            places.append(rule.at)
    first = [rule.first for rule in others if rule.first < places[0] - _OPEN]
    last = [rule.last for rule in others if rule.last > places[-1] + _OPEN]
    before = [statistics.median(first)] if len(first) > len(others) / 2 else []
    after = [statistics.median(last)] if len(last) > len(others) / 2 else []
    return [*before, *places, *after]


def _closed(rules: Sequence[Rule], across: Sequence[float], along: Sequence[float]) -> list[list[bool]]:
    """For each place across: over which stretches along it a rule goes."""
    closed = [[False] * (len(along) - 1) for _ in across]
    for rule in rules:
        n = min(max(bisect_left(across, rule.at - _REACH), 0), len(across) - 1)
        for m in range(len(along) - 1):
            middle = (along[m] + along[m + 1]) / 2
            if rule.first <= middle <= rule.last:
                closed[n][m] = True
    return closed


def _slots(below: list[list[bool]], beside: list[list[bool]], rows: int, cols: int) -> Iterator[Slot]:
    """The cells: each goes to the right, and then down, as far as nothing parts it."""
    taken = [[False] * cols for _ in range(rows)]
    for row in range(rows):
        for col in range(cols):
            if taken[row][col]:
                continue
            last_col = col
            while last_col + 1 < cols and not beside[last_col + 1][row] and not taken[row][last_col + 1]:
                last_col += 1
            last_row = row
            while last_row + 1 < rows and all(
                not below[last_row + 1][n] and not taken[last_row + 1][n] for n in range(col, last_col + 1)
            ):
                if any(beside[n + 1][last_row + 1] for n in range(col, last_col)):
                    break
                last_row += 1
            for n in range(row, last_row + 1):
                for m in range(col, last_col + 1):
                    taken[n][m] = True
            yield Slot(row, col, last_row, last_col)
