"""Pictures: the text in them, by OCR."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy
from PIL import Image, ImageOps, ImageSequence, ImageStat, UnidentifiedImageError

from gristmill.base.errors import DamagedDocument, PluginError
from gristmill.base.ids import content_digest
from gristmill.parsers import ocr
from gristmill.parsers.bounds import Blocks, check_size, too_large
from gristmill.ports.document import Asset, Block, Box, Page, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

_FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")
_PAGED = "TIFF"  # the one format whose further pictures are pages; those of others are animations
_POINTS = 72.0  # of an inch
_RESOLUTION = 96.0  # pixels of an inch, where the picture does not say
_LIGHT = 200  # of 255: ink that is lighter than this was meant for a dark ground
_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
           struct.error)  # fmt: skip


class ImageParser(Parser):
    """The lines of a picture as paragraphs with their places, in reading order; each page of a TIFF file. And the picture.

    A picture without text in it is a figure alone: the pipeline has a model describe it, or refuses it.
    """

    name: ClassVar[str] = "image"
    version: ClassVar[int] = 7

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        blocks = Blocks(source.name, limits)
        pages: list[Page] = []
        with _opened(source, limits) as picture:
            width, height = picture.size
            mime = Image.MIME.get(picture.format or "", "application/octet-stream")
            for number, frame in enumerate(_frames(picture, source.name, limits), 1):
                scale = _points(picture)
                pages.append(Page(number, round(frame.width * scale, 1), round(frame.height * scale, 1), source="ocr"))
                blocks.add_all(_read(frame, number, scale))
        key = content_digest(source.data)
        sides = Box(1, 0.0, 0.0, pages[0].width, pages[0].height)
        blocks.add(Block("figure", "", boxes=[sides], page=1, asset=key))
        asset = Asset(key, mime, source.data, name=source.name, width=width, height=height)
        return ParsedDocument(
            "image", blocks, pages, assets={key: asset}, parser=f"image/{self.version}", name=source.name
        )


@contextmanager
def _opened(source: Source, limits: ParseLimits) -> Iterator[Any]:
    """The picture, its pixels not looked at yet. Errors of its bytes are DamagedDocument, also while it is read."""
    if not ocr.installed():
        raise PluginError(f"{source.name} is a picture; {ocr.EXTRA}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, on its own doubts; our bound on pixels is below
            with Image.open(io.BytesIO(source.data), formats=_FORMATS) as picture:
                yield picture
    except Image.DecompressionBombError as exc:
        found = f"more than {limits.max_pixels}"
        raise too_large(source.name, "pixels", found, limits.max_pixels, "max_pixels") from exc
    except _ERRORS as exc:
        why = "nothing in it is known" if isinstance(exc, UnidentifiedImageError) else f"{type(exc).__name__}: {exc}"
        raise DamagedDocument(f"{source.name} is a damaged picture ({why}). Save or scan it again.") from exc


def _frames(picture: Any, name: str, limits: ParseLimits) -> Iterator[Any]:
    """The pictures to read, upright, in three colours, none larger than OCR looks at."""
    for number, frame in enumerate(ImageSequence.Iterator(picture), 1):
        pixels = frame.width * frame.height
        if pixels > limits.max_pixels:
            raise too_large(name, "pixels", pixels, limits.max_pixels, "max_pixels")
        if number > limits.max_pages:
            raise too_large(name, "pages", f"more than {limits.max_pages}", limits.max_pages, "max_pages")
        yield _flat(ImageOps.exif_transpose(frame))
        if picture.format != _PAGED:
            return


def _flat(frame: Any) -> Any:
    """In three colours of eight bits. What is transparent lies on white, light ink on black."""
    if frame.mode.startswith(("I", "F")):
        return _eight_bits(frame).convert("RGB")
    if frame.mode not in ("RGBA", "LA", "PA") and "transparency" not in frame.info:
        return frame.convert("RGB")
    frame = frame.convert("RGBA")
    seen = frame.getchannel("A")
    ink = ImageStat.Stat(frame.convert("L"), seen)
    ground = "black" if ink.count[0] and ink.mean[0] > _LIGHT and seen.getextrema()[0] == 0 else "white"
    return Image.alpha_composite(Image.new("RGBA", frame.size, ground), frame).convert("RGB")


def _eight_bits(frame: Any) -> Any:
    """Of a picture with more bits for each pixel, from its darkest to its lightest: Pillow takes all above 255 for white."""
    values = numpy.nan_to_num(numpy.asarray(frame, dtype=numpy.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    low = min(low, 0.0)
    return Image.fromarray(((values - low) * (255.0 / max(high - low, 1.0))).astype(numpy.uint8))


def _read(frame: Any, number: int, scale: float) -> Iterator[Block]:
    shrunk = ocr.fitting(*frame.size)
    if shrunk < 1.0:
        frame = frame.resize(
            [max(1, round(side * shrunk)) for side in frame.size], Image.Resampling.BICUBIC, reducing_gap=2.0
        )
    yield from ocr.ocr_blocks(ocr.read_lines(numpy.asarray(frame)), number, scale / shrunk)


def _points(picture: Any) -> float:
    """Points in a pixel."""
    dpi = picture.info.get("dpi", (0, 0))[0]
    return _POINTS / float(dpi) if 10 < dpi < 10_000 else _POINTS / _RESOLUTION
