"""Sections: what a method makes of a document, and how chunks are made of them. All methods share the bounds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gristmill.base.errors import SettingsError
from gristmill.chunkers.captions import captioned
from gristmill.chunkers.family import in_context, with_children
from gristmill.chunkers.fill import Filling
from gristmill.chunkers.units import said_once, units
from gristmill.ports.chunker import Chunker, ChunkSettings, TokenCount
from gristmill.ports.document import Block, Chunk, ParsedDocument

SHEETS = frozenset(("csv", "xlsx", "xls"))  # formats whose tables ``html4excel`` is about
_MOST_OVERLAP = 90
_SHARE = 4  # a text that is repeated takes at most this part of a chunk


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks that share no chunk with others.

    ``path``: the headings above the first. ``above``, ``below``: texts repeated around each of its chunks, ``again``: above
    each but the first; what takes more than a quarter of a chunk is not repeated. ``limit``: a bound of its own.
    ``together``: neither headings nor tables begin a chunk. ``html``: its tables may be HTML. ``kind``, if given, is that of
    its chunks. ``title``, ``fields``: as those of ``Chunk``.
    """

    blocks: Sequence[Block]
    path: Sequence[str] = ()
    above: str = ""
    again: str = ""
    below: str = ""
    limit: int = 0
    together: bool = False
    html: bool = False
    kind: str = ""
    keywords: Sequence[str] = ()
    questions: Sequence[str] = ()
    tags: Sequence[str] = ()
    title: str = ""
    fields: Mapping[str, int | float | str] = field(default_factory=dict)


class SectionChunker(Chunker):
    """A method that says which blocks belong together. Bounds, overlap, context and children are the same for all."""

    @abstractmethod
    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        """All blocks of the document, each in one section. Attachments are not its business."""

    def chunk(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> list[Chunk]:
        _check(settings)
        found = in_context(list(self._document(document, settings, count)), settings, count)
        for child in document.children:
            found += in_context(list(attached(child, [], settings, count)), settings, count)
        return list(with_children(found, settings, count))

    def _document(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Chunk]:
        own = msgspec.structs.replace(document, blocks=captioned(said_once(document.blocks)))
        for section in self.sections(own, settings, count):
            yield from _chunks(section, [], settings, count)


def attached(document: ParsedDocument, above: list[str], settings: ChunkSettings, count: TokenCount) -> Iterator[Chunk]:
    """An attachment, and those within it, below their names: as much as fits, whatever the method of what holds it."""
    path = [*above, document.name] if document.name else above
    yield from _chunks(Section(captioned(said_once(document.blocks))), path, settings, count)
    for child in document.children:
        yield from attached(child, path, settings, count)


def _check(settings: ChunkSettings) -> None:
    if settings.chunk_token_num < 1:
        raise SettingsError(f"chunk_token_num is {settings.chunk_token_num}: it is at least 1")
    if not 0 <= settings.overlapped_percent <= _MOST_OVERLAP:
        raise SettingsError(f"overlapped_percent is {settings.overlapped_percent}: it is 0 to {_MOST_OVERLAP}")
    if min(settings.table_context_size, settings.image_context_size) < 0:
        raise SettingsError("table_context_size and image_context_size are numbers of tokens, 0 or more")


def _chunks(section: Section, above: list[str], settings: ChunkSettings, count: TokenCount) -> Iterator[Chunk]:
    limit = section.limit or settings.chunk_token_num
    frame = [_repeated(text, limit, count) for text in (section.above, section.again, section.below)]
    sizes = [count(text) + 1 if text else 0 for text in frame]
    first = msgspec.structs.replace(settings, chunk_token_num=limit - sizes[0] - sizes[2])
    html = settings.html4excel and section.html
    later = msgspec.structs.replace(settings, chunk_token_num=limit - sum(sizes), html4excel=html)
    path = [*above, *section.path]
    for n, chunk in enumerate(_filled(section, path, (first, later), count)):
        top, again, bottom = frame
        text = "\n".join(filter(None, (top, again if n else "", chunk.text, bottom)))
        tokens = chunk.tokens if text == chunk.text else count(text)
        if tokens <= limit:  # parts do not always add up to the tokens of the whole
            chunk.text, chunk.tokens = text, tokens
        chunk.kind = section.kind or chunk.kind
        chunk.keywords = list(section.keywords)
        chunk.questions = list(section.questions)
        chunk.tags = list(section.tags)
        chunk.title = section.title
        chunk.fields = dict(section.fields)
        yield chunk


def _repeated(text: str, limit: int, count: TokenCount) -> str:
    return text if text and count(text) < limit // _SHARE else ""


def _filled(
    section: Section, path: list[str], settings: tuple[ChunkSettings, ChunkSettings], count: TokenCount
) -> Iterator[Chunk]:
    """The section's chunks: the first has the room in which the others repeat something."""
    first, later = settings
    filling = Filling(first, count, path, section.together)
    for unit in units(section.blocks, later, count):
        for chunk in filling.add(unit):
            yield chunk
            filling.settings = later
    for chunk in filling.rest():
        yield chunk
        filling.settings = later
