"""Captions: a table and the line that says what it is are one."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from gristmill.chunkers.families import is_title
from gristmill.ports.document import Block

_TABLE = re.compile(r"\s*(?:table|tab\.|tabelle|tableau|表)\s*[0-9A-Z０-９一二三四五六七八九十]", re.I)
_FIGURE = re.compile(r"\s*(?:fig|abb|图|圖|図)", re.I)
_ENDS = ".。:：?？!！…"  # of what is no title
_LONGEST = 300  # characters of a caption


def captioned(blocks: Iterable[Block]) -> list[Block]:
    """The blocks, each table with its caption: the line just before it, or else just below it, that is one."""
    found: list[Block] = []
    below = False  # whether the table before this block may have its caption here
    for block in blocks:
        if _lacks(block) and found and _is_above(found):
            found.append(_joined(found.pop(), block))
            below = False
        elif below and _names_table(block) and block.kind == "caption":
            found.append(_joined(block, found.pop(), first=False))
            below = False
        else:
            found.append(block)
            below = _lacks(block)
    return found


def _lacks(block: Block) -> bool:
    """Whether it is a table that says something, but has no caption."""
    return block.table is not None and not block.table.caption and any(cell.text.strip() for cell in block.table.cells)


def _is_above(found: list[Block]) -> bool:
    """Whether the last of these blocks is the caption of the table that follows them."""
    last = found[-1]
    if _names_table(last):
        return True
    of_figure = len(found) > 1 and found[-2].kind == "figure"
    return last.kind == "caption" and _is_line(last) and not of_figure and not _FIGURE.match(last.text)


def _names_table(block: Block) -> bool:
    return block.kind in ("caption", "text") and _is_line(block) and bool(_TABLE.match(block.text))


def announces(block: Block, after: Block | None) -> bool:
    """Whether a line is the title of the table after it, though it does not say so."""
    if after is None or after.table is None or block.kind != "text" or not _is_line(block):
        return False
    return is_title(block.text) and block.text.rstrip()[-1] not in _ENDS


def _is_line(block: Block) -> bool:
    text = block.text.strip()
    return 0 < len(text) <= _LONGEST and "\n" not in text and not (block.marker or block.asset or block.table)


def _joined(caption: Block, block: Block, *, first: bool = True) -> Block:
    assert block.table is not None
    boxes = [*caption.boxes, *block.boxes] if first else [*block.boxes, *caption.boxes]
    table = msgspec.structs.replace(block.table, caption=caption.text.strip())
    page = caption.page or block.page if first else block.page or caption.page
    return msgspec.structs.replace(block, table=table, boxes=boxes, page=page)
