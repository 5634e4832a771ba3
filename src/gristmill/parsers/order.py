"""Reading order: the producer's, unless its lines jump about; then columns are cut apart."""

from __future__ import annotations

from typing import Protocol, TypeVar

_DEEPEST = 12
_FEW = 12  # lines, of which one may stand above the last in its column: heads and notes are often written late
_MOST_COLUMNS = 30  # in which the last line is kept in mind
_GUTTER = 0.8  # of a line's height: a wider empty band between lines parts columns
_OCR_GUTTER = 0.3  # the boxes of OCR are wider than what is written in them


class Placed(Protocol):
    """A line with its place on the page: origin top left, ``size`` its height."""

    x0: float
    y0: float
    x1: float
    y1: float
    size: float


Line = TypeVar("Line", bound=Placed)


def ordered(lines: list[Line]) -> list[Line]:
    """The lines as they are read, where a producer has written them in an order of its own."""
    if _jumps(lines) <= max(2, len(lines) // _FEW):
        return lines
    return _cut(lines, 0, _GUTTER)


def _jumps(lines: list[Line]) -> int:
    """How often a line stands above the one that was written last in its column: no reader goes that way."""
    columns: list[Line] = []
    jumps = 0
    for line in lines:
        here = next((n for n, last in enumerate(columns) if _in_column(last, line)), None)
        if here is None:
            columns = [*columns[-_MOST_COLUMNS:], line]
        else:
            jumps += line.y1 < columns[here].y0 - 0.5 * line.size
            columns[here] = line
    return jumps


def columns_first(lines: list[Line]) -> list[Line]:
    """The lines that OCR has found as they are read: nothing is known of their order."""
    return _cut(lines, 0, _OCR_GUTTER)


def _in_column(before: Placed, after: Placed) -> bool:
    shared = min(before.x1, after.x1) - max(before.x0, after.x0)
    return shared > 0.5 * min(before.x1 - before.x0, after.x1 - after.x0)


def _cut(lines: list[Line], depth: int, gutter: float) -> list[Line]:
    """Cut at the widest empty band, across first (a band is worth more than a gutter of the same width), then down."""
    if len(lines) < 2 or depth >= _DEEPEST:
        return sorted(lines, key=lambda line: (round(line.y0), line.x0))
    size = sorted(line.size for line in lines)[len(lines) // 2]
    columns = _groups(lines, gutter * size, [(line.x0, line.x1) for line in lines])
    if len(columns) > 1:
        return [line for column in columns for line in _cut(column, depth + 1, gutter)]
    bands = _groups(lines, 0.2 * size, [(line.y0, line.y1) for line in lines])
    if len(bands) > 1:
        return [line for band in _merged(bands, gutter * size) for line in _cut(band, depth + 1, gutter)]
    return sorted(lines, key=lambda line: (round(line.y0), line.x0))


def _groups(lines: list[Line], gap: float, spans: list[tuple[float, float]]) -> list[list[Line]]:
    """Lines in groups that an empty stretch of more than ``gap`` parts."""
    groups: list[list[Line]] = []
    end = float("-inf")
    for (first, last), line in sorted(zip(spans, lines, strict=True), key=lambda pair: pair[0]):
        if first - end > gap or not groups:
            groups.append([])
        groups[-1].append(line)
        end = max(end, last)
    return groups


def _merged(bands: list[list[Line]], gap: float) -> list[list[Line]]:
    """Neighbouring bands that are cut into columns at the same places belong together, so that a column is read to its end."""
    merged: list[list[Line]] = []
    columns: list[tuple[float, float]] = []
    for band in bands:
        own = _columns([(line.x0, line.x1) for line in band], gap)
        together = _columns([*columns, *own], gap)
        if merged and len(together) > 1:
            merged[-1] += band
            columns = together
        else:
            merged.append(band)
            columns = own
    return merged


def _columns(spans: list[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """From where to where the columns go that these spans are in."""
    columns: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        if columns and first - columns[-1][1] <= gap:
            columns[-1] = (columns[-1][0], max(columns[-1][1], last))
        else:
            columns.append((first, last))
    return columns
