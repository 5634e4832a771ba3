"""What a border between pages or columns has parted, whole again: paragraphs and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from gristmill.ports.document import Block, Box, Cell, Table

_BESIDE = frozenset(("header", "footer", "footnote", "figure", "caption"))  # what text runs on over
_MARGINS = frozenset(("header", "footer"))  # what a table runs on over
_ENDS = tuple(".!?:;。！？：；…")
_CLOSING = "\"'”’»)]）】」』》"
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff，、]")
_ITEM = re.compile(  # a new item or article, whatever stands before it
    r"(?:[（(][一二三四五六七八九十\d]{1,3}[）)]|[一二三四五六七八九十]{1,3}[、.．]|第[一二三四五六七八九十百零\d]+[编篇章节条]"
    r"|[a-z\d]{1,2}[.)]\s|[•‣▪-●–—-]\s)"
)
_TOLERANCE = 12.0  # points by which the sides of a table's parts may differ
_SMALLEST = 0.6  # of the width of what follows: a line that is shorter ended there
_MOST_HEAD = 3  # rows that a head has
_ALIKE = 0.15  # part by which the sizes of type may differ


def over_borders(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks of a document in reading order, with paragraphs and tables that go over a border as one block each.

    A paragraph runs on where it has no end mark and what follows, in the next column or on the next page, begins with a
    small letter, or goes on in Chinese or Japanese. A table does where one of the same columns follows on the next page with
    nothing but running heads and feet between; a head that is repeated there is left out. Such a block has a box for each
    column or page, and stands where it began. Takes time that is linear in the text.
    """
    held: _Held | None = None
    for block in blocks:
        if held is None:
            held = _Held(block)
        elif held.passes(block):
            held.beside.append(block)
        elif held.goes_on_in(block):
            held.add(block)
        else:
            yield from held.end()
            held = _Held(block)
    if held is not None:
        yield from held.end()


class _Held:
    """A block that may go on, and what stands beside its end."""

    def __init__(self, block: Block) -> None:
        self._first = self._last = block
        self.beside: list[Block] = []
        self._texts = [block.text]
        self._boxes = list(block.boxes)
        self._table: Table | None = None

    def passes(self, block: Block) -> bool:
        """Whether a block does not end this one: it stands in a margin, or is set where there was room for it."""
        if self._first.kind not in ("text", "table"):
            return False
        return block.kind in (_BESIDE if self._first.kind == "text" else _MARGINS)

    def goes_on_in(self, block: Block) -> bool:
        """Whether a block is this one's continuation."""
        last = self._last
        if block.kind != last.kind or block.source != last.source or len(last.boxes) != 1 or len(block.boxes) != 1:
            return False
        if last.table is not None and block.table is not None:
            return _same_columns(last.table, block.table, last.boxes[0], block.boxes[0])
        return block.kind == "text" and block.source == "text" and _runs_on(last, block)

    def add(self, block: Block) -> None:
        self._boxes += block.boxes
        self._last = block
        if self._first.table is not None and block.table is not None:
            if self._table is None:
                self._table = msgspec.structs.replace(self._first.table, cells=list(self._first.table.cells))
            _append(self._table, block.table, _repeated(self._first.table, block.table))
            return
        before = self._texts[-1]
        if before.endswith("-") and before[-2:-1].isalpha():
            self._texts[-1] = before[:-1]
        elif not (_CJK.match(before[-1:]) and _CJK.match(block.text[:1])):
            self._texts.append(" ")
        self._texts.append(block.text)

    def end(self) -> Iterator[Block]:
        """The whole, then what stood beside its parts."""
        if self._last is self._first:
            yield self._first
        else:
            yield msgspec.structs.replace(
                self._first, text="".join(self._texts), boxes=self._boxes, table=self._table or self._first.table
            )
        yield from self.beside


def _runs_on(before: Block, after: Block) -> bool:
    """Whether a paragraph goes on: by what it ends and begins with, its type, and the places of both parts."""
    if not (before.text and after.text) or before.text.rstrip(_CLOSING).endswith(_ENDS) or _ITEM.match(after.text):
        return False
    if before.bold != after.bold or abs(before.size - after.size) > _ALIKE * max(before.size, after.size):
        return False
    if "\n" in before.text or "\n" in after.text:
        return False  # lines that are kept apart
    here, there = before.boxes[0], after.boxes[0]
    beside = there.page == here.page and there.y1 <= here.y0 and (there.x0 >= here.x1 or there.x1 <= here.x0)
    if not (beside or there.page == here.page + 1) or here.x1 - here.x0 < _SMALLEST * (there.x1 - there.x0):
        return False
    return after.text[0].islower() or bool(_CJK.match(before.text[-1]) and _CJK.match(after.text[0]))


def _same_columns(before: Table, after: Table, here: Box, there: Box) -> bool:
    if before.cols != after.cols or there.page != here.page + 1:
        return False
    return max(abs(here.x0 - there.x0), abs(here.x1 - there.x1)) <= _TOLERANCE


def _repeated(before: Table, after: Table) -> int:
    """How many rows at the head of the second table say again what heads the first."""
    most = min(max(before.header_rows, _MOST_HEAD), before.rows, after.rows - 1)
    heads: list[list[list[tuple[int, str]]]] = []
    for table in (before, after):
        rows: list[list[tuple[int, str]]] = [[] for _ in range(most)]
        for cell in table.cells:
            if cell.row < most:
                rows[cell.row].append((cell.col, cell.text))
        heads.append([sorted(row) for row in rows])
    return next((n for n in range(most) if heads[0][n] != heads[1][n]), most)


def _append(whole: Table, part: Table, skipped: int) -> None:
    whole.cells += [
        Cell(cell.text, whole.rows + cell.row - skipped, cell.col, cell.rowspan, cell.colspan, cell.header, cell.box)
        for cell in part.cells
        if cell.row >= skipped
    ]
    whole.rows += part.rows - skipped
