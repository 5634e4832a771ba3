"""A document's bytes to its blocks: whole, page by page, or window by window; all of it once (P13)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version

import msgspec

from gristmill.base.confine import confined, confined_steps
from gristmill.base.errors import BlobMissing, DocumentTooLarge, StoreError
from gristmill.base.ids import content_digest, digest
from gristmill.pipeline.work import Piece, Ports, StageName, asset_key, blob_key
from gristmill.ports.catalog import Part, Run
from gristmill.ports.document import Asset, ParsedDocument, Range, decode_parsed, encode_parsed
from gristmill.ports.parser import PageParser, Parser, Reading, RowParser, Source, together

PARSED = "parsed"
READING = "reading"
WINDOWS = "windows"
MAX_CACHED = 32 * 1024 * 1024  # a larger parsed document is parsed again when its chunking changes


def count_pages(ports: Ports, run: Run, name: str) -> int:
    """How many pages the document has, 1 where it has none. Raises DocumentError when it cannot be read."""
    parser = ports.parser(run.format)
    if not isinstance(parser, PageParser):
        return 1
    source = _fetch(ports, run, name)
    with confined(_who(parser, name)):
        return parser.count(source, ports.limits)


def read_pages(ports: Ports, work: Piece, stage: StageName) -> int:
    """Read the pages of a part for whoever joins them. Returns how many there are."""
    parser = ports.parser(work.run.format)
    if not isinstance(parser, PageParser):
        raise StoreError(f"{work.document.name} was planned by another release: ingest it again")
    return _reading(ports, work, parser, work.part, stage).pages


def cut_windows(ports: Ports, work: Piece, stage: StageName) -> int:
    """How many windows the document is cut into: each can be had from the cache afterwards. 1 for other formats."""
    parser = ports.parser(work.run.format)
    if not isinstance(parser, RowParser):
        return 1
    key = parse_key(ports, work)
    known = ports.cache.get_many(WINDOWS, [key]).get(key)
    if known is not None:
        return int(known)
    count = sum(1 for _ in _windows(ports, work, parser, stage))
    ports.cache.put_many(WINDOWS, {key: str(count).encode()})
    return count


def parse_key(ports: Ports, work: Piece, units: Sequence[int | None] = (None, None)) -> str:
    """What the outcome of parsing depends on: of the whole document, or of some of its units."""
    parser = ports.parser(work.run.format)
    limits = msgspec.json.encode((ports.limits, work.settings.read))
    first, last = units
    who = f"{parser.name}/{parser.version}/{_release()}"
    return digest(work.run.tenant, work.run.digest, who, f"{first}:{last}", limits)


def parsed(ports: Ports, work: Piece, stage: StageName) -> ParsedDocument:
    """What a part makes chunks of: the document, or the units of the part."""
    key = parse_key(ports, work, _units(work.part))
    known = _known(ports, work, key)
    if known is not None:
        return known
    parser = ports.parser(work.run.format)
    if isinstance(parser, RowParser):
        return _of_windows(ports, work, parser, stage)
    if isinstance(parser, PageParser):
        return _kept(ports, work, key, _of_pages(ports, work, parser, stage))
    source = _source(ports, work, stage)
    with stage("parse"):
        with confined(_who(parser, source.name)):
            document = parser.parse(source, ports.limits)
        return _kept(ports, work, key, document)


def _of_pages(ports: Ports, work: Piece, parser: PageParser, stage: StageName) -> ParsedDocument:
    """The document of its pages, those of each part that read some."""
    if work.part.first is not None:
        parts = [work.part]
    else:
        parts = [part for part in ports.catalog.parts(work.run.id) if part.only_reads]
    if not parts:
        parts = [Part(work.run.id, 0, first=0, last=count_pages(ports, work.run, work.document.name))]
    readings = [_reading(ports, work, parser, part, stage) for part in parts]
    with stage("parse"), confined(_who(parser, work.document.name)):
        return parser.join(work.document.name, ports.limits, readings)


def _reading(ports: Ports, work: Piece, parser: PageParser, part: Part, stage: StageName) -> Reading:
    key = parse_key(ports, work, _units(part))
    raw = ports.cache.get_many(READING, [key]).get(key)
    if raw is not None:
        known = msgspec.msgpack.decode(raw, type=Reading)
        if all_stored(ports, work, known.assets):
            return known
    source = _source(ports, work, stage)
    with stage("parse"):
        with confined(_who(parser, source.name)):
            reading = parser.read(source, ports.limits, Range(part.first or 0, part.last or 0))
        _store_assets(ports, work, reading.assets.values())
        ports.cache.put_many(READING, {key: msgspec.msgpack.encode(reading)})
    return reading


def _of_windows(ports: Ports, work: Piece, parser: RowParser, stage: StageName) -> ParsedDocument:
    """One window, or all of them together."""
    part = work.part
    if part.first is not None and part.last != part.first + 1:
        raise StoreError(f"{work.document.name} was planned by another release: ingest it again")
    count = cut_windows(ports, work, stage)
    wanted = range(count) if part.first is None else [part.first]
    known = (_known(ports, work, parse_key(ports, work, (n, n + 1))) for n in wanted)
    found = [one for one in known if one is not None]
    if len(found) < len(wanted):  # the cache has forgotten some
        found = [one for n, one in enumerate(_windows(ports, work, parser, stage)) if n in wanted]
    return together(found)


def _windows(ports: Ports, work: Piece, parser: RowParser, stage: StageName) -> Iterator[ParsedDocument]:
    """The windows of a document, each of which is kept on its way."""
    source = _source(ports, work, stage)
    with stage("parse"):
        windows = confined_steps(_who(parser, source.name), parser.windows(source, ports.limits))
        for n, window in enumerate(windows):
            yield _kept(ports, work, parse_key(ports, work, (n, n + 1)), window)


@cache
def _release() -> str:
    """The release: a document may hold others, which other parsers read, and their versions stand with it."""
    return version("gristmill")


def _who(parser: Parser, name: str) -> str:
    """Whom an attempt is laid to: it may not reach the network, run programs or write files while it reads."""
    return f"the parser {parser.name}, reading {name},"


def _units(part: Part) -> tuple[int | None, int | None]:
    return part.first, part.last


def _known(ports: Ports, work: Piece, key: str) -> ParsedDocument | None:
    """What was parsed before, with its pictures where they belong."""
    raw = ports.cache.get_many(PARSED, [key]).get(key)
    known = None if raw is None else decode_parsed(raw)
    return known if known is not None and all_stored(ports, work, _assets(known)) else None


def _kept(ports: Ports, work: Piece, key: str, document: ParsedDocument) -> ParsedDocument:
    """The document, its pictures in the storage, itself in the cache."""
    _store_assets(ports, work, _assets(document).values())
    raw = encode_parsed(document)
    if len(raw) <= MAX_CACHED:
        ports.cache.put_many(PARSED, {key: raw})
    return document


def _source(ports: Ports, work: Piece, stage: StageName) -> Source:
    with stage("fetch"):
        source = _fetch(ports, work.run, work.document.name)
        if len(source.data) > ports.limits.max_bytes:
            raise DocumentTooLarge(f"{source.name} has {len(source.data)} bytes; the limit is {ports.limits.max_bytes}")
    return msgspec.structs.replace(source, wanted=work.settings.read)


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


def all_stored(ports: Ports, work: Piece, assets: Iterable[str]) -> bool:
    """Whether these pictures are still there: they go with the last document that has them, cached results stay."""
    keys = {asset_key(work.run.tenant, work.run.digest, asset) for asset in assets if asset}
    return all(ports.storage.exists(key) for key in keys)


def _assets(document: ParsedDocument) -> dict[str, Asset]:
    """The pictures of the document and of all that is attached to it."""
    found = dict(document.assets)
    for child in document.children:
        found |= _assets(child)
    return found


def _store_assets(ports: Ports, work: Piece, assets: Iterable[Asset]) -> None:
    """Move picture bytes to the storage; what goes on is their ids."""
    for asset in assets:
        key = asset_key(work.run.tenant, work.run.digest, asset.id)
        if asset.data and not ports.storage.exists(key):
            ports.storage.put(key, asset.data)
        asset.data = b""
