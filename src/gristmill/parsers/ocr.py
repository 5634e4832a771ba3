"""Text from pictures, by rapidocr: its weights are in its package, so nothing is loaded from a network."""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy

from gristmill.base.errors import GristmillError, PluginError
from gristmill.base.registry import imported
from gristmill.parsers.order import columns_first
from gristmill.parsers.upright import Sides, Slant
from gristmill.ports.document import Block, Box

EXTRA = "reading pictures and scanned pages needs OCR: pip install 'gristmill[ocr]'"
SIDE = 2_000  # pixels: no picture is longer when it is looked at
MOST_PIXELS = 2_900_000  # nor has it more: an A4 page of that length, for which half a gigabyte is enough
LEAST_CONF = 0.5  # what the engine is less sure of is no text
_SURE = 0.9  # what holds no letter and no digit is a stain or a rule, unless the engine is that sure of it
_SMALLEST = 8  # pixels: nobody has written anything in less
_SHORT = 400  # pixels
_THREADS = 1  # a runner reads one document at a time on one core; more cores are for more runners
_CLOSE = 0.9  # of a line's height: what follows at a smaller distance is of the same paragraph
_FULL = 3.0  # of a line's height: a line that ends this far before its paragraph does was ended on purpose
_CJK = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_LEAST_ROOM = (
    512 * 1024 * 1024
)  # bytes: with less, native code ends the process where it should say that there is no more
_NO_MEMORY = ("Failed to allocate", "bad_alloc", "bad allocation", "Insufficient memory")
_LABEL = 60  # characters: a longer line is prose, and a number beside it is of another column
_NUMBER = re.compile(r"(?:[-+(]\s?)?(?:[A-Z]{3}|[$€£¥])?\s?\d[\d.,:/\s-]{0,14}\s?(?:[%)€$£¥]|[A-Z]{3})?")
_NARROW = re.compile(r"(?<=[\u3400-\u9fff）》」”])[,;:?!](?=[\u3400-\u9fff（《「“]|$)")
_WIDE = str.maketrans(",;:?!", "，；：？！")
_BRACKETS = re.compile(r"(?:（(?=[^（）()]{1,40}\))|\((?=[^（）()]{1,40}）))([^（）()]+)[）)]")
_PARTS = {
    "Global.log_level": "critical",
    "Global.text_score": LEAST_CONF,
    "Global.max_side_len": SIDE,
    "EngineConfig.onnxruntime.intra_op_num_threads": _THREADS,
    "EngineConfig.onnxruntime.inter_op_num_threads": _THREADS,
}


@dataclass
class OcrLine:
    """A line of text, with how sure the engine is of it, and where it stands in the picture when that is held upright.

    ``place`` is where it stands in the picture as it is, where that is another place. All in pixels.
    """

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: float  # its height
    conf: float
    place: Sides | None = None
    row: bool = False  # of a table: it keeps its end

    @property
    def sides(self) -> Sides:
        """Left, top, right and bottom in the picture as it is."""
        return self.place or (self.x0, self.y0, self.x1, self.y1)


@dataclass(frozen=True)
class Found:
    """What an engine finds: corners, text and confidence of each line (None: nothing), and whether most stand on their head.

    Corners go around a line from its top left as the picture shows it.
    """

    boxes: Any
    txts: Any
    scores: Any
    flipped: bool = False


def installed() -> bool:
    """Whether the extra ``ocr`` is there. Looks, and imports nothing."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


class Engine:
    """rapidocr, which also says whether what it has read stood on its head: it turns such lines and forgets it."""

    def __init__(self) -> None:
        # OpenCV has a pool of threads of its own, one for each core of the machine.
        imported("cv2").setNumThreads(_THREADS)
        self._rapid = imported("rapidocr").RapidOCR(params={**_PARTS, **_models()})
        self._errors = (imported("rapidocr.inference_engine.onnxruntime.main").ONNXRuntimeError, imported("cv2").error)

    def __call__(self, picture: Any) -> Found:
        """What is written in an array of RGB pixels."""
        with self._named_errors():
            return self._read(picture[:, :, ::-1])  # it is used to the order of OpenCV

    def _read(self, picture: Any) -> Found:
        rapid = self._rapid
        scaled, record = rapid.preprocess_img(picture)
        lines, turns, words, crops = rapid.run_ocr_steps(scaled, record)
        if lines.boxes is None or words.txts is None:
            return Found(None, None, None)
        labels = [label for label, _ in turns.cls_res or ()]
        flipped = sum("180" in label for label in labels) > len(labels) / 2
        found = rapid.build_final_output(picture, lines, turns, words, crops, record)
        return Found(found.boxes, found.txts, found.scores, flipped)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """The engine hides what ended it: a limit of time or memory stays what it is, and anything else is its failure."""
        try:
            yield
        except self._errors as exc:
            if exc.__cause__ is not None and isinstance(exc.__cause__, (GristmillError, MemoryError)):
                raise exc.__cause__ from None
            if any(word in str(exc) for word in _NO_MEMORY):
                raise MemoryError("OCR needs more memory than there is") from exc
            raise PluginError(f"OCR failed ({str(exc).strip().splitlines()[-1][:200]})") from exc


def _models() -> dict[str, str]:
    """The files of the package's models. Without their names rapidocr looks for them, and may write or download."""
    folder = files("rapidocr") / "models"
    found = {}
    for part in ("Det", "Cls", "Rec"):
        names = sorted(file.name for file in folder.iterdir() if fnmatch(file.name, f"*_{part.lower()}_*.onnx"))
        if not names:
            raise PluginError(f"the installed rapidocr brings no model ({part}); {EXTRA}")
        found[f"{part}.model_path"] = str(folder / names[-1])
    return found


@cache
def engine() -> Any:
    """The engine, loaded once in a process: it takes most of a second and some hundred megabytes."""
    return Engine()


def fitting(width: float, height: float) -> float:
    """What a picture has to be scaled by to be looked at within bounds: 1 where it is small enough."""
    return min(1.0, SIDE / max(width, height, 1.0), math.sqrt(MOST_PIXELS / max(width * height, 1.0)))


def read_lines(picture: Any) -> list[OcrLine]:
    """The lines of a picture (an array of RGB pixels) in reading order: columns are read one after the other.

    A picture that lies on its side, stands on its head or is askew is read as if it were held upright.
    """
    height, width = picture.shape[:2]
    if min(height, width) < _SMALLEST:
        return []
    _require_room()
    found = engine()(_padded(picture))
    if found.txts is None or found.boxes is None:
        return []
    corners = [[(float(x), float(y)) for x, y in box] for box in found.boxes]
    slant = Slant.of(corners, found.txts, flipped=found.flipped)
    lines = []
    for box, text, conf in zip(corners, found.txts, found.scores, strict=True):
        if _is_text(text, conf):
            x0, y0, x1, y1 = slant.upright(box)
            lines.append(OcrLine(_punctuated(text.strip()), x0, y0, x1, y1, y1 - y0, float(conf), slant.place(box)))
    return columns_first(_rows(lines))


def _rows(lines: list[OcrLine]) -> list[OcrLine]:
    """Numbers go to what stands before them in their row, so that tables and bills are read row by row, not by columns."""
    rows = [line for line in lines if not _NUMBER.fullmatch(line.text)]
    for number in sorted((line for line in lines if _NUMBER.fullmatch(line.text)), key=lambda line: line.x0):
        before = max((row for row in rows if _is_before(row, number)), key=lambda row: row.x1, default=None)
        if before is None:
            rows.append(number)
        else:
            rows[next(n for n, row in enumerate(rows) if row is before)] = _with(before, number)
    return rows


def _is_before(row: OcrLine, line: OcrLine) -> bool:
    shared = min(row.y1, line.y1) - max(row.y0, line.y0)
    height = min(row.size, line.size)
    labels = row.row or len(row.text) <= _LABEL
    return labels and shared > 0.6 * height and row.x1 < line.x0 + 0.5 * height


def _with(row: OcrLine, line: OcrLine) -> OcrLine:
    """Both as one line; its height is that of the first, for rows are not always level to the pixel."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = row.sides, line.sides
    place = min(x0, u0), min(y0, v0), max(x1, u1), max(y1, v1)
    text, conf = f"{row.text} {line.text}", min(row.conf, line.conf)
    return OcrLine(text, row.x0, row.y0, line.x1, row.y1, row.size, conf, place, row=True)


def _require_room() -> None:
    """Raises MemoryError where a bound of memory leaves too little to look at any picture."""
    bound = resource.getrlimit(resource.RLIMIT_AS)[0]
    if bound == resource.RLIM_INFINITY:
        return
    try:
        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:  # another system: it has to find out by itself
        return
    if bound - taken < _LEAST_ROOM:
        raise MemoryError(f"OCR needs {_LEAST_ROOM} bytes of memory at least, and may take {max(bound - taken, 0)}")


def _is_text(text: str, conf: float) -> bool:
    if conf < LEAST_CONF or not text.strip():
        return False
    return conf >= _SURE or any(character.isalnum() for character in text)


def _punctuated(text: str) -> str:
    """Marks behind Chinese as Chinese has them: the engine takes some of them for the narrow ones, and one of two brackets."""
    text = _NARROW.sub(lambda mark: mark[0].translate(_WIDE), text)
    return _BRACKETS.sub("（\\1）", text)


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
        if paragraph and not (_beside(paragraph[-1], line) or _follows(paragraph[-1], line)):
            yield _block(paragraph, page, scale)
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield _block(paragraph, page, scale)


def _beside(before: OcrLine, line: OcrLine) -> bool:
    """Whether the second is the rest of the first: what stands in one line is not always found as one."""
    height = min(before.size, line.size)
    shared = min(before.y1, line.y1) - max(before.y0, line.y0)
    return shared > 0.6 * height and -0.5 * height < line.x0 - before.x1 < 2 * height


def _follows(before: OcrLine, line: OcrLine) -> bool:
    shared = min(before.x1, line.x1) - max(before.x0, line.x0)
    height = min(before.size, line.size)
    alike = max(before.size, line.size) < 1.5 * height
    return alike and shared > 0 and -0.5 * height < line.y0 - before.y1 < _CLOSE * height


def _block(lines: Sequence[OcrLine], page: int, scale: float) -> Block:
    places = [line.sides for line in lines]
    sides = (min(place[0] for place in places), min(place[1] for place in places),
             max(place[2] for place in places), max(place[3] for place in places))  # fmt: skip
    box = Box(page, *(round(side * scale, 1) for side in sides))
    conf = sum(line.conf for line in lines) / len(lines)
    return Block("text", _joined(lines), boxes=[box], page=page, source="ocr", conf=round(conf, 3))


def _joined(lines: Sequence[OcrLine]) -> str:
    """Running text where lines are full: no blank inside of Chinese. A line that ends early keeps its end."""
    right = max(line.x1 for line in lines)
    text = lines[0].text
    for before, line in pairwise(lines):
        if before.row or line.row or (not _beside(before, line) and before.x1 < right - _FULL * before.size):
            text += "\n"
        elif not (_CJK.match(text[-1]) and _CJK.match(line.text[0])):
            text += " "
        text += line.text
    return text
