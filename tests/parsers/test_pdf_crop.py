"""Parts of pages as pictures."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pytest

from gristmill.base.errors import DamagedDocument
from gristmill.parsers.pdf import crop as crops
from gristmill.parsers.pdf.crop import Job, crop, drawn, png
from gristmill.ports.document import Box

CANVAS: Any = pytest.importorskip("reportlab.pdfgen.canvas")
Size = tuple[float, float]


def document(*draw: Callable[[Any], None], size: Size = (200, 100)) -> bytes:
    """A PDF with a page for each, of this size."""
    out = io.BytesIO()
    canvas = CANVAS.Canvas(out, pagesize=size, invariant=1)
    for one in draw:
        one(canvas)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def square(canvas: Any) -> None:
    """Black, 20 points wide, 30 from the left and 10 from the top; the rest is white."""
    canvas.rect(30, 70, 20, 20, stroke=0, fill=1)


def turned(canvas: Any) -> None:
    canvas.setPageRotation(90)
    square(canvas)


def pixels(picture: bytes) -> Any:
    """The grey of a PNG as this module writes it."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    at = picture.index(b"IDAT")
    length = int.from_bytes(picture[at - 4 : at], "big")
    assert int.from_bytes(picture[at + 4 + length : at + 8 + length], "big") == zlib.crc32(
        picture[at : at + 4 + length]
    )
    lines = np.frombuffer(zlib.decompress(picture[at + 4 : at + 4 + length]), dtype=np.uint8)
    return lines.reshape(height, 1 + width * 3)[:, 1::3]


def test_what_the_boxes_of_a_page_frame_is_drawn_with_a_margin() -> None:
    found = pixels(drawn(Job([Box(1, 30, 10, 40, 20), Box(1, 40, 20, 50, 30)], document(square))))
    assert found.shape == (28 * 3, 28 * 3)
    assert found[13:-13, 13:-13].max() == 0
    assert found[:11].min() == found[:, :11].min() == found[-11:].min() == found[:, -11:].min() == 255


def test_pages_stand_one_below_the_other_in_their_order_and_boxes_end_with_the_page() -> None:
    empty = document(square, lambda _: None)
    found = pixels(drawn(Job([Box(2, -50, -50, 900, 900), Box(1, 30, 10, 50, 30)], empty)))
    assert found.shape == (28 * 3 + 300, 600)
    assert found[20:60, 20:60].max() == 0
    assert found[28 * 3 :].min() == 255


def test_a_turned_page_is_drawn_as_it_is_seen() -> None:
    data = document(turned)
    found = pixels(drawn(Job([Box(1, 0, 0, 900, 900)], data)))
    black = np.argwhere(found == 0)
    (top, left), (bottom, right) = black.min(axis=0), black.max(axis=0) + 1
    tight = pixels(drawn(Job([Box(1, left / 3, top / 3, right / 3, bottom / 3)], data)))
    assert tight[13:-13, 13:-13].max() == 0


def test_a_huge_page_is_drawn_smaller() -> None:
    found = pixels(drawn(Job([Box(1, 0, 0, 14_000, 14_000)], document(square, size=(14_000, 14_000)))))
    assert 0.9 * 12_000_000 < found.size <= 1.01 * 12_000_000


def test_only_the_first_pages_are_drawn() -> None:
    pages = document(*[square] * 12)
    found = pixels(drawn(Job([Box(page, 0, 0, 200, 100) for page in range(1, 13)], pages)))
    assert found.shape == (crops.MOST_PAGES * 300, 600)


@pytest.mark.parametrize(
    ("boxes", "data"),
    [([Box(9, 0, 0, 1, 1)], None), ([Box(0, 0, 0, 1, 1)], None), ([Box(1, 500, 0, 600, 9)], None),
     ([Box(1, float("nan"), 0, 1, 1)], None), ([Box(1, 0, 0, 1, 1)], b"no pdf"), ([], None)],
)  # fmt: skip
def test_what_cannot_be_drawn_is_an_error_with_the_documents_name(boxes: list[Box], data: bytes | None) -> None:
    whole = document(square) if data is None else data
    with pytest.raises((ValueError, pdfium.PdfiumError)):
        drawn(Job(boxes, whole))


def test_it_is_drawn_in_a_process_of_its_own_which_says_why_it_could_not() -> None:
    data = document(square)
    box = Box(1, 30, 10, 50, 30)
    assert crop("a.pdf", data, [box]) == drawn(Job([box], data))
    with pytest.raises(DamagedDocument, match=r"a\.pdf: .*no box lies on a page"):
        crop("a.pdf", data, [Box(9, 0, 0, 1, 1)])


def test_it_has_bounds_of_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "SECONDS", 0.001)
    with pytest.raises(DamagedDocument, match=r"a\.pdf: .*within 0.001 seconds"):
        crop("a.pdf", document(square), [Box(1, 0, 0, 9, 9)])


def test_png_is_what_others_read() -> None:
    image: Any = pytest.importorskip("PIL.Image")
    made = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    with image.open(io.BytesIO(png(made))) as opened:
        assert np.array_equal(np.asarray(opened), made)
