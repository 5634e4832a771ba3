"""Where the words of a question stand in a text. Pure."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from gristmill.search.tokens import Kind, forms, normalise, words

Span = tuple[int, int]


def matches(text: str, terms: Iterable[str]) -> list[Span]:
    """Half-open ranges of characters of ``text`` that match a term, in order, without overlap."""
    folded, origin = _fold(text)
    wanted = frozenset(terms)
    spans = (
        (origin[first][0], origin[last - 1][1])
        for kind, start, run in words(folded)
        for first, last in _within(kind, start, run, wanted)
    )
    return _join(sorted(spans))


def mark(text: str, spans: Sequence[Span], *, before: str = "<mark>", after: str = "</mark>") -> str:
    """The text as HTML, escaped, with the ranges marked. Safe to show whatever the text holds."""
    pieces: list[str] = []
    end = 0
    for first, last in spans:
        pieces += [html.escape(text[end:first]), before, html.escape(text[first:last]), after]
        end = last
    pieces.append(html.escape(text[end:]))
    return "".join(pieces)


def _fold(text: str) -> tuple[str, list[Span]]:
    """The text normalised, and for each character of that the range of the text it came from."""
    folded: list[str] = []
    origin: list[Span] = []
    for first, last in _clusters(text):
        piece = normalise(text[first:last])
        folded.append(piece)
        origin.extend([(first, last)] * len(piece))
    return "".join(folded), origin


def _clusters(text: str) -> Iterator[Span]:
    """Characters together with the combining marks behind them: normalisation composes those."""
    first = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not unicodedata.combining(text[at]):
            yield first, at
            first = at


def _within(kind: Kind, start: int, run: str, wanted: frozenset[str]) -> Iterator[Span]:
    """The ranges inside of one run: a word matches as a whole, scripts without spaces anywhere."""
    if kind == "word":
        if not wanted.isdisjoint(forms(kind, run)):
            yield start, start + len(run)
        return
    for term in wanted:
        at = run.find(term)
        while at >= 0:
            yield start + at, start + at + len(term)
            at = run.find(term, at + 1)


def _join(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for first, last in spans:
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
