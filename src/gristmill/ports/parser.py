"""Parser: bytes to blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import msgspec

from gristmill.ports.document import ParsedDocument, Range

Unit = Literal["page", "row", ""]


class Source(msgspec.Struct, frozen=True):
    """A document's bytes and its name (a display name, never used as a path)."""

    name: str
    data: bytes


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
    """

    name: ClassVar[str]
    version: ClassVar[int]
    unit: ClassVar[Unit] = ""  # what `count` counts; "" where the format is parsed whole
    endings: ClassVar[tuple[str, ...]] = ()  # of an installed parser: it reads every file whose name ends so (".rtf")

    def count(self, source: Source, limits: ParseLimits) -> int:
        """How many units (pages, rows) the document has; 1 where the format is parsed whole."""
        return 1

    @abstractmethod
    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        """The document, or only the units of ``part``. Page numbers are those of the whole document."""
