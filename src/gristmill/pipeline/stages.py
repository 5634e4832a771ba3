"""fetch -> parse -> chunk -> embed -> index, as plain functions on ports.

They know nothing of tasks: they learn of cancellation by being stopped, and tell of progress through ``report``. Every
stage's result is kept under a digest of what it depends on, so that a second run of any step costs a look-up (P13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from gristmill.base.errors import EmptyDocument
from gristmill.base.ids import digest
from gristmill.pipeline import enrich
from gristmill.pipeline.ask import ask
from gristmill.pipeline.embed import Pace, at_once, embed
from gristmill.pipeline.index import embedded_text, parents_of, records, write
from gristmill.pipeline.parse import all_stored, parse_key, parsed
from gristmill.pipeline.pictures import read_pictures
from gristmill.pipeline.settings import ModelIds
from gristmill.pipeline.work import Piece, Ports, Report, StageName, asset_key
from gristmill.ports.catalog import Run
from gristmill.ports.chunker import Choice, Chunker, ChunkSettings
from gristmill.ports.document import Chunk, ParsedDocument, decode_chunks, encode_chunks
from gristmill.ports.parser import WINDOW_ROWS

CHUNKS = "cuts"
CHOICE = "choice"
WINDOW = 2048  # chunks whose vectors are in memory at a time (P8)
MOST_WARNINGS = 100  # of one part


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


def make_chunks(
    ports: Ports,
    work: Piece,
    stage: StageName,
    *,
    report: Report = enrich.quietly,
    pace: enrich.Pace = enrich.at_once,
) -> Made:
    """The chunks of a part's units: from the cache, or by parsing, having models read what they are set for, and chunking.

    ``pace`` is called before each request to one of these models.
    """
    chunker = ports.chunker(work.settings.method)
    choice = _choice(ports, work, chunker, stage) if chunker.chooses else None
    if choice is not None:
        chunker = ports.chunker(choice.method)
    key = _key(ports, work, chunker, work.settings.chunk)
    cached = ports.cache.get_many(CHUNKS, [key]).get(key)
    if cached is not None:
        made = _unpacked(cached, choice)
        if all_stored(ports, work, (chunk.asset for chunk in made.chunks)):
            return made
    document = parsed(ports, work, stage)
    document = _enriched(ports, work, chunker.name, document, stage=stage, report=report, pace=pace)
    with stage("chunk"):
        chunks = chunker.chunk(document, work.settings.chunk, ports.count)
    warnings = _asked(ports, work, chunks, stage=stage, report=report, pace=pace)
    fresh = _packed(document, chunks, warnings)
    ports.cache.put_many(CHUNKS, {key: fresh})
    return _unpacked(fresh, choice)


def _enriched(
    ports: Ports,
    work: Piece,
    method: str,
    document: ParsedDocument,
    *,
    stage: StageName,
    report: Report,
    pace: enrich.Pace,
) -> ParsedDocument:
    def load(asset: str) -> bytes:
        return ports.storage.get(asset_key(work.run.tenant, work.run.digest, asset))

    if work.settings.read.picture_text:
        with stage("pictures"):
            reader = ports.parser("image")
            document = read_pictures(document, reader, ports.limits, cache=ports.cache, load=load, report=report)
    models = ports.models(work.settings.models)
    if not enrich.concerns(document, models):
        return document
    with stage("enrich"):
        return enrich.enrich(document, models, ports.cache, load, method=method, pace=pace, report=report)


def _asked(
    ports: Ports, work: Piece, chunks: Sequence[Chunk], *, stage: StageName, report: Report, pace: enrich.Pace
) -> list[str]:
    """Have a language model add to the chunks, where that is wanted."""
    wanted, chat = work.settings.chunk, ports.models(work.settings.models).chat
    if chat is None or not (wanted.auto_keywords or wanted.auto_questions):
        return []
    with stage("enrich"):
        return ask(chunks, wanted, chat, ports.cache, pace=pace, report=report)


def _choice(ports: Ports, work: Piece, chooser: Chunker, stage: StageName) -> Choice:
    """The method for all parts of the document, judged by the first: a look-up for all but who comes first."""
    first = work if not work.part.first else replace(work, part=ports.catalog.part(work.run.id, 0))
    key = _key(ports, first, chooser)
    cached = ports.cache.get_many(CHOICE, [key]).get(key)
    if cached is not None:
        return msgspec.msgpack.decode(cached, type=Choice)
    document = parsed(ports, first, stage)
    with stage("chunk"):
        choice = chooser.choose(document)
    ports.cache.put_many(CHOICE, {key: msgspec.msgpack.encode(choice)})
    return choice


def _key(ports: Ports, work: Piece, chunker: Chunker, settings: ChunkSettings | None = None) -> str:
    """What the chunks of a part depend on."""
    units = (work.part.first, work.part.last)
    read_by = (
        [] if work.settings.models == ModelIds() else [msgspec.json.encode((enrich.VERSION, work.settings.models))]
    )
    return digest(
        parse_key(ports, work, units), chunker.name, str(chunker.version), msgspec.json.encode(settings), *read_by
    )


def embed_and_write(
    ports: Ports, work: Piece, made: Made, *, report: Report, stage: StageName, pace: Pace = at_once
) -> Written:
    """Embed a slice of a part's chunks and write its records. Raises GenerationClosed when the run was overtaken."""
    first = work.part.chunk_first or 0
    mine = made.chunks[first : work.part.chunk_last]
    order = (work.part.first or 0) * WINDOW_ROWS  # windows never share it, and follow the reading order
    with stage("embed"):
        embedder = ports.embedder(work.settings.embedder)
    computed = 0
    parents = parents_of(made.chunks)
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
                parents=parents,
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
        yield embedded_text(child)


def _share_of(report: Report, begin: float, share: float) -> Report:
    """Progress within a window as progress of the whole."""
    return lambda value, message: report(begin + value * share, message)


def commit(ports: Ports, run: Run) -> bool:
    """Make a run whose parts are all done visible (P4). False when it was overtaken or cancelled."""
    chunks = ports.docstore.seal(ports.catalog.space(run.tenant, run.dataset_id), run.gen)
    if chunks == 0:
        name = ports.catalog.document(run.tenant, run.document_id).name
        raise EmptyDocument(f"{name} was read, but there is no text in it")
    return ports.catalog.commit(run.id, chunks=chunks)


def _unpacked(cached: bytes, choice: Choice | None) -> Made:
    pages, chunks, warnings = msgspec.msgpack.decode(cached, type=tuple[int, bytes, list[str]])
    return Made(decode_chunks(chunks), pages, warnings, choice)


def _packed(document: ParsedDocument, chunks: list[Chunk], warnings: Sequence[str]) -> bytes:
    said = [*warnings, *_warnings(document)][:MOST_WARNINGS]
    return msgspec.msgpack.encode((len(document.pages), encode_chunks(chunks), said))


def _warnings(parsed: ParsedDocument) -> Iterator[str]:
    yield from parsed.warnings
    for child in parsed.children:
        yield from (f"{child.name}: {one}" for one in _warnings(child))
