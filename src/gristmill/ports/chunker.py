"""Chunker: blocks to chunks, a pure function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import msgspec

from gristmill.ports.document import Chunk, ParsedDocument

TokenCount = Callable[[str], int]


class ChunkSettings(msgspec.Struct, frozen=True):
    """What a user may set, with the source's names where it has them.

    ``chunk_token_num``: no chunk is larger, except where one unit that cannot be cut is. ``delimiter``: where text may be
    cut, the source's syntax (text between backticks is one delimiter, any other character stands for itself); delimiters
    stay in the text. ``overlapped_percent``: how much of a chunk's end is repeated at the start of the next, 0..90.
    """

    chunk_token_num: int = 512
    delimiter: str = "\n!?。；！？"
    overlapped_percent: int = 0


class Chunker(ABC):
    """One method of cutting. It never sees bytes. ``version`` goes up whenever the output changes (P13)."""

    name: ClassVar[str]
    version: ClassVar[int]

    @abstractmethod
    def chunk(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> list[Chunk]:
        """The chunks of the document, its children included, in reading order. No text is lost."""
