"""Where a text may be cut. Pure; the pieces put together are the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise

from gristmill.ports.chunker import TokenCount

Cutter = Callable[[str], list[str]]

_SENTENCES = re.compile(r"(?<=[.!?;。！？；…])(?=\s|[\u3000-\u9fff\uff00-\uffef])")
_ENDS = frozenset(".!?;。！？；…")
_BLANKS = re.compile(r"(?<=\s)(?=\S)")
_QUOTED = re.compile(r"`([^`]+)`")
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
_MOST_CLUSTER = 64  # characters looked at for a place that parts no grapheme


def pieces(text: str, limit: int, delimiter: str, count: TokenCount) -> list[tuple[str, int]]:
    """The text in pieces of at most ``limit`` tokens, cut at delimiters, else sentences, else blanks, else characters."""
    return _cut(text, limit, _cutters(delimiter), count)


def after(text: str, delimiter: str) -> list[str]:
    """The text cut behind each delimiter (the syntax of ``ChunkSettings``)."""
    found = _delimiters(delimiter)
    return _after(found, text) if found else [text]


def quoted(delimiter: str) -> str:
    """Those of the delimiters that are quoted: "" where none is."""
    return "".join(f"`{word}`" for word in _QUOTED.findall(delimiter))


def head(text: str, tokens: int, count: TokenCount) -> str:
    """The beginning of a text of at most ``tokens`` tokens, up to the end of a sentence or word."""
    for pattern in (_SENTENCES, _BLANKS):
        taken, used = "", 0
        for piece in _split(pattern, text):
            used += count(piece)
            if used > tokens:
                break
            taken += piece
        if taken.strip():
            return taken.rstrip()
    return ""


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
            return taken.lstrip()
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
    return list(grouped(small, limit, count))


def grouped(
    found: Sequence[tuple[str, int]], limit: int, count: TokenCount, *, joint: str = "", head: str = ""
) -> Iterator[tuple[str, int]]:
    """Neighbours together as long as they fit, each group below the same head."""
    first = 0
    top = count(head) + 1 if head else 0
    while first < len(found):
        last, size = first + 1, top + found[first][1]
        while last < len(found) and size + found[last][1] + len(joint) <= limit:
            size += found[last][1] + len(joint)
            last += 1
        if last - first == 1 and not head:
            yield found[first]
        else:
            group = [piece for piece, _ in found[first:last]]
            text, tokens = _fitting(group, limit, count, joint, head)
            last = first + len(group)
            yield text, tokens
        first = last


def _fitting(group: list[str], limit: int, count: TokenCount, joint: str, head: str) -> tuple[str, int]:
    """The text of a group, shortened until it fits: a text may have more tokens than its parts."""
    while True:
        text = joint.join([head, *group] if head else group)
        tokens = count(text)
        if tokens <= limit or (len(group) == 1 and not head):
            return text, tokens
        if len(group) > 1:
            group.pop()
        else:
            head = ""


@cache
def _cutters(delimiter: str) -> tuple[Cutter, ...]:
    """From the kindest cut to the crudest but one: quoted words, lines, single signs, sentences, blanks.

    Several signs that end sentences mean sentences, so those go in one step.
    """
    signs = set(_QUOTED.sub("", delimiter)) - {"\n"}
    if len(signs) > 1 and signs <= _ENDS:
        signs = set()
    levels = [quoted(delimiter), "\n" if "\n" in _QUOTED.sub("", delimiter) else "", "".join(sorted(signs))]
    cutters = [partial(after, delimiter=level) for level in levels if level]
    return (*cutters, partial(_split, _SENTENCES), partial(_split, _BLANKS))


@cache
def _delimiters(delimiter: str) -> re.Pattern[str] | None:
    """What matches any of the delimiters, the longest first."""
    words = sorted({*_QUOTED.findall(delimiter), *_QUOTED.sub("", delimiter)}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words))) if words else None


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
