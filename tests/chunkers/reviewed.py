"""Documents with the chunks that each method makes of them, reviewed by eye.

``python -m chunkers.reviewed`` (in ``tests``) writes the expected files anew: read the difference before you keep it.
"""

from __future__ import annotations

import io
from pathlib import Path

from gristmill.chunkers import CHUNKERS
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.document import Asset, Block, Box, Chunk, Kind, Page, ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from gristmill.testing.chunkers import count_pieces, table
from samples.written import heard, read_picture, written

FOLDER = Path(__file__).parent.parent / "samples" / "methods"
LIMIT = 280


def _block(kind: Kind, text: str, page: int, **more: object) -> Block:
    return Block(kind, text, page=page, boxes=[Box(page, 40, 40, 600, 90)], **more)  # type: ignore[arg-type]


def _slides() -> ParsedDocument:
    blocks = [
        _block("heading", "The weir", 1, level=1),
        _block("list_item", "built in 1740", 1, level=1),
        _block("list_item", "oak, then stone", 1, level=2),
        _block("heading", "Water by month", 2, level=1),
        _block("table", "", 2, table=table([["month", "litres"], ["May", "900"], ["June", "400"]])),
        Block("text", "Say why June is dry.", page=2, attrs={"part": "notes"}),
        _block("figure", "", 3, asset="p1"),
        _block("text", "The wheel at night", 3),
    ]
    return ParsedDocument("pptx", blocks, [Page(n, 960, 540) for n in (1, 2, 3)], name="weir.pptx")


def _scan() -> ParsedDocument:
    blocks = [
        _block("figure", "", 1, asset="p1"),
        _block("text", "MILL CLOSED", 1, source="ocr"),
        _block("text", "back at six", 1, source="ocr"),
    ]
    return ParsedDocument(
        "image", blocks, [Page(1, 640, 480)], assets={"p1": Asset("p1", "image/png", b"")}, name="sign.png"
    )


def _album() -> ParsedDocument:
    asset = Asset("p2", "image/jpeg", b"", "wheel.jpg", 800, 600)
    blocks = [
        _block("text", "Two pictures of the wheel.", 1),
        _block("figure", "", 1, asset="p1"),
        _block("caption", "Figure 1: the wheel in spring", 1),
        _block("text", "The second was taken at night.", 2),
        _block("figure", "", 2, asset="p2"),
    ]
    return ParsedDocument("pdf", blocks, [Page(1), Page(2)], assets={"p2": asset}, name="album.pdf")


def _speech() -> ParsedDocument:
    said = ["Good evening, this is the mill.", "The pond is full. " * 12, "We begin at ten. " * 12, "Good night."]
    blocks = [Block("speech", text.strip(), time=(n * 31.0, n * 31.0 + 30.5)) for n, text in enumerate(said)]
    return ParsedDocument("audio", blocks, name="evening.wav")


MADE = {
    "presentation.pptx": _slides(),
    "picture.png": _scan(),
    "picture_album.pdf": _album(),
    "audio.wav": _speech(),
}


def names() -> list[str]:
    """The samples: a method's name, and what the sample is about."""
    files = (path.name for path in FOLDER.iterdir() if path.suffix != ".expected" and path.name != "README.md")
    return sorted([*MADE, *files])


def method_of(name: str) -> str:
    """The method that a sample is for."""
    return next(method for method in sorted(CHUNKERS.builtin, key=len, reverse=True) if name.startswith(method))


def document(name: str) -> ParsedDocument:
    """A sample as its parser reads it."""
    if name in MADE:
        return MADE[name]
    data = (FOLDER / name).read_bytes()
    made = name.removesuffix(".md")
    if made.endswith((".docx", ".pptx", ".xlsx", ".pdf")):
        name, data = made, written(made, data.decode())
    elif made.endswith(".ocr"):
        return read_picture(made.replace(".ocr", ".png"), data.decode())
    elif made.endswith(".speech"):
        return heard(made.replace(".speech", ".wav"), data.decode())
    return PARSERS.load(detect(name, io.BytesIO(data)))().parse(Source(name, data), ParseLimits())


def shown(name: str) -> str:
    """The chunks of a sample, to be read."""
    settings = ChunkSettings(chunk_token_num=LIMIT)
    found = CHUNKERS.load(method_of(name))().chunk(document(name), settings, count_pieces)
    return "\n\n".join(map(_shown, found)) + "\n"


def _shown(chunk: Chunk) -> str:
    facts = [chunk.kind, f"path: {' > '.join(chunk.path)}" if chunk.path else ""]
    facts += [f"pages: {chunk.pages}" if chunk.pages else "", f"picture: {chunk.asset}" if chunk.asset else ""]
    facts += [f"{label}: {', '.join(getattr(chunk, label))}" for label in ("keywords", "tags") if getattr(chunk, label)]
    return f"=== {' | '.join(filter(None, facts))}\n{chunk.text}"


def expected(name: str) -> Path:
    """Where the reviewed chunks of a sample are."""
    return FOLDER / f"{name}.expected"


if __name__ == "__main__":
    for one in names():
        expected(one).write_text(shown(one), encoding="utf-8")
