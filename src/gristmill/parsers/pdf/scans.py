"""Pages that are pictures of text: found, drawn within bounds, and read by OCR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pypdfium2.raw as pdfium

from gristmill.parsers import ocr
from gristmill.parsers.pdf.lines import Line
from gristmill.ports.document import Block

_RESOLUTION = 200.0  # dots of an inch
_INCH = 72.0  # points
_LITTLE = 0.05  # the part of a page that text covers where a picture says the rest
_MOST = 0.5  # the part that such a picture covers
_DEEPEST = 3  # forms in each other that pictures are looked for in
_SAME = 0.5  # of a line's area: so much of it lies on a line that is text already


def is_scan(page: Any, lines: Sequence[Line], width: float, height: float) -> bool:
    """Whether what stands on a page is a picture: there is no text on it, or little, and a picture covers most of it."""
    area = width * height
    if area <= 0 or sum((line.x1 - line.x0) * (line.y1 - line.y0) for line in lines) > _LITTLE * area:
        return False
    if not lines:
        return next(page.get_objects(max_depth=1), None) is not None
    pictures = (one.get_bounds() for one in page.get_objects([pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=_DEEPEST))
    return bool(sum(abs(right - left) * abs(top - bottom) for left, bottom, right, top in pictures) > _MOST * area)


def read_scan(page: Any, number: int, lines: Sequence[Line], width: float, height: float) -> list[Block]:
    """The paragraphs of a page's picture, without the lines that are text on it already."""
    scale = _RESOLUTION / _INCH
    scale *= ocr.fitting(width * scale, height * scale)
    bitmap = page.render(scale=scale, rev_byteorder=True)
    try:
        picture = bitmap.to_numpy()[:, :, :3].copy()
    finally:
        bitmap.close()
    if picture.min() == picture.max():
        return []
    found = [line for line in ocr.read_lines(picture) if not any(_covers(known, line, scale) for known in lines)]
    return list(ocr.ocr_blocks(found, number, 1 / scale))


def _covers(known: Line, line: ocr.OcrLine, scale: float) -> bool:
    x0, y0, x1, y1 = line.sides
    wide = min(known.x1 * scale, x1) - max(known.x0 * scale, x0)
    high = min(known.y1 * scale, y1) - max(known.y0 * scale, y0)
    return min(wide, high) > 0 and wide * high > _SAME * (x1 - x0) * (y1 - y0)
