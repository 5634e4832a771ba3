"""The tables of a page: found by the rules around their cells, else by the gaps between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from gristmill.parsers.pdf.drawn import Drawn
from gristmill.parsers.pdf.frame import Sides
from gristmill.parsers.pdf.framed import framed
from gristmill.parsers.pdf.layout import PageLines
from gristmill.parsers.pdf.lines import Line, Word, plain_letters
from gristmill.parsers.pdf.spaced import spaced, spaced_in
from gristmill.parsers.pdf.words import FoundCell, FoundTable, is_number
from gristmill.ports.document import Block, Box, Cell, Table

_FEWEST_ROWS = 3
_FEWEST_RULES = 5  # that may frame a table
_MOST_TABLES = 100  # of a page
_MOST_COLUMNS = 60  # of running text on a page
_MOST_HEADS = 4  # rows of a head
_NUMERIC = 0.5  # the share of rows below a head that hold numbers
_MANY = 5  # lines of running text that are a column of it
_LONG = 0.75  # of the longest line
_LETTERS = 15  # in a line, on average
_SAME = 0.5  # part of a region in which a framed table stands: then it is that table
_EDGE = 3.0  # points that words may stand beyond a region
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")


def may_hold_tables(lines: Sequence[Line], found: Drawn | None = None) -> bool:
    """Whether enough lines are parted by gaps, stand beside others or among rules, for a closer look to be worth its price."""
    if found is not None and _may_frame(found):
        return True
    beside = sum(_beside(before, after) for before, after in pairwise(lines))
    return sum(line.gaps or _numeric(line.text) for line in lines) + beside >= _FEWEST_ROWS


def without_tables(lines: Sequence[Line], found: Drawn | None = None) -> list[Sides]:
    """Where no words have to be looked for: in columns of running text, where no rules may frame them."""
    framing = found is not None and len(found.level) > 1 and len(found.upright) > 1
    return [] if framing else list(islice(_prose(lines), _MOST_COLUMNS))


def place_tables(
    page: PageLines, words: Sequence[Word], found: Drawn | None = None, regions: Sequence[Sides] = ()
) -> None:
    """Find the tables of a page, and put each in the place of the lines that it holds. ``regions``: where some
    are for certain."""
    covered: set[int] = set()
    for table in islice(_tables(words, found or Drawn(), page, regions), _MOST_TABLES):
        block = _block(table, page.number)
        box = block.boxes[0]
        inside = [n for n, line in enumerate(page.lines) if n not in covered and _within(line, box)]
        if inside:
            page.tables[inside[0]] = block
            covered.update(inside)
    page.covered = frozenset(covered)


def _tables(words: Sequence[Word], found: Drawn, page: PageLines, regions: Sequence[Sides]) -> Iterator[FoundTable]:
    taken: set[int] = set()
    kept: list[Sides] = []
    for table in framed(found, words):
        taken |= table.words
        kept.append(table.sides)
        yield table
    for sides in regions:
        if not any(_overlap(sides, other) > _SAME for other in kept):
            inside = [word for word in words if id(word) not in taken and _centred(word, sides)]
            table_there = spaced_in(inside)
            if table_there is not None:
                taken.update(map(id, inside))
                yield table_there
    prose = list(islice(_prose(page.lines), _MOST_COLUMNS))
    free = [word for word in words if id(word) not in taken]
    yield from spaced([word for word in free if not any(_inside(word, sides) for sides in prose)], page.width)


def _overlap(one: Sides, other: Sides) -> float:
    """The part of the first that the second covers."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high / max(1.0, (one[2] - one[0]) * (one[3] - one[1])) if wide > 0 and high > 0 else 0.0


def _centred(word: Word, sides: Sides) -> bool:
    x, y = (word.x0 + word.x1) / 2, (word.y0 + word.y1) / 2
    return sides[0] - _EDGE <= x <= sides[2] + _EDGE and sides[1] - _EDGE <= y <= sides[3] + _EDGE


def _prose(lines: Sequence[Line]) -> Iterator[Sides]:
    """Where columns of running text stand: many lines close to each other, of nearly one length. What stands beside them is
    no part of their rows."""
    run: list[Line] = []
    for line in (*lines, None):
        if line is not None and run and _goes_on(run[-1], line):
            run.append(line)
            continue
        if len(run) >= _MANY and _is_full(run):
            yield (
                min(one.x0 for one in run) - 1,
                run[0].y0 - 1,
                max(one.x1 for one in run) + 1,
                max(one.y1 for one in run) + 1,
            )
        run = [line] if line is not None and not line.gaps else []


def _goes_on(before: Line, line: Line) -> bool:
    close = -0.5 * before.size < line.y0 - before.y1 < before.size
    return close and not line.gaps and abs(line.x0 - before.x0) < 3 * before.size


def _is_full(run: Sequence[Line]) -> bool:
    """Whether most lines are of words, and go as far as the longest does."""
    widest = max(line.x1 for line in run) - min(line.x0 for line in run)
    full = sum(line.x1 - line.x0 > _LONG * widest for line in run)
    text = "".join(line.text for line in run)
    letters = sum(map(str.isalpha, text))
    return full >= 0.6 * len(run) and letters > 0.6 * len(text) and len(text) > _LETTERS * len(run)


def _inside(word: Word, sides: Sides) -> bool:
    return sides[0] <= word.x0 and word.x1 <= sides[2] and sides[1] <= (word.y0 + word.y1) / 2 <= sides[3]


def _block(table: FoundTable, page: int) -> Block:
    cells = [
        Cell(plain_letters(one.text), one.row, one.col, one.last_row - one.row + 1, one.last_col - one.col + 1)
        for one in table.cells
    ]
    rows, cols = max(one.last_row for one in table.cells) + 1, max(one.last_col for one in table.cells) + 1
    box = Box(page, *(round(side, 1) for side in table.sides))
    return Block("table", "", boxes=[box], page=page, table=Table(rows, cols, cells, _heads(table.cells, rows)))


def _heads(cells: Sequence[FoundCell], rows: int) -> int:
    """The rows above the first one with numbers, where such rows are most of what follows; with all that spans them."""
    numeric = {cell.row for cell in cells if cell.col and is_number(cell.text) and not _LETTER.search(cell.text)}
    first = min(numeric, default=0)
    if not 0 < first <= _MOST_HEADS or len(numeric) < _NUMERIC * (rows - first):
        return 0
    return min(rows - 1, max([first, *(cell.last_row + 1 for cell in cells if cell.row < first)]))


def _may_frame(found: Drawn) -> bool:
    level, upright = len(found.level), len(found.upright)
    return min(level, upright) >= 2 and level + upright >= _FEWEST_RULES


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
