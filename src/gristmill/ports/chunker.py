"""Chunker: blocks to chunks, a pure function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import msgspec

from gristmill.ports.document import Chunk, ParsedDocument

TokenCount = Callable[[str], int]


class ChunkSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user may set, with the source's names where it has them.

    ``chunk_token_num``: no chunk is larger, except where one unit that cannot be cut is. ``delimiter``: where text may be
    cut, the source's syntax (text between backticks is one delimiter, any other character stands for itself); delimiters
    stay in the text. ``overlapped_percent``: how much of a chunk's end is repeated at the start of the next, 0..90.
    ``children_delimiter``: where each chunk is cut into children, which are searched in its place (empty: not at all).
    ``table_context_size``, ``image_context_size``: tokens of the text before and behind a table or picture that go with it.
    ``html4excel``: tables as HTML, twelve rows in each piece. ``table_column_roles`` (method ``table``): by name, what a
    column is for: ``indexing``, its values are text and can't be asked for; ``metadata``, they can be asked for and are no
    text; ``both``, what a column is that is not named. ``auto_keywords``, ``auto_questions``: how many a language model adds
    to each chunk; chunkers know nothing of them.
    """

    chunk_token_num: int = 512
    delimiter: str = "\n!?。；！？"
    overlapped_percent: int = 0
    children_delimiter: str = ""
    table_context_size: int = 0
    image_context_size: int = 0
    html4excel: bool = False
    table_column_roles: dict[str, str] = {}
    auto_keywords: int = 0
    auto_questions: int = 0


class Choice(msgspec.Struct, frozen=True):
    """The method that a chooser takes for a document, and why, as a sentence for the run's log."""

    method: str
    reason: str


class Chunker(ABC):
    """One method of cutting. It never sees bytes. ``version`` goes up whenever the output changes (P13).

    ``whole``: it must see all of a document at once. ``pages_per_part``: the pages of one part, where it may be split.
    ``bounded``: whether ``chunk_token_num`` holds for its chunks. ``chooses``: it stands for others, see ``choose``.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    whole: ClassVar[bool] = False
    pages_per_part: ClassVar[int] = 12
    bounded: ClassVar[bool] = True
    chooses: ClassVar[bool] = False

    def choose(self, document: ParsedDocument) -> Choice:
        """The method to take in place of this one, judged by the document or its first part."""
        return Choice(self.name, "it was asked for")

    @abstractmethod
    def chunk(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> list[Chunk]:
        """The chunks of the document, its attachments included, in reading order. No text is lost."""
