"""The text in pictures of documents: read where it is wanted, once, and kept beside its picture."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gristmill.base.errors import SettingsError
from gristmill.catalogs.cache import SqlCache
from gristmill.parsers import ocr
from gristmill.parsers.image import ImageParser
from gristmill.pipeline.parser_config import chunk_settings, read_settings
from gristmill.pipeline.pictures import read_pictures
from gristmill.pipeline.settings import IngestSettings
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.document import Asset, Block, Box, ParsedDocument
from gristmill.ports.parser import ParseLimits, ReadSettings
from gristmill.testing.parsers import FakeOcr
from pipeline.home import Home
from samples import packed

WANTED = IngestSettings(embedder="lexical", read=ReadSettings(picture_text=True))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeOcr:
    fake = FakeOcr("gauge at the weir")
    monkeypatch.setattr(ocr, "engine", lambda: fake)
    return fake


def page(*pictures: bytes) -> str:
    tags = [f'<img src="data:image/png;base64,{base64.b64encode(one).decode()}">' for one in pictures]
    return f"<html><body><h1>Mill</h1><p>Before.</p>{''.join(tags)}<p>Behind.</p></body></html>"


@pytest.mark.anyio
async def test_text_in_a_picture_is_found_where_that_is_wanted_and_read_once(home: Home, engine: FakeOcr) -> None:
    path = home.write("mill.html", page(packed.words_png(), packed.words_png()))
    plain = await home.ingest(path, IngestSettings(embedder="lexical"))
    assert not any("gauge" in chunk.content for chunk in home.chunks(plain))
    assert engine.seen == []
    read = await home.ingest(path, WANTED)
    text = "\n".join(chunk.content for chunk in home.chunks(read))
    assert text.count("gauge at the weir") == 1
    assert text.index("Before") < text.index("gauge") < text.index("Behind")
    again = IngestSettings(embedder="lexical", read=WANTED.read, chunk=ChunkSettings(chunk_token_num=16))
    await home.ingest(path, again)
    assert len(engine.seen) == 1


def a_document(*kinds: str) -> ParsedDocument:
    """Figures of one picture each, with captions between them, as the kinds say."""
    blocks: list[Block] = []
    assets: dict[str, Asset] = {}
    for n, kind in enumerate(kinds):
        if kind == "caption":
            blocks.append(Block("caption", f"caption {n}"))
            continue
        data = {"damaged": b"no picture"}.get(kind, packed.picture("x" * (n + 1)))
        side = 16 if kind == "icon" else 0
        assets[f"p{n}"] = Asset(f"p{n}", "image/png", data, width=side, height=side)
        blocks.append(Block("figure", "", asset=f"p{n}", page=n, boxes=[Box(n, 1, 2, 3, 4)]))
    return ParsedDocument("docx", blocks, assets=assets, name="file.docx")


def looked(document: ParsedDocument, folder: Path) -> ParsedDocument:
    cache = SqlCache(folder / "cache.db")
    try:
        return read_pictures(
            document, ImageParser(), ParseLimits(), cache=cache, load=lambda _: b"", report=lambda *_: None
        )
    finally:
        cache.close()


@pytest.mark.parametrize(
    ("kinds", "sources"),
    [
        (["picture"], ["figure", "ocr"]),
        (["picture", "caption", "picture"], ["figure", "caption", "ocr", "figure", "ocr"]),
        (["icon", "picture"], ["figure", "figure", "ocr"]),
        (["damaged", "picture"], ["figure", "figure", "ocr"]),
    ],
)
def test_text_stands_behind_its_picture_and_the_caption_of_it(
    engine: FakeOcr, tmp_path: Path, kinds: list[str], sources: list[str]
) -> None:
    document = looked(a_document(*kinds), tmp_path)
    assert [block.source if block.source == "ocr" else block.kind for block in document.blocks] == sources
    read = next(block for block in document.blocks if block.source == "ocr")
    figure = [block for block in document.blocks if block.kind == "figure"][-1 if kinds[0] != "picture" else 0]
    assert (read.text, read.conf, read.page, read.boxes) == (engine.words, 0.9, figure.page, figure.boxes)
    assert document.warnings == []


def test_without_the_extra_a_document_is_read_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "installed", lambda: False)
    document = looked(a_document("picture", "picture"), tmp_path)
    assert [block.kind for block in document.blocks] == ["figure", "figure"]
    [warning] = document.warnings
    assert "file.docx" in warning
    assert "gristmill[ocr]" in warning


def test_it_is_a_parameter_of_one_document_too() -> None:
    assert read_settings({"picture_text": True}, ReadSettings()).picture_text
    assert not read_settings({"picture_text": False}, ReadSettings(picture_text=True)).picture_text
    assert read_settings({"pages": [[2, 3]]}, ReadSettings(picture_text=True)).picture_text
    assert chunk_settings({"picture_text": True}, ChunkSettings()) == ChunkSettings()
    with pytest.raises(SettingsError, match="picture_text"):
        read_settings({"picture_text": "perhaps"}, ReadSettings())
