"""PowerPoint presentations: a slide is a page."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import pptx
from lxml import etree
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.exc import PythonPptxError
from pptx.shapes.group import GroupShape
from pptx.shapes.picture import Picture

from gristmill.base.errors import DamagedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers.bounds import Blocks, open_zip, too_large
from gristmill.ports.document import Asset, Block, Box, Cell, Page, ParsedDocument, Range, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_EMU = 12_700  # of a point
_ERRORS = (
    PythonPptxError,
    KeyError,
    ValueError,
    AttributeError,
    IndexError,
    TypeError,
    etree.LxmlError,
    NotImplementedError,  # python-pptx's word for a shape that it does not know
    zipfile.BadZipFile,
)
_TITLES = (PP_PLACEHOLDER.TITLE, PP_PLACEHOLDER.CENTER_TITLE)


class PptxParser(Parser):
    """Titles, text by paragraph, tables with spans, charts' words, groups, notes, pictures, each with its place."""

    name: ClassVar[str] = "pptx"
    version: ClassVar[int] = 2

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        open_zip(source, limits).close()
        blocks = Blocks(source.name, limits)
        assets: dict[str, Asset] = {}
        pages: list[Page] = []
        warnings: list[str] = []
        try:
            show = pptx.Presentation(io.BytesIO(source.data))
            width, height = (show.slide_width or 0) / _EMU, (show.slide_height or 0) / _EMU
            for number, slide in enumerate(show.slides, 1):
                if number > limits.max_pages:
                    raise too_large(source.name, "slides", len(show.slides), limits.max_pages, "max_pages")
                pages.append(Page(number, width, height))
                blocks.add_all(_slide(slide, number, assets, warnings))
        except _ERRORS as exc:
            raise DamagedDocument(
                f"{source.name} is a damaged presentation ({type(exc).__name__}: {exc}). Open it and save it again."
            ) from exc
        blocks.require_text("holds no text")
        return ParsedDocument(
            "pptx", blocks, pages, assets=assets, warnings=warnings, parser=f"pptx/{self.version}", name=source.name
        )


def _slide(slide: Any, number: int, assets: dict[str, Asset], warnings: list[str]) -> Iterator[Block]:
    shapes = sorted(_leaves(slide.shapes), key=lambda shape: not _is_title(shape))
    for shape in shapes:
        try:
            yield from list(_shape(shape, number, assets))
        except _ERRORS as exc:  # one odd shape costs its own text only
            warnings.append(f"slide {number}: a shape could not be read ({type(exc).__name__}: {exc})")
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield Block("text", slide.notes_slide.notes_text_frame.text, page=number, attrs={"part": "notes"})


def _leaves(shapes: Iterable[Any]) -> Iterator[Any]:
    for shape in shapes:
        if isinstance(shape, GroupShape):
            yield from _leaves(shape.shapes)
        else:
            yield shape


def _is_title(shape: Any) -> bool:
    return bool(shape.is_placeholder) and shape.placeholder_format.type in _TITLES


def _shape(shape: Any, number: int, assets: dict[str, Asset]) -> Iterator[Block]:
    boxes = _boxes(shape, number)
    if getattr(shape, "has_table", False) and shape.has_table:
        yield Block("table", "", boxes=boxes, page=number, table=_table(shape.table))
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        yield Block("figure", _chart(shape.chart), boxes=boxes, page=number)
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            text = "".join(run.text for run in paragraph.runs) or paragraph.text
            text = text.replace("\v", "\n")
            if _is_title(shape):
                yield Block("heading", text, level=1, boxes=boxes, page=number)
            elif paragraph.level:
                yield Block("list_item", text, level=paragraph.level, boxes=boxes, page=number)
            else:
                yield Block("text", text, boxes=boxes, page=number)
    elif isinstance(shape, Picture):
        image = shape.image
        key = content_digest(image.blob)
        assets.setdefault(key, Asset(key, image.content_type, image.blob))
        yield Block("figure", "", boxes=boxes, page=number, asset=key)


def _boxes(shape: Any, number: int) -> list[Box]:
    if shape.left is None or shape.width is None:
        return []
    sides = (shape.left, shape.top, shape.left + shape.width, shape.top + shape.height)
    return [Box(number, *(round(side / _EMU, 1) for side in sides))]


def _table(table: Any) -> Table:
    cells = [
        Cell(cell.text, r, c, cell.span_height if cell.is_merge_origin else 1,
             cell.span_width if cell.is_merge_origin else 1, header=r == 0 and bool(table.first_row))
        for r, row in enumerate(table.rows)
        for c, cell in enumerate(row.cells)
        if not cell.is_spanned
    ]  # fmt: skip
    return Table(len(table.rows), len(table.columns), cells, header_rows=1 if table.first_row else 0)


def _chart(chart: Any) -> str:
    """A chart's words: its title, its categories, its series with their values."""
    lines = [chart.chart_title.text_frame.text] if chart.has_title and chart.chart_title.has_text_frame else []
    for plot in chart.plots:
        names = [str(name) for name in plot.categories]
        for series in plot.series:
            values = [("" if value is None else f"{value:g}") for value in series.values]
            pairs = [f"{name}: {value}" for name, value in zip(names, values, strict=False)] or values
            lines.append(f"{series.name or ''} {', '.join(pairs)}".strip())
    return "\n".join(lines)
