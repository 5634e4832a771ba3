"""The contract of chunkers: subclass it in a test module, give it a ``chunker`` fixture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from gristmill.base.errors import SettingsError
from gristmill.ports.chunker import Chunker, ChunkSettings
from gristmill.ports.document import Block, Box, Cell, Chunk, ParsedDocument, Table, encode_parsed

_PIECES = re.compile(r"\s+|[^\W_]{1,4}|.", re.S)
_WORDS = re.compile(r"[^\W_]+")
LIMITS = (16, 64, 512)


def count_pieces(text: str) -> int:
    """A token count that needs no tables: pieces of words of up to four letters, runs of blanks, other characters."""
    return len(_PIECES.findall(text))


def squeezed(text: str) -> str:
    """The text without its white space: what must not get lost."""
    return "".join(text.split())


def table(rows: Sequence[Sequence[str]], *, header_rows: int = 1, caption: str = "") -> Table:
    """A table of these values."""
    cells = [Cell(text, r, c, header=r < header_rows) for r, row in enumerate(rows) for c, text in enumerate(row)]
    return Table(len(rows), max(map(len, rows), default=0), cells, header_rows, caption)


def varied_document() -> ParsedDocument:
    """A document with every kind of block that parsers of text make, on three pages, with an attachment."""
    sentence = "The lease of task {n} is extended every ten seconds, or the task goes to somebody else. "
    boxes = [Box(1, 72, 100, 540, 130), Box(2, 72, 72, 540, 90)]
    code = "\n".join(f"def step_{n}(x: int) -> int:\n    return x + {n}" for n in range(12))
    blocks = [
        Block("header", "Annual report 2026 - page 1", page=1),
        Block("title", "On leases", level=1, page=1, boxes=[Box(1, 72, 40, 540, 60)]),
        Block("text", "".join(sentence.format(n=n) for n in range(30)), page=1, boxes=boxes),
        Block("heading", "1. Rows", level=2, page=2),
        Block("list_item", "first thing to do", level=1, marker="1.", page=2),
        Block("list_item", "second thing", level=2, marker="a)", page=2),
        Block("table", "", page=2, table=table([["name", "amount"], *([f"row {n}", f"{n}.50"] for n in range(40))])),
        Block("caption", "Table 1: amounts", page=2),
        Block("heading", "2. 中文", level=2, page=3),
        Block("text", "租约每十秒续期一次。任务不会丢失！是吗？是的；" * 20, page=3, boxes=[Box(3, 72, 72, 540, 400)]),
        Block("code", code, page=3, attrs={"language": "python"}),
        Block("quote", "Nothing accepted is lost.", page=3),
        Block("figure", "", asset="picture-1", page=3),
        Block("footnote", "See promise one.", page=3),
        Block("record", "id: 7\nname: seven", page=3),
    ]
    child = ParsedDocument("text", [Block("text", "Words of the attachment.")], name="notes.txt")
    return ParsedDocument("test", blocks, children=[child], name="varied.test")


ODD_DOCUMENTS = {
    "no blocks": [],
    "only a picture": [Block("figure", "", asset="a")],
    "only headings": [Block("heading", f"Heading {n}", level=n % 7) for n in range(30)],
    "a heading at the end": [Block("text", "words"), Block("heading", "The end", level=1)],
    "blank texts": [Block("text", "   "), Block("text", "\n\n"), Block("text", "words")],
    "a table without cells": [Block("table", "", table=Table(0, 0, [])), Block("text", "words")],
    "a table of empty cells": [Block("table", "", table=table([["", ""], ["", ""]])), Block("text", "words")],
    "a word longer than any chunk": [Block("text", "x" * 2_400)],
    "a cell longer than any chunk": [Block("table", "", table=table([["name"], ["long " * 400]]))],
    "a header longer than any chunk": [
        Block("table", "", table=table([[f"column {n}" for n in range(300)], [f"x{n}" for n in range(9)]]))
    ],
    "joined graphemes": [Block("text", "e\u0301\u0302" * 300 + "👩‍👩‍👧‍👦" * 100)],
    "code without lines": [Block("code", "x=1;" * 300)],
    "levels out of order": [Block("heading", str(n), level=n) for n in (5, 1, 9, 0, 3)] + [Block("text", "words")],
    "many captions": [Block("caption", f"Caption {n}") for n in range(200)],
}


class ChunkerContract:
    """What every chunker guarantees. ``documents`` may be replaced by those that the method is made for."""

    @pytest.fixture
    def chunker(self) -> Chunker:
        raise NotImplementedError("override this fixture: it gives the chunker under test")

    @pytest.fixture
    def document(self) -> ParsedDocument:
        return varied_document()

    def test_it_says_who_it_is(self, chunker: Chunker) -> None:
        assert chunker.name
        assert chunker.version > 0

    @pytest.mark.parametrize("limit", LIMITS)
    def test_no_text_is_lost(self, chunker: Chunker, document: ParsedDocument, limit: int) -> None:
        assert not missing_words(document, _chunks(chunker, document, limit))

    @pytest.mark.parametrize("limit", LIMITS)
    def test_no_chunk_is_larger_than_allowed(self, chunker: Chunker, document: ParsedDocument, limit: int) -> None:
        assert not chunker.bounded or max(chunk.tokens for chunk in _chunks(chunker, document, limit)) <= limit

    @pytest.mark.parametrize("limit", LIMITS)
    def test_chunks_say_their_size_and_are_never_blank(
        self, chunker: Chunker, document: ParsedDocument, limit: int
    ) -> None:
        for chunk in _chunks(chunker, document, limit):
            assert chunk.text.strip()
            assert chunk.tokens == count_pieces(chunk.text)

    def test_the_same_document_gives_the_same_chunks_and_stays_as_it_is(
        self, chunker: Chunker, document: ParsedDocument
    ) -> None:
        before = encode_parsed(document)
        assert _chunks(chunker, document, 64) == _chunks(chunker, document, 64)
        assert encode_parsed(document) == before

    def test_chunks_carry_pages_and_boxes_of_their_document_and_no_others(
        self, chunker: Chunker, document: ParsedDocument
    ) -> None:
        chunks = _chunks(chunker, document, 64)
        assert {page for chunk in chunks for page in chunk.pages} == {1, 2, 3}
        assert {box for chunk in chunks for box in chunk.boxes} == {box for one in document.blocks for box in one.boxes}
        for chunk in chunks:
            assert chunk.pages == sorted(set(chunk.pages))
            assert {box.page for box in chunk.boxes} <= set(chunk.pages)

    def test_attachments_are_chunked_under_their_name(self, chunker: Chunker, document: ParsedDocument) -> None:
        (chunk,) = [one for one in _chunks(chunker, document, 512) if "Words of the attachment." in one.text]
        assert "notes.txt" in chunk.path

    @pytest.mark.parametrize("blocks", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
    @pytest.mark.parametrize("limit", [1, 7, 512])
    def test_odd_documents_are_chunked_like_any_other(self, chunker: Chunker, blocks: list[Block], limit: int) -> None:
        document = ParsedDocument("test", blocks, name="odd.test")
        chunks = _chunks(chunker, document, limit)
        assert squeezed("".join(texts_of(document))).count("x") <= "".join(map(said, chunks)).count("x")
        assert not chunker.bounded or all(one.tokens <= limit or len(one.text.strip()) == 1 for one in chunks)

    @pytest.mark.parametrize(
        "settings",
        [
            ChunkSettings(chunk_token_num=0),
            ChunkSettings(chunk_token_num=-5),
            ChunkSettings(overlapped_percent=-1),
            ChunkSettings(overlapped_percent=91),
        ],
        ids=str,
    )
    def test_settings_that_make_no_sense_are_refused(
        self, chunker: Chunker, document: ParsedDocument, settings: ChunkSettings
    ) -> None:
        with pytest.raises(SettingsError):
            chunker.chunk(document, settings, count_pieces)


def texts_of(document: ParsedDocument) -> Iterator[str]:
    """All that a document says: the texts of its blocks, markers and cells, those of its attachments too."""
    for block in document.blocks:
        if block.table is not None:
            yield from (cell.text for cell in block.table.cells)
        yield f"{block.marker} {block.text}"
    for child in document.children:
        yield from texts_of(child)


def said(chunk: Chunk) -> str:
    """All that a chunk says: a method may make tags of what others leave in the text."""
    return "\n".join([chunk.text, *chunk.path, *chunk.tags])


def missing_words(document: ParsedDocument, chunks: Sequence[Chunk]) -> list[str]:
    """The words of the document that are in none of its chunks."""
    found = squeezed(" ".join(map(said, chunks)))
    return [word for text in texts_of(document) for word in _WORDS.findall(text) if word not in found]


def _chunks(chunker: Chunker, document: ParsedDocument, limit: int) -> list[Chunk]:
    return chunker.chunk(document, ChunkSettings(chunk_token_num=limit), count_pieces)
