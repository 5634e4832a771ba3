"""The depth of lines: headings as the format knows them, and numbered lines by families of numbering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from gristmill.chunkers.families import ENGLISH, bullet, family_of, is_numbered, is_sentence, is_title, number_of
from gristmill.chunkers.signs import is_contents
from gristmill.ports.document import Block

BODY = 1_000  # the level of what is no heading
_TITLE = 0
_HEADINGS = ("title", "heading")
_LINED = ("text", "list_item", *_HEADINGS)
_LONGEST = 64  # characters of a title that is repeated
_SECTION, _ARTICLE = 3, 4  # depths of the English family
_FEWEST = 2  # headings that make those of the format known


@dataclass(slots=True)
class Line:
    """A block with its depth; 0 is the document's title. ``title`` is what stands for it in a path."""

    block: Block
    level: int = BODY
    title: str = ""


@dataclass(slots=True)
class Group:
    """Neighbouring blocks, the titles above the first of them, and those of the headings that it begins with."""

    blocks: list[Block]
    above: list[str]
    own: list[str] = field(default_factory=list)


def levelled(blocks: Sequence[Block], *, numbered: bool = False) -> list[Line]:
    """The blocks with their depth, parted at numbered lines where those are headings.

    They are where the format knows no headings, and with ``numbered`` in any case.
    """
    blocks = list(_with_first_lines(blocks))
    headings = [block for block in blocks if block.kind == "heading"]
    texts = [line for block in blocks if block.kind in _LINED for line in block.text.split("\n")]
    family = family_of(texts, articles=numbered) if numbered or len(headings) < _FEWEST else -1
    known = _known(headings, family)
    lines = [
        _line(one, family, known)
        for block in blocks
        for one in (_parted(block, family) if family >= 0 and block.kind in ("text", "list_item") else [block])
    ]
    if family == ENGLISH:
        _put_sections_below(lines)
    _mark_title(lines)
    return lines


def _put_sections_below(lines: Sequence[Line]) -> None:
    """Sections are above articles, as in codes, unless the first article comes before the first section."""
    found = [line for line in lines if line.level in (_SECTION, _ARTICLE)]
    if found and found[0].level == _ARTICLE and any(line.level == _SECTION for line in found):
        for line in found:
            line.level = _SECTION + _ARTICLE - line.level


def _with_first_lines(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks, the first line on its own of one that begins with a title, or with what a table of contents is headed by."""
    for n, block in enumerate(blocks):
        first, sign, rest = block.text.partition("\n")
        line = msgspec.structs.replace(block, text=first)
        parted = (
            block.kind == "text" and sign and rest.strip() and (is_contents(first) or (n == 0 and _may_be_title(line)))
        )
        yield from (line, msgspec.structs.replace(block, text=rest, marker="")) if parted else (block,)


def _known(headings: Sequence[Block], family: int) -> dict[int, int]:
    """What depth a heading without a number has: that of the numbered ones that the format puts on its level."""
    known: dict[int, int] = {}
    for block in headings:
        depth = bullet(block.text, family)
        if depth:
            known[block.level] = min(depth, known.get(block.level, depth))
    return known


def _parted(block: Block, family: int) -> Iterator[Block]:
    """A block of several lines, parted before each numbered one."""
    taken: list[str] = []
    for line in block.text.split("\n"):
        if taken and bullet(line, family):
            yield _with(block, "\n".join(taken), first=taken[0])
            taken = []
        taken.append(line)
    yield _with(block, "\n".join(taken), first=taken[0])


def _with(block: Block, text: str, *, first: str) -> Block:
    if text == block.text:
        return block
    marker = block.marker if block.text.startswith(first) else ""
    return msgspec.structs.replace(block, text=text, marker=marker)


def _line(block: Block, family: int, known: dict[int, int]) -> Line:
    said = f"{block.marker} {block.text}".strip() if block.marker else block.text.strip()
    if block.kind == "title":
        return Line(block, _TITLE, said)
    depth = bullet(said, family) if block.kind in _LINED else 0
    if block.kind == "heading":
        return Line(block, depth or known.get(block.level, block.level or 1), said)
    if not depth:
        return Line(block)
    short = is_title(said) and not is_sentence(said) and "\n" not in said and len(said) <= _LONGEST
    return Line(block, depth, said if short else number_of(said, family))


def _mark_title(lines: Sequence[Line]) -> None:
    """What goes before all numbers is the document's title: the only heading of its level, or a short first line."""
    headings = [line for line in lines if line.level < BODY]
    levels = Counter(line.level for line in headings)
    if not headings or _TITLE in levels:
        return
    top, first = min(levels), headings[0]
    if first.block.kind == "heading" and not is_numbered(first.title):
        if len(levels) > 1 and first.level == top and levels[top] == 1:
            first.level = _TITLE
    elif lines[0] is not first and _may_be_title(lines[0].block):
        lines[0].level, lines[0].title = _TITLE, lines[0].block.text.strip()


def _may_be_title(block: Block) -> bool:
    text = block.text.strip()
    plain = block.kind == "text" and not block.marker and "\n" not in text and not is_sentence(text)
    return plain and is_title(text) and text[-1:] not in ".:：?？"


def depths(lines: Sequence[Line]) -> list[int]:
    """The levels that occur, the title's and the body's not among them, from the highest on."""
    return sorted({line.level for line in lines} - {_TITLE, BODY})


def most_frequent(lines: Sequence[Line]) -> int:
    """The level that most headings have, the higher of equals; 0 where there are none."""
    found = Counter(line.level for line in lines if _TITLE < line.level < BODY)
    return min(found, key=lambda level: (-found[level], level)) if found else 0


def grouped(lines: Sequence[Line], at: int) -> Iterator[Group]:
    """Lines in groups: each heading of level ``at`` or above begins one, but stays with a heading above it."""
    chain: list[tuple[int, str]] = []
    group = Group([], [])
    open_level = -1  # of the last heading, while the group is nothing but headings
    for line in lines:
        begins = line.level <= at and not (group.blocks and -1 < open_level < line.level)
        if line.level < BODY:
            chain = [one for one in chain if one[0] < line.level]
        if begins:
            if group.blocks:
                yield group
            group = Group([], [title for _, title in chain])
        if line.level < BODY:
            chain.append((line.level, line.title))
        if line.level <= at and (begins or open_level >= 0):
            group.own.append(line.title)
            open_level = line.level
        else:
            open_level = -1
        group.blocks.append(line.block)
    if group.blocks:
        yield group
