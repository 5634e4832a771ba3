"""The method ``picture``: one chunk for each picture, with the words on it and below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import msgspec

from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Asset, Block, ParsedDocument

_BESIDE = ("caption",)
_HEADINGS = ("title", "heading")


class PictureChunker(SectionChunker):
    """The words that were read on a picture, with its captions. A picture without words is described by its name and size.

    In a document of other kinds each picture has a chunk, and the text between pictures is cut as ``naive`` does.
    """

    name: ClassVar[str] = "picture"
    version: ClassVar[int] = 2

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        if _is_picture(document):
            yield _picture(document.blocks, document)
            return
        run: list[Block] = []
        headings: list[Block] = []  # just above the picture: they go with it
        around: list[Block] = []  # of the picture: itself, its headings and captions
        for block in document.blocks:
            if block.kind == "figure" and any(one.kind == "figure" for one in around):
                yield _picture(around, document)
                around = []
            if block.kind == "figure" or block.kind in _BESIDE:
                while run and not around and run[-1].kind in _HEADINGS:
                    headings.insert(0, run.pop())
                if run:
                    yield Section(run)
                    run = []
                around += [*headings, block]
                headings = []
            else:
                if around:
                    yield _picture(around, document)
                    around = []
                run.append(block)
        yield from (Section(run) for _ in run[:1])
        yield from (_picture(around, document) for _ in around[:1])


def _of_picture(block: Block) -> bool:
    """Whether it was read on a picture, or a model says it of one."""
    return block.source == "ocr" or (block.source == "meta" and block.kind == "caption")


def _is_picture(document: ParsedDocument) -> bool:
    """Whether the document is one picture, and its blocks what was read on it."""
    figures = sum(1 for block in document.blocks if block.kind == "figure")
    read = all(block.kind == "figure" or _of_picture(block) for block in document.blocks)
    return len(document.blocks) > 0 and figures <= 1 and read


def _picture(blocks: Sequence[Block], document: ParsedDocument) -> Section:
    figures = [block for block in blocks if block.kind == "figure"]
    if not figures:
        only_read = all(block.source == "ocr" for block in blocks)
        return Section(blocks, kind="figure" if only_read else "", together=True)
    first = figures[0]
    if not any(block.text.strip() for block in blocks):
        described = _description(document, document.assets.get(first.asset), first)
        return Section([msgspec.structs.replace(first, text=described)], kind="figure")
    return Section(blocks, kind="figure", together=True)


def _description(document: ParsedDocument, asset: Asset | None, block: Block) -> str:
    """What can be said of a picture without looking at it."""
    name = (asset.name if asset else "") or document.name
    size = f"{asset.width} x {asset.height} pixels" if asset and asset.width and asset.height else ""
    page = f"page {block.page}" if block.page else ""
    facts = ", ".join(filter(None, (asset.mime if asset else "", size, page)))
    return f"Picture {name}" + (f" ({facts})" if facts else "")
