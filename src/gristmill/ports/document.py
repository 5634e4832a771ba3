"""The typed intermediate form that every parser fills and every chunker reads, and the chunks made of it."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal[
    "title",
    "heading",
    "text",
    "list_item",
    "table",
    "figure",
    "caption",
    "code",
    "formula",
    "header",
    "footer",
    "footnote",
    "quote",
    "speech",
    "mail_header",
    "record",
]


class Box(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A rectangle on one page: points, origin top left, y down. Pages count from 1."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


class Cell(msgspec.Struct, array_like=True, gc=False):
    """One cell of a table; ``row`` and ``col`` count from 0."""

    text: str
    row: int
    col: int
    rowspan: int = 1
    colspan: int = 1
    header: bool = False
    box: Box | None = None


class Table(msgspec.Struct):
    """A table as cells; chunkers render it."""

    rows: int
    cols: int
    cells: list[Cell]
    header_rows: int = 0
    caption: str = ""

    def grid(self) -> list[list[str]]:
        """The text by row and column; spanned places are empty."""
        grid = [[""] * self.cols for _ in range(self.rows)]
        for cell in self.cells:
            grid[cell.row][cell.col] = cell.text
        return grid


class Asset(msgspec.Struct):
    """The bytes of a picture or an attachment, once under the digest of its content."""

    id: str
    mime: str
    data: bytes
    name: str = ""
    width: int = 0
    height: int = 0


class Block(msgspec.Struct, omit_defaults=True):
    """A typed piece of a document, in reading order.

    ``level`` is the depth of a heading or list (1..), 0 for body text. ``boxes`` has one box for each page or column
    touched, none where the format has no geometry. ``page`` is the first page, slide or sheet (1..), 0 where the format
    has none. ``marker`` is a printed number or bullet. ``attrs`` holds the sheet, the mail header's name, the language of code.
    """

    kind: Kind
    text: str
    level: int = 0
    boxes: list[Box] = []
    page: int = 0
    size: float = 0.0
    bold: bool = False
    marker: str = ""
    table: Table | None = None
    asset: str = ""
    source: Literal["text", "ocr", "asr", "meta"] = "text"
    conf: float = 1.0
    lang: str = ""
    time: tuple[float, float] | None = None
    attrs: dict[str, str] = {}


class Page(msgspec.Struct):
    """A page, slide or sheet. Sizes in points; ``source`` says where its text came from."""

    number: int
    width: float = 0.0
    height: float = 0.0
    rotation: int = 0
    label: str = ""
    source: Literal["text", "ocr", "mixed", "none"] = "text"


class OutlineEntry(msgspec.Struct):
    """A bookmark."""

    title: str
    level: int
    page: int


class ParsedDocument(msgspec.Struct):
    """What a parser makes of a document (or of one part of it). ``children`` are attachments and archive members."""

    format: str
    blocks: list[Block]
    pages: list[Page] = []
    outline: list[OutlineEntry] = []
    assets: dict[str, Asset] = {}
    meta: dict[str, str] = {}
    children: list[ParsedDocument] = []
    warnings: list[str] = []
    parser: str = ""
    name: str = ""


class Chunk(msgspec.Struct, omit_defaults=True):
    """What is indexed: a bounded piece of text with the places it came from.

    ``path`` is the chain of headings above it; ``kind`` the kind of its main block; ``tokens`` is counted on ``text``.
    ``parent`` joins children to the chunk that they are pieces of, which goes before them and is not ``searched`` itself.
    ``title`` counts in searches in place of the document's name. ``fields`` are a row's values by column, see ``fields``
    of ``Record``.
    """

    text: str
    tokens: int
    kind: str = "text"
    pages: list[int] = []
    boxes: list[Box] = []
    path: list[str] = []
    asset: str = ""
    keywords: list[str] = []
    questions: list[str] = []
    tags: list[str] = []
    parent: str = ""
    searched: bool = True
    title: str = ""
    fields: dict[str, int | float | str] = {}


class Range(msgspec.Struct, frozen=True, array_like=True):
    """A half-open range of units (pages or rows), counted from 0."""

    first: int
    last: int


def encode_parsed(doc: ParsedDocument) -> bytes:
    """A parsed document as MessagePack."""
    return msgspec.msgpack.encode(doc)


def decode_parsed(raw: bytes) -> ParsedDocument:
    """A parsed document from MessagePack."""
    return msgspec.msgpack.decode(raw, type=ParsedDocument)


def encode_chunks(chunks: list[Chunk]) -> bytes:
    """Chunks as MessagePack."""
    return msgspec.msgpack.encode(chunks)


def decode_chunks(raw: bytes) -> list[Chunk]:
    """Chunks from MessagePack."""
    return msgspec.msgpack.decode(raw, type=list[Chunk])
