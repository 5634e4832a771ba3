"""The method ``email``: a message with its headers, and its attachments below it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument


class EmailChunker(SectionChunker):
    """Headers and text as much as fits, the subject as path and above each further piece.

    Attachments are cut as ``naive`` does, below their names.
    """

    name: ClassVar[str] = "email"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        headers = [block for block in document.blocks if block.kind == "mail_header"]
        body = [block for block in document.blocks if block.kind != "mail_header"]
        subject = next((block.text for block in headers if _is_subject(block)), "")
        path = [subject.partition(":")[2].strip() or subject] if subject else []
        yield Section([*headers, *body], path, again=subject)


def _is_subject(block: Block) -> bool:
    return block.attrs.get("name", "").lower() == "subject" or block.text.lower().startswith("subject:")
