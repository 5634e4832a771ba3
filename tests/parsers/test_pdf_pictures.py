"""Pictures on pages of text: kept with their bytes, in reading order, with captions."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy
import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader

from gristmill.base.ids import content_digest
from gristmill.parsers.pdf import PdfParser
from gristmill.parsers.pdf.pictures import png
from gristmill.ports.document import Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples.pdf import HEIGHT, WIDTH, canvas, lines

WORDS = [f"Running words of the page that say what is to be seen, line {n}." for n in range(6)]


def picture(seed: int = 1, side: int = 90, kind: str = "PNG") -> ImageReader:
    noise = numpy.frombuffer(random.Random(seed).randbytes(side * side * 3), numpy.uint8).reshape(side, side, 3)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, kind, quality=80)
    out.seek(0)
    return ImageReader(out)  # type: ignore[no-untyped-call]


def parse(*pages: Any, **limits: int) -> ParsedDocument:
    buffer, page = canvas()
    for draw in pages:
        draw(page)
        page.showPage()
    page.save()
    return PdfParser().parse(Source("a.pdf", buffer.getvalue()), ParseLimits(**limits))


def with_picture(page: Any, side: float = 120, **how: Any) -> None:
    lines(page, ["Before it stands this."], 72, 780)
    page.drawImage(picture(**how), 72, 640, side, side)
    lines(page, ["Figure 3: What a lease is"], 72, 625)
    lines(page, WORDS, 72, 590)


def figures(document: ParsedDocument) -> list[Block]:
    return [block for block in document.blocks if block.kind == "figure"]


def test_a_picture_stands_where_it_is_read_with_its_caption_and_its_bytes() -> None:
    document = parse(with_picture)
    assert [block.kind for block in document.blocks] == ["text", "figure", "caption", "text"]
    (figure,) = figures(document)
    assert document.blocks[2].text == "Figure 3: What a lease is"
    box = figure.boxes[0]
    assert [round(side) for side in (box.x0, box.y0, box.x1, box.y1)] == [
        72,
        round(HEIGHT) - 760,
        192,
        round(HEIGHT) - 640,
    ]
    asset = document.assets[figure.asset]
    assert asset.id == content_digest(asset.data)
    shown = Image.open(io.BytesIO(asset.data))
    assert (asset.mime, shown.size) == ("image/png", (asset.width, asset.height))
    assert numpy.asarray(shown).std() > 30, "noise, not a black square"


def test_a_jpeg_is_kept_as_it_is() -> None:
    document = parse(lambda page: with_picture(page, kind="JPEG"))
    (asset,) = document.assets.values()
    assert asset.mime == "image/jpeg"
    assert Image.open(io.BytesIO(asset.data)).size == (90, 90)


def test_marks_backgrounds_and_logos_are_no_figures() -> None:
    def background(page: Any) -> None:
        page.drawImage(picture(), 0, 0, WIDTH, HEIGHT)
        lines(page, [*WORDS, *WORDS, *WORDS], 72, 780)

    assert figures(parse(lambda page: with_picture(page, side=20))) == []
    assert figures(parse(background)) == []
    logos = parse(*[with_picture] * 5)
    assert (figures(logos), logos.assets) == ([], {})


def test_a_picture_of_too_many_pixels_is_left_alone() -> None:
    assert figures(parse(with_picture, max_pixels=8_000)) == []


def test_a_mention_of_a_figure_is_no_caption() -> None:
    def draw(page: Any) -> None:
        page.drawImage(picture(), 72, 640, 120, 120)
        lines(page, ["Figure 3 shows what a lease is and what it is for."], 72, 620)

    assert [block.kind for block in parse(draw).blocks] == ["figure", "text"]


@pytest.mark.parametrize(("colours", "mode"), [(3, "RGB"), (1, "L")])
def test_pixels_come_back_from_a_png(colours: int, mode: str) -> None:
    """A picture without colours takes a third of the bytes."""
    pixels = numpy.arange(5 * 7 * colours, dtype=numpy.uint8).reshape(5, 7, colours) * 37
    pixels = numpy.broadcast_to(pixels, (5, 7, 3))
    shown = Image.open(io.BytesIO(png(pixels)))
    assert shown.mode == mode
    assert numpy.array_equal(numpy.asarray(shown.convert("RGB")), pixels)
