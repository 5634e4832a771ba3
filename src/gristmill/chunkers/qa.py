"""The method ``qa``: one chunk for each question with its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import msgspec

from gristmill.chunkers.rows import Pair, blocks_of_lines, by_tables, caption_of, pairs_of, said_as, separator_of
from gristmill.chunkers.sections import SHEETS, Section, SectionChunker
from gristmill.chunkers.signs import ANSWER, ANSWERS, QUESTION, QUESTIONS
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument, Table

_ZH = "[一二三四五六七八九十百零0-9]+"
_NUMBERED = tuple(
    re.compile(one)
    for one in (
        rf"\s*第\s*{_ZH}\s*问",
        rf"\s*第\s*{_ZH}\s*条",
        r"\s*[（(][一二三四五六七八九十百]+[）)]",
        r"\s*[0-9]{1,3}\s*[.、)](?![0-9])",
        r"\s*[一二三四五六七八九十百]+\s*、",
        r"\s*[（(][0-9]{1,3}[）)]",
        r"\s*QUESTION\s+(?:ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|[IVXLC]+|[0-9]+)\b",
    )
)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_FEWEST = 2
_NUMBER = re.compile(r"(?:(?<=\s)|^)([0-9]{1,3})\s?[.、)](?![0-9])\s?(?=\S)")
_ASKED = re.compile(r"(.*?[?？])(.*)", re.S)


@dataclass
class _Open:
    """A question whose answer is being read. Without a question: what goes before the first."""

    question: list[Block] = field(default_factory=list)
    answer: list[Block] = field(default_factory=list)
    path: list[str] = field(default_factory=list)


class QaChunker(SectionChunker):
    """A chunk for each pair, its question as the chunk's question, too. A long answer is cut, the question above each piece.

    Pairs are the first two values of a table's row (in a document with headings only where its first row says so); lines
    that begin with ``Q:`` and ``A:`` or words of that meaning; lines that a tab or comma parts in two; headings (with those
    above them) and what is below; else numbered paragraphs. Lines between are part of the answer. Text before the first
    question is a chunk of its own, and a document without any questions is cut as ``naive`` does.
    """

    name: ClassVar[str] = "qa"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        in_answers = document.format not in SHEETS and any(block.kind == "heading" for block in document.blocks)
        for run, block in by_tables(document.blocks, lambda table: not in_answers or _names_pairs(table)):
            yield from _of_text(run)
            if block is not None and block.table is not None:
                yield from _of_table(block, block.table)


def _names_pairs(table: Table) -> bool:
    """Whether the first row says that the first two columns are questions and answers."""
    first = [value.strip().lower() for value in table.grid()[0]] if table.rows else []
    return len(first) > 1 and first[0] in QUESTIONS and first[1] in ANSWERS


def _of_table(block: Block, table: Table) -> Iterator[Section]:
    named, path = _names_pairs(table), caption_of(table)
    more = table.grid()[0][2:] if named else []
    pairs = list(pairs_of(table, skip=int(named)))
    if path and not pairs:
        yield Section([said_as(block, path[0])])
    for found in pairs:
        if isinstance(found, Pair):
            rest = [f"{name}: {value}" for name, value in zip(more, found.rest, strict=False)] or found.rest
            answer = [said_as(block, text) for text in (found.second, "\n".join(rest)) if text]
            yield _section(_Open([said_as(block, found.first)], answer, path))
        else:
            yield Section([said_as(block, "\n".join(found))], path)


def _of_text(blocks: Sequence[Block]) -> Iterator[Section]:
    """The pairs of a run of blocks without tables."""
    texts = [block.text for block in blocks if block.kind == "text"]
    lines = list(blocks_of_lines(blocks))
    separator = separator_of(texts)
    if sum(1 for line in lines if QUESTION.match(_said(line))) >= 1 and any(ANSWER.match(_said(one)) for one in lines):
        found = _labelled(lines)
    elif separator:
        found = _parted(lines, separator)
    elif sum(1 for block in blocks if block.kind == "heading") > int(_asks(lines)):
        found = _headed(blocks)
    else:
        found = _numbered(lines)
    for one in found:
        if one.question:
            yield _section(one)
        elif one.answer:
            yield Section(one.answer)


def _said(block: Block) -> str:
    return f"{block.marker} {block.text}" if block.marker else block.text


def _labelled(lines: Sequence[Block]) -> Iterator[_Open]:
    now, answering = _Open(), False
    for line in lines:
        question = QUESTION.match(_said(line))
        answer = ANSWER.match(_said(line)) if not question else None
        if question:
            yield _closed(now)
            now, answering = _Open([said_as(line, _said(line)[question.end() :])]), False
        elif answer and not answering and now.question:
            now.answer.append(said_as(line, _said(line)[answer.end() :]))
            answering = True
        elif now.question and not answering:
            now.question.append(line)
        else:
            now.answer.append(line)
    yield _closed(now)


def _closed(now: _Open) -> _Open:
    """A question without a labelled answer ends at its first question mark, or with its first line."""
    if now.answer or len(now.question) < _FEWEST:
        return now
    asked = (n for n, line in enumerate(now.question, 1) if line.text.rstrip().endswith(("?", "？")))
    end = next(asked, 1)
    return _Open(now.question[:end], now.question[end:], now.path)


def _parted(lines: Sequence[Block], separator: str) -> Iterator[_Open]:
    now = _Open()
    for line in lines:
        first, sign, second = line.text.partition(separator)
        if line.kind == "text" and sign and separator not in second and first.strip():
            yield now
            now = _Open([said_as(line, f"{line.marker} {first.strip()}".strip())], [said_as(line, second.strip())])
        else:
            now.answer.append(line)
    yield now


def _headed(blocks: Sequence[Block]) -> Iterator[_Open]:
    """A heading with those above it is a question when text follows; else the headings wait for the next.

    The document's title is no question, but the path of all that follow.
    """
    chain: list[Block] = []
    title = _title(blocks)
    path: list[str] = []
    now = _Open()
    for block in blocks:
        if block is title or block.kind == "title":
            now.answer.append(block)
            path = [block.text.strip()]
            continue
        if block.kind != "heading":
            now.answer.append(block)
            continue
        level = block.level or 1
        waiting = [] if now.answer else now.question
        if (now.question and now.answer) or not _only_title(now.answer, path):
            yield now
        elif waiting and level <= (waiting[-1].level or 1):
            yield _Open([], now.question[-1:])
        chain = [one for one in chain if (one.level or 1) < level] + [block]
        now = _Open(list(chain), path=path)
    if now.question and not now.answer:
        yield _Open([], now.question[-1:])
    else:
        yield now


def _only_title(answer: Sequence[Block], path: Sequence[str]) -> bool:
    """Whether nothing goes before a question but what its path says."""
    return not answer or [block.text.strip() for block in answer] == list(path)


def _title(blocks: Sequence[Block]) -> Block | None:
    """The document's title, which is no question: the first heading, if it is the only one of the highest level."""
    headings = [block for block in blocks if block.kind == "heading"]
    levels = [block.level or 1 for block in headings]
    alone = len(headings) > 1 and levels[0] < min(levels[1:]) and not headings[0].text.rstrip().endswith(("?", "？"))
    return headings[0] if alone else None


def _asks(lines: Sequence[Block]) -> bool:
    """Whether there are numbered questions, so that a single heading is but a title."""
    said = [_said(part) for line in lines for part in _by_number(line)]
    return sum(1 for text in said if _NUMBER.match(text) and _ASKED.match(text)) >= _FEWEST


def _by_number(line: Block) -> Iterator[Block]:
    """A line that begins with a number, parted before each next one: pairs that a parser took for one paragraph."""
    text, places, number = _said(line), [0], 0
    for match in _NUMBER.finditer(text) if line.table is None else ():
        if match.start() == 0:
            number = int(match[1])
        elif number and int(match[1]) == number + 1:
            number += 1
            places.append(match.start())
    if len(places) == 1:
        yield line
        return
    for first, last in pairwise([*places, len(text)]):
        yield said_as(line, text[first:last].strip())


def _asked_and_said(line: Block) -> _Open:
    """A numbered question, and what stands behind its question mark."""
    match = _ASKED.match(_said(line))
    if match is None or not match[2].strip():
        return _Open([line])
    return _Open([said_as(line, match[1])], [said_as(line, match[2].strip())])


def _numbered(lines: Sequence[Block]) -> Iterator[_Open]:
    """Paragraphs that begin with numbers of one kind: the first kind that occurs twice."""
    lines = [part for line in lines for part in _by_number(line)]
    matches: Callable[[str], object] | None = next(
        (one.match for one in _NUMBERED if sum(1 for line in lines if one.match(_said(line))) >= _FEWEST), None
    )
    now = _Open()
    for line in lines:
        if matches is not None and matches(_said(line)) and line.kind in ("text", "list_item", "heading"):
            yield now
            now = _asked_and_said(line)
        else:
            now.answer.append(line)
    yield now


def _section(one: _Open) -> Section:
    question = "\n".join(_said(block) for block in one.question).strip()
    chinese = bool(_CHINESE.search(question))
    asks, says = ("问题：", "回答：") if chinese else ("Question: ", "Answer: ")
    first = msgspec.structs.replace(one.question[0], kind="text", text=asks + _said(one.question[0]), marker="")
    blocks = [first, *(msgspec.structs.replace(block, kind="text") for block in one.question[1:])]
    answer = list(one.answer)
    if answer and answer[0].table is None and answer[0].kind != "code":
        answer[0] = msgspec.structs.replace(answer[0], text=says + _said(answer[0]), marker="")
    return Section(
        [*blocks, *answer],
        one.path,
        again=asks + question,
        together=True,
        kind="text",
        questions=[question] if question else [],
    )
