"""The method ``audio``: what was said, in pieces with their time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument


class AudioChunker(SectionChunker):
    """Speech in its order, as much as fits; the time from the first word to the last is the chunk's path.

    Turns are not cut unless one alone is too large. What is no speech is cut as ``naive`` does.
    """

    name: ClassVar[str] = "audio"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        taken: list[Block] = []
        size = 0
        for block in document.blocks:
            tokens = count(block.text) + 1
            full = block.kind == "speech" and size + tokens > settings.chunk_token_num
            if taken and (full or (block.kind == "speech") != (taken[-1].kind == "speech")):
                yield _section(taken)
                taken, size = [], 0
            taken.append(block)
            size += tokens
        yield _section(taken)


def _section(blocks: list[Block]) -> Section:
    times = [block.time for block in blocks if block.time is not None]
    path = [f"{_clock(times[0][0])} - {_clock(times[-1][1])}"] if times else []
    return Section(blocks, path, together=bool(times))


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
