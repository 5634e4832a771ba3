"""Text in pictures and on scanned pages: read by the engine for real once, and by a fake one for everything around it."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy
import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader

from gristmill.base.errors import (
    DamagedDocument,
    DocumentTooLarge,
    EmptyDocument,
    PluginError,
    SoftTimeLimitExceeded,
)
from gristmill.parsers import ocr
from gristmill.parsers.image import ImageParser
from gristmill.parsers.ocr import OcrLine
from gristmill.parsers.order import columns_first
from gristmill.parsers.pdf import PdfParser
from gristmill.ports.document import ParsedDocument, Range
from gristmill.ports.parser import ParseLimits, Source
from gristmill.testing.parsers import FakeOcr, FakeOcrResult
from samples import packed
from samples.pdf import HEIGHT, PARAGRAPH, WIDTH, canvas, lines


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOcr:
    engine = FakeOcr()
    monkeypatch.setattr(ocr, "engine", lambda: engine)
    return engine


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "installed", lambda: False)


def read(data: bytes, name: str = "file.png", **limits: int) -> ParsedDocument:
    return ImageParser().parse(Source(name, data), ParseLimits(**limits))


def pages_pdf(*pages: tuple[str, bool]) -> bytes:
    """Pages with a text layer, a picture all over them, or both."""
    buffer, page = canvas()
    for words, pictured in pages:
        if pictured:
            picture = Image.open(io.BytesIO(packed.picture("The mill grinds slowly", size=(600, 800))))
            page.drawImage(ImageReader(picture), 0, 0, WIDTH, HEIGHT)  # type: ignore[no-untyped-call]
        lines(page, words.split("\n") if words else [], 72, HEIGHT - 400)
        page.showPage()
    page.save()
    return buffer.getvalue()


def parse_pdf(data: bytes) -> ParsedDocument:
    return PdfParser().parse(Source("scan.pdf", data), ParseLimits())


def test_a_picture_and_a_scanned_page_are_read_by_the_engine_that_comes_with_the_extra() -> None:
    text, picture = read(packed.words_png()).blocks
    assert (text.text, text.source, picture.kind) == ("The mill grinds slowly", "ocr", "figure")
    assert text.conf > 0.8
    buffer, page = canvas()
    page.setPageSize((250, 150))
    scanned = Image.open(io.BytesIO(packed.picture("The mill grinds slowly", size=(500, 300))))
    page.drawImage(ImageReader(scanned), 0, 0, 250, 150)  # type: ignore[no-untyped-call]
    page.showPage()
    page.save()
    document = parse_pdf(buffer.getvalue())
    assert [block.text for block in document.blocks] == ["The mill grinds slowly"]
    assert document.pages[0].source == "ocr"
    box = document.blocks[0].boxes[0]
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((10, 12, 170, 30), abs=8)


def test_a_thin_picture_is_not_blown_up(fake: FakeOcr) -> None:
    [text, _] = read(packed.picture("x", size=(420, 60))).blocks
    assert fake.seen[0][:2] == (400, 420)
    assert text.boxes[0].y1 < 45


def test_a_picture_has_its_words_with_their_place_and_itself(fake: FakeOcr) -> None:
    data = packed.picture("x", size=(400, 100))
    document = read(data)
    text, picture = document.blocks
    assert (document.pages[0].width, document.pages[0].height, document.pages[0].source) == (300.0, 75.0, "ocr")
    assert (text.text, text.conf, text.boxes[0].page) == (fake.words, 0.9, 1)
    assert 15 <= text.boxes[0].x0 < text.boxes[0].x1 < 50
    assert document.assets[picture.asset].data == data
    assert document.assets[picture.asset].mime == "image/png"


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
def test_every_format_of_pictures_is_read(fake: FakeOcr, format_: str) -> None:
    assert read(packed.picture("x", format_=format_)).blocks[0].text == fake.words


def test_each_page_of_a_tif_is_a_page_and_an_animation_is_one_picture(fake: FakeOcr) -> None:
    assert [block.page for block in read(packed.words_tif()).blocks if block.text] == [1, 2]
    frames = [Image.open(io.BytesIO(packed.picture(words))) for words in "ab"]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert [page.number for page in read(buffer.getvalue()).pages] == [1]
    with pytest.raises(DocumentTooLarge, match="max_pages"):
        read(packed.words_tif(), max_pages=1)


def test_a_photo_taken_upright_is_read_upright_and_ink_on_nothing_is_ink_on_white(fake: FakeOcr) -> None:
    picture = Image.open(io.BytesIO(packed.picture("x", size=(500, 410))))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    read(buffer.getvalue())
    clear = Image.new("RGBA", (300, 100), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (10, 10, 20, 20))
    buffer = io.BytesIO()
    clear.save(buffer, "PNG")
    [text, _] = read(buffer.getvalue()).blocks
    assert [shape[:2] for shape in fake.seen] == [(500, 410), (400, 400)]
    assert (text.boxes[0].x0, text.boxes[0].x1) == (7.5, 15.0)


def test_a_large_picture_is_made_smaller_and_its_places_are_those_of_the_large_one(fake: FakeOcr) -> None:
    large = Image.new("L", (8_000, 1_000), 255)
    large.paste(0, (4_000, 500, 6_000, 900))
    buffer = io.BytesIO()
    large.save(buffer, "PNG")
    [text, _] = read(buffer.getvalue()).blocks
    assert fake.seen[0][:2] == (400, 2_000)
    assert text.boxes[0].x0 == pytest.approx(3_000, abs=5)
    assert text.boxes[0].x1 == pytest.approx(4_500, abs=5)


def png(width: int, height: int) -> bytes:
    """A picture whose header says how large it is, and whose data do not."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(5_001))), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (lambda: png(40_000, 40_000), DocumentTooLarge, "max_pixels"),
        (lambda: png(300_000, 300_000), DocumentTooLarge, "max_pixels"),
        (lambda: packed.picture("x")[:200], DamagedDocument, "damaged picture"),
        (lambda: b"GIF89a\x10\0\x10\0noise", DamagedDocument, "damaged picture"),
    ],
    ids=["bomb", "larger bomb", "cut", "noise"],
)
def test_a_picture_that_cannot_be_read_says_why(
    fake: FakeOcr, data: Callable[[], bytes], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        read(data())
    assert "file.png" in str(caught.value)


@pytest.mark.parametrize("size", [(400, 200), (1, 1)])
def test_a_picture_without_words_is_a_figure_of_its_size(fake: FakeOcr, size: tuple[int, int]) -> None:
    document = read(packed.picture("", size=size))
    [block] = document.blocks
    asset = document.assets[block.asset]
    assert (block.kind, block.text, asset.width, asset.height) == ("figure", "", *size)


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_a_picture_names_what_to_install() -> None:
    with pytest.raises(PluginError, match=r"file\.png is a picture.*gristmill\[ocr\]"):
        read(packed.words_png())


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_scanned_pages_leave_a_warning_and_a_scan_is_refused() -> None:
    text = "\n".join(PARAGRAPH)
    document = parse_pdf(pages_pdf((text, False), ("", True), (text, False), ("", True)))
    assert document.warnings == [f"2 pages are scans that were not read (2, 4); {ocr.EXTRA}"]
    assert [page.source for page in document.pages] == ["text", "none", "text", "none"]
    with pytest.raises(EmptyDocument, match=r"scan\.pdf has no text layer.*gristmill\[ocr\]"):
        parse_pdf(pages_pdf(("", True)))


def test_only_pages_that_are_pictures_are_read_by_ocr_and_in_parts_the_same(fake: FakeOcr) -> None:
    text = "\n".join(PARAGRAPH * 12)
    data = pages_pdf((text, False), ("", True), ("A stamp", True), (text, True), ("", False))
    document = parse_pdf(data)
    assert [page.source for page in document.pages] == ["text", "ocr", "mixed", "text", "none"]
    assert len(fake.seen) == 2
    assert [(block.page, block.text) for block in document.blocks if block.source == "ocr"] == [
        (2, fake.words),
        (3, fake.words),
    ]
    assert "A stamp" in [block.text for block in document.blocks if block.page == 3]
    parser, source, limits = PdfParser(), Source("scan.pdf", data), ParseLimits()
    readings = [parser.read(source, limits, Range(n, n + 1)) for n in range(5)]
    assert parser.join("scan.pdf", limits, readings) == document


def test_what_is_text_on_a_page_is_not_read_from_its_picture_again(fake: FakeOcr) -> None:
    buffer, page = canvas()
    picture = Image.new("RGB", (60, 80), "white")
    page.drawImage(ImageReader(picture), 0, 0, WIDTH, HEIGHT)  # type: ignore[no-untyped-call]
    lines(page, ["Only these words"], 72, 400)
    page.showPage()
    page.save()
    document = parse_pdf(buffer.getvalue())
    assert len(fake.seen) == 1
    assert [block.text for block in document.blocks] == ["Only these words"]


def test_a_page_of_any_size_is_drawn_within_bounds(fake: FakeOcr) -> None:
    buffer, page = canvas()
    page.setPageSize((14_000, 100))
    page.rect(50, 20, 5_000, 60, fill=1)
    page.showPage()
    page.save()
    parse_pdf(buffer.getvalue())
    assert max(fake.seen[0]) <= ocr.SIDE + 1


def test_columns_and_what_stands_over_both_are_read_in_order_and_paragraphs_end_at_gaps() -> None:
    placed = [("head", 10, 0, 400)]
    placed += [(f"left {n}", 10, 40 + 20 * n + 30 * (n > 1), 195) for n in range(4)]
    placed += [(f"right {n}", 203, 42 + 20 * n, 400) for n in range(5)]
    shuffled = random.Random(3).sample(placed, len(placed))
    found = columns_first([OcrLine(text, x0, y0, x1, y0 + 16, 16, 1.0) for text, x0, y0, x1 in shuffled])
    blocks = [block.text for block in ocr.ocr_blocks(found, 1, 0.75)]
    assert blocks == ["head", "left 0 left 1", "left 2 left 3", " ".join(f"right {n}" for n in range(5))]


def test_the_engines_order_is_not_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def box(x: int, y: int) -> list[tuple[int, int]]:
        return [(x, y), (x + 150, y), (x + 150, y + 16), (x, y + 16)]

    places = [("right", 220, 10), ("left", 20, 11), ("right on", 220, 30), ("left on", 20, 31)]
    found = FakeOcrResult([box(x, y) for _, x, y in places], tuple(text for text, _, _ in places), (0.9,) * 4)
    monkeypatch.setattr(ocr, "engine", lambda: lambda picture: found)
    assert [block.text for block in read(packed.words_png()).blocks] == ["left left on", "right right on", ""]


@pytest.mark.parametrize(
    ("raised", "becomes", "said"),
    [
        (MemoryError(), MemoryError, None),
        (SoftTimeLimitExceeded("one second"), SoftTimeLimitExceeded, "one second"),
        (RuntimeError("Failed to allocate memory for requested buffer"), MemoryError, "OCR"),
        (RuntimeError("the model is not one"), PluginError, "OCR failed.*the model is not one"),
    ],
    ids=["memory", "time", "memory of native code", "anything else"],
)
def test_a_limit_that_ends_the_engine_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, becomes: type[Exception], said: str | None
) -> None:
    """The engine wraps whatever is raised within its sessions, also by the signal of a time limit."""

    def run(*_: object) -> None:
        raise raised

    engine = ocr.Engine()
    monkeypatch.setattr(engine._rapid._load_det_model().session, "session", FakeSession(run))
    with pytest.raises(becomes, match=said):
        engine(numpy.zeros((400, 400, 3), numpy.uint8))


class FakeSession:
    """Of onnxruntime."""

    def __init__(self, run: Callable[..., None]) -> None:
        self.run = run

    def get_inputs(self) -> list[object]:
        return []

    get_outputs = get_inputs
