"""Where a text may be cut. Pure; the pieces put together are the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

from gristmill.ports.chunker import TokenCount

Cutter = Callable[[str], list[str]]

_SENTENCES = re.compile(r"(?<=[.!?;。！？；…])(?=\s|[\u3000-\u9fff\uff00-\uffef])")
_BLANKS = re.compile(r"(?<=\s)(?=\S)")
_QUOTED = re.compile(r"`([^`]+)`")
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
_MOST_CLUSTER = 64  # characters looked at for a place that parts no grapheme


def pieces(text: str, limit: int, delimiter: str, count: TokenCount) -> list[tuple[str, int]]:
    """The text in pieces of at most ``limit`` tokens, cut at delimiters, else sentences, else blanks, else characters."""
    return _cut(text, limit, _cutters(delimiter), count)


def tail(text: str, tokens: int, count: TokenCount) -> str:
    """The end of a text of at most ``tokens`` tokens, from the beginning of a sentence or word on."""
    for pattern in (_SENTENCES, _BLANKS):
        taken, used = "", 0
        for piece in reversed(_split(pattern, text)):
            used += count(piece)
            if used > tokens:
                break
            taken = piece + taken
        if taken.strip():
            return taken.strip()
    return ""


def _cut(text: str, limit: int, cutters: Sequence[Cutter], count: TokenCount) -> list[tuple[str, int]]:
    size = count(text)
    if size <= limit or len(text) <= 1:
        return [(text, size)]
    if not cutters:
        return [piece for half in _halves(text) for piece in _cut(half, limit, cutters, count)] if len(text) > 1 else []
    found = cutters[0](text)
    if len(found) == 1:
        return _cut(text, limit, cutters[1:], count)
    small = [piece for one in found for piece in _cut(one, limit, cutters[1:], count)]
    return _merged(small, limit, count)


def _merged(found: Sequence[tuple[str, int]], limit: int, count: TokenCount) -> list[tuple[str, int]]:
    """Neighbours together as long as they fit."""
    groups: list[list[tuple[str, int]]] = []
    size = limit
    for piece in found:
        if not groups or size + piece[1] > limit:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += piece[1]
    return [group[0] if len(group) == 1 else _joined(group, count) for group in groups]


def _joined(group: Sequence[tuple[str, int]], count: TokenCount) -> tuple[str, int]:
    text = "".join(piece for piece, _ in group)
    return text, count(text)


@cache
def _cutters(delimiter: str) -> tuple[Cutter, ...]:
    """From the kindest cut to the crudest but one."""
    quoted = _QUOTED.findall(delimiter)
    single = _QUOTED.sub("", delimiter)
    words = sorted({*quoted, *single}, key=len, reverse=True)
    cutters: list[Cutter] = []
    if words:
        pattern = re.compile("|".join(map(re.escape, words)))
        cutters.append(lambda text: _after(pattern, text))
    cutters += [lambda text: _split(_SENTENCES, text), lambda text: _split(_BLANKS, text)]
    return tuple(cutters)


def _after(pattern: re.Pattern[str], text: str) -> list[str]:
    """Cut behind every match."""
    ends = [match.end() for match in pattern.finditer(text)]
    return _at(text, ends)


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    return _at(text, [match.start() for match in pattern.finditer(text)])


def _at(text: str, places: Sequence[int]) -> list[str]:
    edges = [0, *(place for place in places if 0 < place < len(text)), len(text)]
    return [text[first:last] for first, last in pairwise(edges) if first < last]


def _halves(text: str) -> tuple[str, str]:
    """Two halves, cut so that no letter loses its marks."""
    middle = len(text) // 2
    for at in range(middle, min(len(text), middle + _MOST_CLUSTER)):
        if not unicodedata.combining(text[at]) and text[at] not in _JOINERS and text[at - 1] != "\u200d":
            return text[:at], text[at:]
    return text[:middle], text[middle:]
