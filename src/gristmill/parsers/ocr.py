"""Text from pictures, by rapidocr: its weights are in its package, so nothing is loaded from a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy

from gristmill.base.registry import imported
from gristmill.parsers.order import columns_first
from gristmill.ports.document import Block, Box

EXTRA = "reading pictures and scanned pages needs OCR: pip install 'gristmill[ocr]'"
SIDE = 4_000  # pixels: no picture is larger when it is looked at
_SMALLEST = 8  # pixels: nobody has written anything in less
_SHORT = 400  # pixels
_THREADS = 1
_CLOSE = 0.9  # of a line's height: what follows at a smaller distance is of the same paragraph
_PARTS = {
    "Global.log_level": "critical",
    "EngineConfig.onnxruntime.intra_op_num_threads": _THREADS,
    "EngineConfig.onnxruntime.inter_op_num_threads": _THREADS,
}


@dataclass
class OcrLine:
    """A line of text with its place in the picture, in pixels, and how sure the engine is of it."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: float  # its height
    conf: float


def installed() -> bool:
    """Whether the extra ``ocr`` is there. Looks, and imports nothing."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


@cache
def engine() -> Any:
    """The engine, loaded once in a process: it takes most of a second and some hundred megabytes."""
    return imported("rapidocr").RapidOCR(params=_PARTS)


def read_lines(picture: Any) -> list[OcrLine]:
    """The lines of a picture (an array of RGB pixels) in reading order: columns are read one after the other."""
    height, width = picture.shape[:2]
    if min(height, width) < _SMALLEST:
        return []
    found = engine()(_padded(picture))
    if found.txts is None or found.boxes is None:
        return []
    lines = []
    for corners, text, conf in zip(found.boxes, found.txts, found.scores, strict=True):
        xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
        if text.strip():
            lines.append(OcrLine(text, min(xs), min(ys), max(xs), max(ys), max(ys) - min(ys), float(conf)))
    return columns_first(lines)


def _padded(picture: Any) -> Any:
    """With the colour of its corner below and beside it where it is thin: the engine blows up what has a short side."""
    height, width = picture.shape[:2]
    if min(height, width) >= _SHORT:
        return picture
    padded = numpy.empty((max(height, _SHORT), max(width, _SHORT), 3), picture.dtype)
    padded[:] = picture[0, 0]
    padded[:height, :width] = picture
    return padded


def ocr_blocks(lines: Sequence[OcrLine], page: int, scale: float) -> Iterator[Block]:
    """Paragraphs: lines below each other in one column without a gap between. ``scale`` is points in a pixel."""
    paragraph: list[OcrLine] = []
    for line in lines:
        if paragraph and not _follows(paragraph[-1], line):
            yield _block(paragraph, page, scale)
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield _block(paragraph, page, scale)


def _follows(before: OcrLine, line: OcrLine) -> bool:
    shared = min(before.x1, line.x1) - max(before.x0, line.x0)
    height = min(before.size, line.size)
    alike = max(before.size, line.size) < 1.5 * height
    return alike and shared > 0 and -0.5 * height < line.y0 - before.y1 < _CLOSE * height


def _block(lines: Sequence[OcrLine], page: int, scale: float) -> Block:
    sides = (min(line.x0 for line in lines), min(line.y0 for line in lines),
             max(line.x1 for line in lines), max(line.y1 for line in lines))  # fmt: skip
    box = Box(page, *(round(side * scale, 1) for side in sides))
    conf = sum(line.conf for line in lines) / len(lines)
    text = "\n".join(line.text for line in lines)
    return Block("text", text, boxes=[box], page=page, source="ocr", conf=round(conf, 3))
