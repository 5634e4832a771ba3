"""Pictures on pages of text: found, put among the lines, and kept as JPEG or PNG."""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy
import pypdfium2.raw as pdfium

from gristmill.base.ids import content_digest
from gristmill.parsers.pdf.frame import Sides
from gristmill.parsers.pdf.lines import Line
from gristmill.ports.document import Asset, Block, Box

_SMALLEST = 40.0  # points: smaller ones are marks, logos and rules
_LEAST = 0.01  # the part of a page that a picture covers
_MOST = 0.6  # a larger one is the page's background, or a scan of it
_FEWEST_PIXELS = 32
_MOST_ON_PAGE = 20
_MOST_BYTES = 8 << 20  # of a picture as it stands in the document
_RESOLUTION = 150 / 72  # pixels in a point, where a picture is drawn anew
_LONGEST = 1_500  # pixels of a side, then
_JPEG = "DCTDecode"  # a JPEG file as it is
_LETTERS = frozenset(("ASCII85Decode", "ASCIIHexDecode"))  # bytes as letters: never fewer than they stand for
_PLAIN = (8, 24)  # bits of a pixel: grey, or red, green and blue


def pictures(
    page: Any, placed: Sequence[tuple[Any, Sides]], size: tuple[float, float], pixels: int
) -> Iterator[tuple[Sides, Asset]]:
    """The pictures of an open page that say something, with where they stand, the larger ones first, as many as are kept.

    No picture of more than so many ``pixels`` is decoded, nor a page drawn that has one.
    """
    width, height = size
    counts = [_pixels(raw) for raw, _ in placed]
    harmless = sum(wide * high for wide, high in counts) <= pixels
    wanted = [
        (raw, _cut(sides, width, height))
        for (raw, sides), (wide, high) in zip(placed, counts, strict=True)
        if min(wide, high) >= _FEWEST_PIXELS and wide * high <= pixels
    ]
    wanted = [one for one in wanted if _says_something(one[1], width * height)]
    wanted.sort(key=lambda one: -_area(one[1]))
    for raw, sides in _apart(wanted)[:_MOST_ON_PAGE]:
        asset = _as_it_is(page, raw) or (_drawn(page, sides, size) if harmless else None)
        if asset is not None:
            yield sides, asset


def place(found: Sequence[tuple[Sides, Asset]], lines: Sequence[Line], page: int) -> dict[int, list[Block]]:
    """Blocks for pictures, by the number of the line that they stand before: behind what stands above them in their column."""
    places: dict[int, list[Block]] = {}
    for sides, asset in sorted(found, key=lambda one: (one[0][1], one[0][0])):
        box = Box(page, *(round(side, 1) for side in sides))
        block = Block("figure", "", boxes=[box], page=page, asset=asset.id)
        places.setdefault(_before(sides, lines), []).append(block)
    return places


def _before(sides: Sides, lines: Sequence[Line]) -> int:
    x0, y0, x1, _ = sides
    column = [(n, line) for n, line in enumerate(lines) if min(line.x1, x1) > max(line.x0, x0)]
    middle = y0 + _SMALLEST / 4
    above = [n for n, line in column if (line.y0 + line.y1) / 2 <= middle]
    if above:
        return max(above, key=lambda n: lines[n].y1) + 1
    below = [n for n, _ in column]
    return min(below) if below else sum((line.y0 + line.y1) / 2 <= y0 for line in lines)


def _pixels(raw: Any) -> tuple[int, int]:
    wide, high = ctypes.c_uint(), ctypes.c_uint()
    if not pdfium.FPDFImageObj_GetImagePixelSize(raw, wide, high):
        return 0, 0
    return wide.value, high.value


def _cut(sides: Sides, width: float, height: float) -> Sides:
    return max(0.0, sides[0]), max(0.0, sides[1]), min(width, sides[2]), min(height, sides[3])


def _area(sides: Sides) -> float:
    return max(0.0, sides[2] - sides[0]) * max(0.0, sides[3] - sides[1])


def _says_something(sides: Sides, area: float) -> bool:
    if min(sides[2] - sides[0], sides[3] - sides[1]) < _SMALLEST:
        return False
    return _LEAST * area <= _area(sides) <= _MOST * area


def _apart(wanted: Sequence[tuple[Any, Sides]]) -> list[tuple[Any, Sides]]:
    """Without those that lie on a larger one: the layers of one picture."""
    kept: list[tuple[Any, Sides]] = []
    for raw, sides in wanted:
        if len(kept) >= _MOST_ON_PAGE:
            break
        if not any(_shared(sides, other) > _area(sides) / 2 for _, other in kept):
            kept.append((raw, sides))
    return kept


def _shared(one: Sides, other: Sides) -> float:
    return _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def _as_it_is(page: Any, raw: Any) -> Asset | None:
    """The JPEG file in the document, where the picture is one that any program shows."""
    *before, last = _filters(raw) or ("",)
    if last != _JPEG or not _LETTERS.issuperset(before):
        return None
    about = pdfium.FPDF_IMAGEOBJ_METADATA()
    if not pdfium.FPDFImageObj_GetImageMetadata(raw, page.raw, about) or about.bits_per_pixel not in _PLAIN:
        return None
    size = pdfium.FPDFImageObj_GetImageDataDecoded(raw, None, 0)
    if not 0 < size <= _MOST_BYTES:
        return None
    buffer = ctypes.create_string_buffer(size)
    pdfium.FPDFImageObj_GetImageDataDecoded(raw, buffer, size)
    return Asset(content_digest(buffer.raw), "image/jpeg", buffer.raw, width=about.width, height=about.height)


def _filters(raw: Any) -> tuple[str, ...]:
    names = []
    for number in range(min(4, pdfium.FPDFImageObj_GetImageFilterCount(raw))):
        buffer = ctypes.create_string_buffer(64)
        size = pdfium.FPDFImageObj_GetImageFilter(raw, number, buffer, len(buffer))
        names.append(buffer.raw[: max(0, size - 1)].decode("ascii", "replace"))
    return tuple(names)


def _drawn(page: Any, sides: Sides, size: tuple[float, float]) -> Asset:
    """The piece of the page that a picture covers, as a reader sees it."""
    wide, high = sides[2] - sides[0], sides[3] - sides[1]
    scale = min(_RESOLUTION, _LONGEST / max(wide, high))
    crop = (sides[0], size[1] - sides[3], size[0] - sides[2], sides[1])
    bitmap = page.render(scale=scale, crop=crop, rev_byteorder=True)
    try:
        picture = bitmap.to_numpy()[:, :, :3].copy()
    finally:
        bitmap.close()
    data = png(picture)
    return Asset(content_digest(data), "image/png", data, width=picture.shape[1], height=picture.shape[0])


def png(picture: Any) -> bytes:
    """An array of RGB pixels as a PNG file, a grey one where no pixel has a colour."""
    height, width = picture.shape[:2]
    grey = bool((picture == picture[:, :, :1]).all())
    rows = picture[:, :, 0] if grey else picture.reshape(height, width * 3)
    up = rows.copy()
    up[1:] -= rows[:-1]  # each row as what it differs from the one above: that is what packs well
    kinds = numpy.full((height, 1), 2, numpy.uint8)
    body = zlib.compress(numpy.hstack([kinds, up]).tobytes(), 1)  # a hundredth larger, in a third of the time
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if grey else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _piece(b"IHDR", head) + _piece(b"IDAT", body) + _piece(b"IEND", b"")


def _piece(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
