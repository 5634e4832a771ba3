"""Pictures as cameras, scanners and programs write them: in any number of colours and bits, with or without a ground."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from PIL import Image

from gristmill.parsers import ocr
from gristmill.parsers.image import ImageParser
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from gristmill.testing.parsers import FakeOcr
from samples import scans

INK = (40, 60, 240, 90)  # where a bar of ink is on the page


def page() -> Image.Image:
    image = Image.new("RGB", (600, 450), "white")
    image.paste((0, 0, 0), INK)
    return image


def on_nothing(ink: int) -> Image.Image:
    image = Image.new("RGBA", page().size, (255 - ink, 0, 0, 0))
    image.paste((ink, ink, ink, 255), INK)
    return image


def deep(most: int, kind: str) -> Image.Image:
    """More than eight bits a pixel, of which not all are used."""
    return Image.fromarray((numpy.asarray(page().convert("L")) / 255 * most).astype(kind))


def written(image: Image.Image, format_: str, **options: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, dpi=(72, 72), **options)
    return buffer.getvalue()


MODES: dict[str, Callable[[], bytes]] = {
    "palette": lambda: written(page().convert("P"), "PNG"),
    "two colours": lambda: written(page().convert("1"), "PNG"),
    "fax": lambda: written(page().convert("1"), "TIFF", compression="group4"),
    "grey with alpha": lambda: written(page().convert("LA"), "PNG"),
    "ink on nothing": lambda: written(on_nothing(0), "PNG"),
    "16 bits": lambda: written(deep(65_535, "uint16"), "PNG"),
    "12 bits of 16": lambda: written(deep(4_095, "uint16"), "TIFF"),
    "floats": lambda: written(deep(1, "float32"), "TIFF"),
    "print colours": lambda: written(page().convert("CMYK"), "JPEG"),
    "Lab": lambda: written(page().convert("LAB"), "TIFF"),
    "packed": lambda: written(page(), "TIFF", compression="tiff_lzw"),
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOcr:
    engine = FakeOcr()
    monkeypatch.setattr(ocr, "engine", lambda: engine)
    return engine


def read(data: bytes) -> ParsedDocument:
    return ImageParser().parse(Source("file", data), ParseLimits())


@pytest.mark.parametrize("mode", MODES)
def test_ink_is_dark_on_a_light_ground_however_it_was_written(fake: FakeOcr, mode: str) -> None:
    text, _ = read(MODES[mode]()).blocks
    assert text.text == fake.words
    box = text.boxes[0]
    assert [box.x0, box.y0, box.x1, box.y1] == pytest.approx(INK, abs=2)


def test_light_ink_on_nothing_was_meant_for_a_dark_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def look(picture: Any) -> list[ocr.OcrLine]:
        seen.append(picture)
        return []

    monkeypatch.setattr(ocr, "read_lines", look)
    read(written(on_nothing(255), "PNG"))
    assert (seen[0][0, 0].tolist(), seen[0][75, 100].tolist()) == ([0, 0, 0], [255, 255, 255])


def test_small_and_inverted_letters_are_read() -> None:
    image = scans.page(("The mill grinds", "slowly but surely"))
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    inverted = Image.eval(image, lambda value: 255 - value)
    for one in (small, inverted):
        assert read(scans.encoded(one)).blocks[0].text == "The mill grinds slowly but surely"
