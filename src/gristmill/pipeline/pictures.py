"""The text in a document's pictures, beside them: where it is wanted, and once for each picture in its life (P13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gristmill.base.confine import confined
from gristmill.base.errors import DocumentError, PluginError
from gristmill.base.ids import digest
from gristmill.pipeline.enrich import MOST_PICTURES, is_picture
from gristmill.ports.cache import StageCache
from gristmill.ports.document import Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

TEXTS = "picture-text"
_SMALLEST = 32  # pixels: what is smaller is a bullet or an icon

Report = Callable[[float, str], None]
Load = Callable[[str], bytes]


class Seen(msgspec.Struct, array_like=True):
    """What is written in a picture, and how sure that is."""

    text: str
    conf: float


def read_pictures(
    document: ParsedDocument, parser: Parser, limits: ParseLimits, *, cache: StageCache, load: Load, report: Report
) -> ParsedDocument:
    """The document with the text of each picture behind it, or behind its caption: a block of source ``ocr`` in its place.

    The first thousand pictures of each document, also of those inside; one that cannot be read has no text. A document that
    is a picture stays as it is: ``parser``, which reads pictures, has read it.
    """
    children = [
        read_pictures(child, parser, limits, cache=cache, load=load, report=report) for child in document.children
    ]
    if document.format == "image":
        return msgspec.structs.replace(document, children=children)
    wanted = list(
        dict.fromkeys(one.asset for one in document.blocks if is_picture(one, document) and _large(one, document))
    )
    reader = _Reader(document, parser, limits, cache, load)
    found: dict[str, Seen] = {}
    for n, asset in enumerate(wanted[:MOST_PICTURES], 1):
        found[asset] = reader.seen(asset)
        report(n / len(wanted), f"read {n} of {len(wanted)} pictures")
    warnings = [*document.warnings, *reader.warnings]
    if len(wanted) > MOST_PICTURES:
        warnings.append(f"{document.name} has {len(wanted)} pictures; the text of the first {MOST_PICTURES} was read")
    blocks = _placed(document.blocks, found)
    return msgspec.structs.replace(document, blocks=blocks, warnings=warnings, children=children)


def _large(block: Block, document: ParsedDocument) -> bool:
    asset = document.assets[block.asset]
    return not asset.width or min(asset.width, asset.height) >= _SMALLEST


class _Reader:
    def __init__(
        self, document: ParsedDocument, parser: Parser, limits: ParseLimits, cache: StageCache, load: Load
    ) -> None:
        self._document = document
        self._parser = parser
        self._limits = limits
        self._cache = cache
        self._load = load
        self.warnings: list[str] = []

    def seen(self, asset: str) -> Seen:
        """From the cache, or by looking."""
        key = digest("picture-text", self._parser.name, str(self._parser.version), asset)
        kept = self._cache.get_many(TEXTS, [key]).get(key)
        if kept is not None:
            return msgspec.msgpack.decode(kept, type=Seen)
        try:
            seen = self._look(asset)
        except DocumentError:  # damaged, too large, or of a kind that is drawn, not painted
            seen = Seen("", 0.0)
        except PluginError as exc:
            self.warnings = [f"the text in pictures of {self._document.name} was not read: {exc}"]
            return Seen("", 0.0)
        self._cache.put_many(TEXTS, {key: msgspec.msgpack.encode(seen)})
        return seen

    def _look(self, asset: str) -> Seen:
        data = self._document.assets[asset].data or self._load(asset)
        source = Source(f"a picture of {self._document.name}", data)
        with confined(f"the parser {self._parser.name}, reading {source.name},"):
            read = self._parser.parse(source, self._limits)
        blocks = [block for block in read.blocks if block.source == "ocr" and block.text]
        if not blocks:
            return Seen("", 0.0)
        conf = sum(block.conf for block in blocks) / len(blocks)
        return Seen("\n".join(block.text for block in blocks), round(conf, 3))


def _placed(blocks: Sequence[Block], found: dict[str, Seen]) -> list[Block]:
    """Each text once, behind the first figure of its picture."""
    placed: list[Block] = []
    for n, block in enumerate(blocks):
        placed.append(block)
        figure = blocks[n - 1] if n and block.kind == "caption" else block
        captioned = block.kind == "figure" and n + 1 < len(blocks) and blocks[n + 1].kind == "caption"
        if captioned or figure.kind != "figure":
            continue
        seen = found.pop(figure.asset, None)
        if seen is not None and seen.text:
            boxes, page = figure.boxes, figure.page
            placed.append(Block("text", seen.text, boxes=boxes, page=page, source="ocr", conf=seen.conf))
    return placed
