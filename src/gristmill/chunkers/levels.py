"""The depth of lines: headings as the format knows them, and numbered lines by families of numbering."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from gristmill.ports.document import Block

BODY = 1_000  # the level of what is no heading
_TITLE = 0
_HEADINGS = ("title", "heading")
_LINED = ("text", "list_item", *_HEADINGS)
_ZH = "[一二三四五六七八九十百千零〇○0-9０-９]+"
_END = r"(?=\s*$|\s*[.:：、—–-]|\s+[A-Z(“\"])"  # no sentence that speaks of a section: "Section 12 of the act"
_FAMILIES = tuple(
    tuple(re.compile(one) for one in family)
    for family in (
        (
            rf"第\s*{_ZH}\s*(?:分?编|部分|部)",
            rf"第\s*{_ZH}\s*章",
            rf"第\s*{_ZH}\s*节",
            rf"第\s*{_ZH}\s*条(?:之[一二三四五六七八九十]+)?",
            r"[（(][一二三四五六七八九十百]+[）)]",
        ),
        (
            r"第\s*[0-9]+\s*章",
            r"第\s*[0-9]+\s*节",
            r"[0-9]{1,2}(?:[.、](?![0-9])|\s+(?=[^\W\d]))",
            r"[0-9]{1,2}\.[0-9]{1,2}(?![0-9.a-zA-Z/%~-])",
            r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2}(?![0-9.])",
            r"[0-9]{1,2}(?:\.[0-9]{1,2}){3}",
        ),
        (
            rf"第\s*{_ZH}\s*章",
            rf"第\s*{_ZH}\s*节",
            r"[一二三四五六七八九十百]+[、\s]",
            r"[（(][一二三四五六七八九十百]+[）)]",
            r"[（(][0-9]{1,2}[）)]",
        ),
        (
            rf"(?i:part)\s+(?:(?i:one|two|three|four|five|six|seven|eight|nine|ten)|[IVXLC]+|[0-9]+){_END}",
            rf"(?i:chapter)\s+(?:[IVXLC]+|[0-9]+){_END}",
            rf"(?i:section)\s+[0-9]+{_END}",
            rf"(?i:article)\s+(?:[0-9]+|[IVXLC]+){_END}",
        ),
        tuple(rf"#{{{n}}}(?!#)\s*" for n in range(1, 7)),
    )
)
_NO_BULLET = re.compile(r"0|[0-9]+\s+(?:[0-9~个只-])|[0-9]+\.{2,}|[0-9.]+[的中]")
_NO_TITLE = re.compile(r",\s|[,;，；。！!]")
_ARTICLE = re.compile(rf"第\s*{_ZH}\s*条")
_MOST_WORDS, _MOST_CHARS = 12, 32
_LONGEST = 64  # characters of a title that is repeated
_FEWEST = 2  # lines that make a family
_CONTENTS = frozenset(("contents", "tableofcontents", "目录", "目次"))
_LOOK = 128  # lines of a table of contents


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


def bullet(text: str, family: int) -> int:
    """The depth of a line in a family, from 1; 0 where it begins with none of the family's numbers."""
    text = text.strip()
    if family < 0 or _NO_BULLET.match(text):
        return 0
    return next((n for n, one in enumerate(_FAMILIES[family], 1) if one.match(text)), 0)


def family_of(texts: Sequence[str]) -> int:
    """The family that most lines belong to, the first of equals; -1 where fewer than two belong to any."""
    found = [sum(1 for text in texts if bullet(text, n)) for n in range(len(_FAMILIES))]
    most = max(found)
    return found.index(most) if most >= _FEWEST else -1


def is_title(text: str) -> bool:
    """Whether a line may be a title: short, and no sentence."""
    text = text.strip()
    if _ARTICLE.match(text):
        return True
    too_long = len(text.split()) > _MOST_WORDS or (" " not in text and len(text) >= _MOST_CHARS)
    return bool(text) and not too_long and not _NO_TITLE.search(text)


def levelled(blocks: Sequence[Block], *, numbered: bool = False) -> list[Line]:
    """The blocks with their depth, parted at numbered lines where those are headings.

    They are where the format knows no headings, and with ``numbered`` in any case.
    """
    headings = [block for block in blocks if block.kind == "heading"]
    texts = [line for block in blocks if block.kind in _LINED for line in block.text.split("\n")]
    family = family_of(texts) if numbered or len(headings) < _FEWEST else -1
    known = _known(headings, family)
    lines = [
        _line(one, family, known)
        for block in blocks
        for one in (_parted(block, family) if family >= 0 and block.kind in ("text", "list_item") else [block])
    ]
    _mark_title(lines)
    return lines


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
    number = next(one.match(said) for one in _FAMILIES[family] if one.match(said))
    short = is_title(said) and not _NO_TITLE.search(said) and "\n" not in said and len(said) <= _LONGEST
    return Line(block, depth, said if short or number is None else number[0].strip())


def _mark_title(lines: Sequence[Line]) -> None:
    """The only heading of the first level, if it goes before all others, is the document's title."""
    headings = [line for line in lines if line.level < BODY]
    levels = Counter(line.level for line in headings)
    if headings and _TITLE not in levels and len(levels) > 1 and headings[0].block.kind == "heading":
        top = min(levels)
        if headings[0].level == top and levels[top] == 1:
            headings[0].level = _TITLE


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


def without_contents(lines: Sequence[Line]) -> tuple[list[Block], list[Line]]:
    """A table of contents, and the lines without it. What it announces is not there twice."""
    for first, line in enumerate(lines):
        if "".join(line.block.text.split()).lower() not in _CONTENTS:
            continue
        entry = next((n for n in range(first + 1, len(lines)) if lines[n].block.text.strip()), len(lines))
        begin = _beginning(lines[entry].block.text) if entry < len(lines) else ""
        for n in range(entry + 1, min(entry + 1 + _LOOK, len(lines))):
            if begin and _beginning(lines[n].block.text) == begin:
                return [one.block for one in lines[first:n]], [*lines[:first], *lines[n:]]
    return [], list(lines)


def _beginning(text: str) -> str:
    """By what an entry is known: its first two words, or three signs where there are no words."""
    words = text.split()
    return " ".join(words[:2]).lower() if words and words[0].isascii() else text.strip()[:3]
