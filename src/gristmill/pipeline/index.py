"""Chunks and vectors to records of one generation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from gristmill.base.errors import GenerationClosed
from gristmill.base.ids import digest
from gristmill.ports.docstore import DocStore, Record, Space
from gristmill.ports.document import Chunk

BATCH = 256
_SPACE = re.compile(r"\s+")


def chunk_id(document_id: str, text: str) -> str:
    """The id of a text's first occurrence in a document: the same after every re-ingestion."""
    return digest(document_id, _SPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip())


def records(
    chunks: Sequence[Chunk],
    vectors: Sequence[bytes],
    *,
    gen: int,
    part: int,
    first: int,
    document_id: str,
    document: str,
    created: float,
    parents: Mapping[str, int] = MappingProxyType({}),
) -> list[Record]:
    """The records of a piece whose first chunk is number ``first`` of part ``part``. ``parents``: see ``parents_of``."""
    return [
        Record(
            gen=gen,
            part=part,
            ord=first + n,
            chunk_id=chunk_id(document_id, chunk.text),
            document_id=document_id,
            document=document,
            content=chunk.text,
            vector=vector,
            tokens=chunk.tokens,
            kind=chunk.kind,
            pages=chunk.pages,
            boxes=chunk.boxes,
            path=chunk.path,
            asset=chunk.asset,
            keywords=chunk.keywords,
            questions=chunk.questions,
            tags=chunk.tags,
            available=chunk.searched,
            created=created,
            parent=parents.get(chunk.parent, -1) if chunk.searched else -1,
            title=chunk.title,
            fields=chunk.fields,
        )
        for n, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True))
    ]


def embedded_text(chunk: Chunk) -> str:
    """What a chunk's vector is of: the questions that it answers, unless its text asks them itself, else its text."""
    if all(question in chunk.text for question in chunk.questions):
        return chunk.text
    return "\n".join(chunk.questions)


def parents_of(chunks: Sequence[Chunk]) -> dict[str, int]:
    """By the name that children call them: the numbers of the chunks of a part that have children."""
    return {chunk.parent: n for n, chunk in enumerate(chunks) if chunk.parent and not chunk.searched}


def write(store: DocStore, space: Space, batch: Sequence[Record], writable: Callable[[int], bool]) -> None:
    """Store records batch by batch; before each, make sure that the generation is still ours to write."""
    for first in range(0, len(batch), BATCH):
        piece = batch[first : first + BATCH]
        if not writable(piece[0].gen):
            raise GenerationClosed("the ingestion was cancelled or overtaken by a newer one")
        store.write(space, piece)
