"""Parser: bytes to blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

import msgspec

from gristmill.ports.document import Asset, ParsedDocument, Range

Unit = Literal["page", "row", ""]
Tables = Literal["fast", "deep", "off"]
WINDOW_ROWS = 3000  # of a table that stand together, whoever reads them
WINDOW_CELLS = 60_000  # and no more values than these, so that wide tables take no more memory than long ones


class ReadSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user may want of the reading, beyond what stands in the document. Part of what decides the outcome.

    ``pages``: only those of one of these ranges, from 1, both ends included; none: all. For formats that are read by pages.
    ``picture_text``: the text in pictures of a document is read by OCR, too; by the pipeline, not by the parser.
    ``tables``: those of a PDF are found by rules and gaps (fast), where a layout model sees some, too (deep), or not at all.
    """

    pages: tuple[tuple[int, int], ...] = ()
    tables: Tables = "fast"
    picture_text: bool = False

    def wants(self, page: int) -> bool:
        """Whether this page is to be read."""
        return not self.pages or any(first <= page <= last for first, last in self.pages)


class Source(msgspec.Struct, frozen=True):
    """A document's bytes, its name (a display name, never used as a path), and how it is to be read."""

    name: str
    data: bytes
    wanted: ReadSettings = ReadSettings()


class ParseLimits(msgspec.Struct, frozen=True):
    """Bounds that hold before and while a parser reads. Over one of them: DocumentTooLarge, which names it."""

    max_bytes: int = 128 * 1024 * 1024
    max_pages: int = 10_000
    max_rows: int = 2_000_000
    max_cells: int = 5_000_000
    max_text: int = 64 * 1024 * 1024
    max_blocks: int = 1_000_000
    max_depth: int = 2_000
    zip_members: int = 10_000
    zip_bytes: int = 256 * 1024 * 1024
    zip_ratio: int = 200
    attachment_depth: int = 2
    max_pixels: int = 64_000_000


class Parser(ABC):
    """Reads one family of formats.

    Raises UnsupportedDocument, EncryptedDocument, DamagedDocument, DocumentTooLarge or EmptyDocument with a message that
    names the reason; never returns a document without text as if it were read. Formulas, macros, scripts and links are
    never followed. ``version`` goes up whenever the output changes: it is part of the cache key (P13).

    A parser that can read a piece of a document without the rest is a ``PageParser`` or a ``RowParser``.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    unit: ClassVar[Unit] = ""  # what a large document is split by; "" where the format is parsed whole
    endings: ClassVar[tuple[str, ...]] = ()  # of an installed parser: it reads every file whose name ends so (".rtf")

    @abstractmethod
    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        """The document."""


class Reading(msgspec.Struct):
    """What stands on some pages, as long as it is not known what stands on the others.

    ``data`` is understood by the parser that made it, of the same version. ``assets`` are the pages' pictures.
    """

    pages: int
    data: bytes
    assets: dict[str, Asset] = {}


class PageParser(Parser):
    """Reads pages one by one, in any number of processes, and makes a document of them afterwards.

    What a page says by itself is for ``read``; what it takes other pages to know (running heads, the usual size of the
    type, paragraphs and tables that go over a border) is for ``join``. So the document is the same however it was split.
    """

    unit: ClassVar[Unit] = "page"

    @abstractmethod
    def count(self, source: Source, limits: ParseLimits) -> int:
        """How many pages the document has."""

    @abstractmethod
    def read(self, source: Source, limits: ParseLimits, part: Range) -> Reading:
        """The pages of a range, counted from 0. Its cost is that of these pages."""

    @abstractmethod
    def join(self, name: str, limits: ParseLimits, readings: Iterable[Reading]) -> ParsedDocument:
        """The document whose pages these are, all of them in order."""

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        """The document."""
        return self.join(source.name, limits, [self.read(source, limits, Range(0, self.count(source, limits)))])


class RowParser(Parser):
    """Reads rows from the first to the last, once, and gives them away in windows.

    A window has at most ``WINDOW_ROWS`` rows and about ``WINDOW_CELLS`` values; each of its tables has the header of the
    table that it is a piece of. Windows are cut at the same rows whatever becomes of them, and stand alone: what is made
    of all of them together is what is made of each.
    """

    unit: ClassVar[Unit] = "row"

    @abstractmethod
    def windows(self, source: Source, limits: ParseLimits) -> Iterator[ParsedDocument]:
        """The document in windows. A page (a sheet) is listed in the window that it begins in."""

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        """The document."""
        return together(self.windows(source, limits))


def together(windows: Iterable[ParsedDocument]) -> ParsedDocument:
    """One document of windows."""
    first, *others = windows
    for other in others:
        first.blocks += other.blocks
        first.pages += other.pages
        first.assets |= other.assets
        first.warnings += other.warnings
    return first
