"""fetch -> parse -> chunk -> embed -> index, as plain functions on ports.

They know nothing of tasks: they learn of cancellation by being stopped, and tell of progress through ``report``. Every
stage's result is kept under a digest of what it depends on, so that a second run of any step costs a look-up (P13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import msgspec

from gristmill.base.clock import Clock
from gristmill.base.errors import BlobMissing, DocumentTooLarge, EmptyDocument, StoreError
from gristmill.base.ids import content_digest, digest
from gristmill.pipeline.embed import Pace, at_once, embed
from gristmill.pipeline.index import records, write
from gristmill.pipeline.settings import IngestSettings, load_settings
from gristmill.ports.cache import StageCache
from gristmill.ports.catalog import Catalog, Document, Part, Run
from gristmill.ports.chunker import Choice, Chunker, ChunkSettings, TokenCount
from gristmill.ports.docstore import DocStore, Space
from gristmill.ports.document import (
    Chunk,
    ParsedDocument,
    Range,
    decode_chunks,
    decode_parsed,
    encode_chunks,
    encode_parsed,
)
from gristmill.ports.model import Embedder
from gristmill.ports.parser import ParseLimits, Parser, Source
from gristmill.ports.storage import ObjectStore

PARSED = "parsed"
CHUNKS = "cuts"
CHOICE = "choice"
WINDOW = 2048  # chunks whose vectors are in memory at a time (P8)
MOST_WARNINGS = 100  # of one part
MAX_CACHED_PARSE = 32 * 1024 * 1024  # a larger parsed document is parsed again when its chunking changes

Report = Callable[[float, str], None]
StageName = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Ports:
    """All that the stages need of the world."""

    catalog: Catalog
    storage: ObjectStore
    docstore: DocStore
    cache: StageCache
    parser: Callable[[str], Parser]
    chunker: Callable[[str], Chunker]
    embedder: Callable[[str], Embedder]
    count: TokenCount
    limits: ParseLimits
    clock: Clock


@dataclass(frozen=True)
class Piece:
    """What a part is about."""

    run: Run
    document: Document
    part: Part
    settings: IngestSettings
    space: Space


@dataclass(frozen=True)
class Made:
    """A part's chunks, the number of its pages, what of it could not be read, and the method where one was chosen."""

    chunks: list[Chunk]
    pages: int
    warnings: list[str]
    choice: Choice | None = None


@dataclass(frozen=True)
class Written:
    """What a part came to. ``embedded`` counts the vectors that had to be computed."""

    chunks: int
    tokens: int
    pages: int
    embedded: int


def blob_key(tenant: str, content: str) -> str:
    """Where a document's bytes are; tenants never share a key (P12)."""
    return f"blobs/{tenant}/{content[:2]}/{content}"


def asset_key(tenant: str, content: str, asset: str) -> str:
    """Where a picture of a document is: with the document's bytes, for those who share them share the parse."""
    return f"assets/{tenant}/{content}/{asset}"


def piece(ports: Ports, run: Run, part: Part) -> Piece:
    """Look up what belongs to a part. Raises NotFound when the document is gone."""
    document = ports.catalog.document(run.tenant, run.document_id)
    space = ports.catalog.space(run.tenant, run.dataset_id)
    return Piece(run, document, part, load_settings(run.settings), space)


def count_units(ports: Ports, run: Run, name: str) -> int:
    """How many pages or rows the document has. Raises DocumentError when it cannot be read."""
    parser = ports.parser(run.format)
    return parser.count(_fetch(ports, run, name), ports.limits) if parser.unit else 1


def make_chunks(ports: Ports, work: Piece, stage: StageName) -> Made:
    """The chunks of a part's units: from the cache, or by parsing and chunking."""
    parser = ports.parser(work.run.format)
    chunker = ports.chunker(work.settings.method)
    choice = _choice(ports, work, parser, chunker, stage) if chunker.chooses else None
    if choice is not None:
        chunker = ports.chunker(choice.method)
    parse_key = _parse_key(ports, work, parser)
    key = digest(parse_key, chunker.name, str(chunker.version), msgspec.json.encode(work.settings.chunk))
    cached = ports.cache.get_many(CHUNKS, [key]).get(key)
    if cached is not None:
        made = _unpacked(cached, choice)
        if _all_stored(ports, work, (chunk.asset for chunk in made.chunks)):
            return made
    parsed = _parse(ports, work, parser, parse_key, stage)
    with stage("chunk"):
        fresh = _chunk(chunker, parsed, work.settings.chunk, ports.count)
        ports.cache.put_many(CHUNKS, {key: fresh})
    return _unpacked(fresh, choice)


def _choice(ports: Ports, work: Piece, parser: Parser, chooser: Chunker, stage: StageName) -> Choice:
    """The method for all parts of the document, judged by the first: a look-up for all but who comes first."""
    first = work if not work.part.first else replace(work, part=ports.catalog.part(work.run.id, 0))
    parse_key = _parse_key(ports, first, parser)
    key = digest(parse_key, chooser.name, str(chooser.version))
    cached = ports.cache.get_many(CHOICE, [key]).get(key)
    if cached is not None:
        return msgspec.msgpack.decode(cached, type=Choice)
    parsed = _parse(ports, first, parser, parse_key, stage)
    with stage("chunk"):
        choice = chooser.choose(parsed)
    ports.cache.put_many(CHOICE, {key: msgspec.msgpack.encode(choice)})
    return choice


def embed_and_write(
    ports: Ports, work: Piece, made: Made, *, report: Report, stage: StageName, pace: Pace = at_once
) -> Written:
    """Embed a slice of a part's chunks and write its records. Raises GenerationClosed when the run was overtaken."""
    first = work.part.chunk_first or 0
    mine = made.chunks[first : work.part.chunk_last]
    order = work.part.first or 0  # parts of one run never share their first unit, and follow the reading order
    with stage("embed"):
        embedder = ports.embedder(work.settings.embedder)
    computed = 0
    for at in range(0, len(mine), WINDOW):
        window = mine[at : at + WINDOW]
        share = _share_of(report, at / len(mine), len(window) / len(mine))
        with stage("embed"):
            embedded = embed(list(_embedded(window)), embedder, ports.cache, share, pace=pace)
        with stage("index"):
            batch = records(
                window,
                embedded.vectors,
                gen=work.run.gen,
                part=order,
                first=first + at,
                document_id=work.document.id,
                document=work.document.name,
                created=ports.clock.now(),
            )
            write(ports.docstore, work.space, batch, ports.catalog.writable)
        computed += embedded.computed
    if first + len(mine) == len(made.chunks):
        with stage("index"):
            ports.docstore.trim(work.space, work.run.gen, order, len(made.chunks))
    counted = made.pages if first == 0 else 0
    return Written(len(mine), sum(chunk.tokens for chunk in mine), counted, computed)


def _embedded(window: Sequence[Chunk]) -> Iterator[str]:
    """The text whose vector a chunk gets. A parent is never found by its own: that of its first child costs nothing."""
    for n, chunk in enumerate(window):
        child = window[n + 1] if not chunk.searched and n + 1 < len(window) else chunk
        yield child.text


def _share_of(report: Report, begin: float, share: float) -> Report:
    """Progress within a window as progress of the whole."""
    return lambda value, message: report(begin + value * share, message)


def commit(ports: Ports, run: Run) -> bool:
    """Make a run whose parts are all done visible (P4). False when it was overtaken or cancelled."""
    chunks = ports.docstore.seal(ports.catalog.space(run.tenant, run.dataset_id), run.gen)
    if chunks == 0:
        raise EmptyDocument("the document was read, but there is no text in it")
    return ports.catalog.commit(run.id, chunks=chunks)


def _fetch(ports: Ports, run: Run, name: str) -> Source:
    """The document's bytes, and no others: results are kept under their digest. Damaged ones give way to better."""
    key = blob_key(run.tenant, run.digest)
    try:
        data = ports.storage.get(key)
    except BlobMissing as exc:
        raise BlobMissing(f"the stored bytes of {name} are gone: ingest the file again") from exc
    if content_digest(data) != run.digest:
        ports.storage.delete(key)
        raise StoreError(f"the stored bytes of {name} were damaged and were removed: ingest the file again")
    return Source(name, data)


def _parse_key(ports: Ports, work: Piece, parser: Parser) -> str:
    part = work.part
    limits = msgspec.json.encode(ports.limits)
    return digest(
        work.run.tenant, work.run.digest, parser.name, str(parser.version), f"{part.first}:{part.last}", limits
    )


def _parse(ports: Ports, work: Piece, parser: Parser, key: str, stage: StageName) -> ParsedDocument:
    cached = ports.cache.get_many(PARSED, [key]).get(key)
    if cached is not None:
        known = decode_parsed(cached)
        if _all_stored(ports, work, _assets(known)):
            return known
    with stage("fetch"):
        source = _fetch(ports, work.run, work.document.name)
        if len(source.data) > ports.limits.max_bytes:
            raise DocumentTooLarge(f"{source.name} has {len(source.data)} bytes; the limit is {ports.limits.max_bytes}")
    with stage("parse"):
        units = None if work.part.first is None or work.part.last is None else Range(work.part.first, work.part.last)
        parsed = _parsed(ports, parser, source, units)
        _store_assets(ports, work, parsed)
        raw = encode_parsed(parsed)
        if len(raw) <= MAX_CACHED_PARSE:
            ports.cache.put_many(PARSED, {key: raw})
    return parsed


def _parsed(ports: Ports, parser: Parser, source: Source, units: Range | None) -> ParsedDocument:
    """The units' blocks; some of many pages may well be empty, a whole document may not."""
    try:
        return parser.parse(source, ports.limits, units)
    except EmptyDocument:
        if units is None:
            raise
        return ParsedDocument(parser.name, [])


def _all_stored(ports: Ports, work: Piece, assets: Iterable[str]) -> bool:
    """Whether these pictures are still there: they go with the last document that has them, cached results stay."""
    keys = {asset_key(work.run.tenant, work.run.digest, asset) for asset in assets if asset}
    return all(ports.storage.exists(key) for key in keys)


def _assets(parsed: ParsedDocument) -> Iterator[str]:
    yield from parsed.assets
    for child in parsed.children:
        yield from _assets(child)


def _store_assets(ports: Ports, work: Piece, parsed: ParsedDocument) -> None:
    """Move picture bytes to the storage; what goes on is their ids."""
    for asset in parsed.assets.values():
        key = asset_key(work.run.tenant, work.run.digest, asset.id)
        if not ports.storage.exists(key):
            ports.storage.put(key, asset.data)
        asset.data = b""
    for child in parsed.children:
        _store_assets(ports, work, child)


def _unpacked(cached: bytes, choice: Choice | None) -> Made:
    pages, chunks, warnings = msgspec.msgpack.decode(cached, type=tuple[int, bytes, list[str]])
    return Made(decode_chunks(chunks), pages, warnings, choice)


def _chunk(chunker: Chunker, parsed: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> bytes:
    chunks = chunker.chunk(parsed, settings, count)
    return msgspec.msgpack.encode((len(parsed.pages), encode_chunks(chunks), list(_warnings(parsed))[:MOST_WARNINGS]))


def _warnings(parsed: ParsedDocument) -> Iterator[str]:
    yield from parsed.warnings
    for child in parsed.children:
        yield from (f"{child.name}: {one}" for one in _warnings(child))
