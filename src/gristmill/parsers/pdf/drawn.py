"""What is drawn on a page beside its letters: rules (straight lines along its sides) and pictures."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pypdfium2.raw as pdfium

from gristmill.parsers.pdf.frame import Frame, Sides, bounds

_MOST_OBJECTS = 50_000  # of a page that are looked at
_MOST_CORNERS = 200  # of a path: one with more is no frame of a table
_MOST_RULES = 4_000
_DEEPEST = 4  # forms in each other
_THIN = 3.0  # points: what is thinner is a line
_SHORT = 4.0  # points: what is shorter separates nothing
_IDENTITY = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)

Matrix = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Rule:
    """A line along a side of the page: where it stands across itself, and from where to where it goes."""

    at: float
    first: float
    last: float


@dataclass
class Drawn:
    """Level and upright rules of a page, and its pictures with their places."""

    level: list[Rule] = field(default_factory=list)
    upright: list[Rule] = field(default_factory=list)
    pictures: list[tuple[Any, Sides]] = field(default_factory=list)


def drawn(page: Any, frame: Frame, *, rules: bool = True) -> Drawn:
    """What is drawn on an open page, ``rules`` only where they are wanted. The pictures are objects of pdfium, to be used
    while the page is open."""
    found = Drawn()
    most = _MOST_RULES if rules else 0
    for raw, kind, matrix in _objects(page):
        if kind == pdfium.FPDF_PAGEOBJ_PATH and len(found.level) + len(found.upright) < most:
            for sides in _edges(raw, matrix):
                _add(found, frame.place(*sides))
        elif kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            around = bounds(raw)
            if around is not None:
                found.pictures.append((raw, frame.place(*_moved(around, matrix))))
    return found


def _objects(page: Any) -> Iterator[tuple[Any, int, Matrix]]:
    """The objects of a page and of the forms on it, with the matrix of what holds them."""
    count = min(pdfium.FPDFPage_CountObjects(page.raw), _MOST_OBJECTS)
    left = _MOST_OBJECTS
    waiting = [((pdfium.FPDFPage_GetObject(page.raw, n) for n in range(count)), _IDENTITY)]
    while waiting and left > 0:
        members, matrix = waiting[-1]
        raw = next(members, None)
        if raw is None:
            waiting.pop()
            continue
        left -= 1
        kind = pdfium.FPDFPageObj_GetType(raw)
        if kind == pdfium.FPDF_PAGEOBJ_FORM and len(waiting) < _DEEPEST:
            inner = min(pdfium.FPDFFormObj_CountObjects(raw), left)
            waiting.append(
                ((pdfium.FPDFFormObj_GetObject(raw, n) for n in range(inner)), _product(_matrix(raw), matrix))
            )
        elif kind in (pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_IMAGE):
            yield raw, kind, matrix


def _edges(raw: Any, matrix: Matrix) -> Iterator[Sides]:
    """The straight pieces of a path, as the plane has them: it is a line, a frame, or many of them at once."""
    around = bounds(raw)
    if around is None:
        return
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    if not pdfium.FPDFPath_GetDrawMode(raw, fill, stroke) or not (fill.value or stroke.value):
        return
    left, bottom, right, top = around
    if right - left < _THIN or top - bottom < _THIN:
        yield _moved(around, matrix)
        return
    count = pdfium.FPDFPath_CountSegments(raw)
    if not 2 <= count <= _MOST_CORNERS:
        return
    whole = _product(_matrix(raw), matrix)
    yield from (_spanned(a, b, whole) for a, b in _strokes(raw, count))


def _strokes(raw: Any, count: int) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    x, y = ctypes.c_float(), ctypes.c_float()
    start = last = (0.0, 0.0)
    for number in range(count):
        segment = pdfium.FPDFPath_GetPathSegment(raw, number)
        if not pdfium.FPDFPathSegment_GetPoint(segment, x, y):
            continue
        here = (x.value, y.value)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if kind == pdfium.FPDF_SEGMENT_MOVETO:
            start = here
        elif kind == pdfium.FPDF_SEGMENT_LINETO:
            yield last, here
        last = here
        if pdfium.FPDFPathSegment_GetClose(segment):
            yield here, start
            last = start


def _add(found: Drawn, sides: Sides) -> None:
    x0, y0, x1, y1 = sides
    if y1 - y0 < _THIN and x1 - x0 > _SHORT:
        found.level.append(Rule((y0 + y1) / 2, x0, x1))
    elif x1 - x0 < _THIN and y1 - y0 > _SHORT:
        found.upright.append(Rule((x0 + x1) / 2, y0, y1))


def _matrix(raw: Any) -> Matrix:
    matrix = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(raw, matrix):
        return _IDENTITY
    return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f


def _product(inner: Matrix, outer: Matrix) -> Matrix:
    """What the inner matrix does, and then the outer one."""
    a, b, c, d, e, f = inner
    p, q, r, s, t, u = outer
    return a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u


def _moved(sides: Sides, matrix: Matrix) -> Sides:
    if matrix is _IDENTITY:
        return sides
    left, bottom, right, top = sides
    first = _spanned((left, bottom), (right, top), matrix)
    second = _spanned((left, top), (right, bottom), matrix)
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])


def _spanned(one: tuple[float, float], other: tuple[float, float], matrix: Matrix) -> Sides:
    """The rectangle between two points after a matrix."""
    a, b, c, d, e, f = matrix
    xs = sorted(a * x + c * y + e for x, y in (one, other))
    ys = sorted(b * x + d * y + f for x, y in (one, other))
    return xs[0], ys[0], xs[1], ys[1]
