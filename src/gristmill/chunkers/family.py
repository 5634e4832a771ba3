"""What is done with the chunks of any method: the text around tables and pictures, and children below their parents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from gristmill.base.ids import digest
from gristmill.chunkers.cuts import after, head, tail
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Chunk


def in_context(chunks: list[Chunk], settings: ChunkSettings, count: TokenCount) -> list[Chunk]:
    """The chunks, each table and picture between the end of the text before it and the beginning of the text behind it.

    Only what fits is taken: a chunk in context is no larger than any other.
    """
    sizes = {"table": settings.table_context_size, "figure": settings.image_context_size}
    if not any(sizes.values()):
        return chunks
    return [
        _around(chunks, n, sizes[chunk.kind], settings.chunk_token_num, count) if sizes.get(chunk.kind) else chunk
        for n, chunk in enumerate(chunks)
    ]


def _around(chunks: Sequence[Chunk], n: int, size: int, limit: int, count: TokenCount) -> Chunk:
    chunk = chunks[n]
    room = min(size, (limit - chunk.tokens - 2) // 2)
    if room < 1:
        return chunk
    before = tail(chunks[n - 1].text, room, count) if n and _is_text(chunks[n - 1]) else ""
    behind = head(chunks[n + 1].text, room, count) if n + 1 < len(chunks) and _is_text(chunks[n + 1]) else ""
    text = "\n".join(filter(None, (before, chunk.text, behind)))
    tokens = count(text)
    return msgspec.structs.replace(chunk, text=text, tokens=tokens) if tokens <= limit else chunk


def _is_text(chunk: Chunk) -> bool:
    return chunk.kind not in ("table", "figure", "code")


def with_children(chunks: Sequence[Chunk], settings: ChunkSettings, count: TokenCount) -> Iterator[Chunk]:
    """Each chunk that ``children_delimiter`` parts, as a parent that is not searched, before its searched children."""
    for n, chunk in enumerate(chunks):
        parts = _parts(chunk.text, settings.children_delimiter)
        if len(parts) < 2:
            yield chunk
            continue
        key = digest(str(n), chunk.text)
        yield msgspec.structs.replace(chunk, parent=key, searched=False)
        for part in parts:
            yield msgspec.structs.replace(chunk, text=part, tokens=count(part), parent=key)


def _parts(text: str, delimiter: str) -> list[str]:
    """Cut behind each delimiter; pieces of white space only belong to the one before."""
    return [part for part in (piece.strip() for piece in after(text, delimiter)) if part] if delimiter else []
