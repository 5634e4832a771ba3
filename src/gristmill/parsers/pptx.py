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
from pptx.oxml.ns import qn
from pptx.shapes.graphfrm import GraphicFrame
from pptx.shapes.group import GroupShape
from pptx.shapes.picture import Picture

from gristmill.base.errors import DamagedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers.bounds import Blocks, open_zip, too_large
from gristmill.parsers.ooxml import add_embedded, transitional
from gristmill.ports.document import Asset, Block, Box, Cell, Page, ParsedDocument, Table
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
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_SAFE = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
_TITLES = (PP_PLACEHOLDER.TITLE, PP_PLACEHOLDER.CENTER_TITLE)


class PptxParser(Parser):
    """Titles, text by paragraph, tables with spans, words of charts and diagrams, groups, notes, comments, pictures, each
    with its place; embedded files as children."""

    name: ClassVar[str] = "pptx"
    version: ClassVar[int] = 3

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        parsed = ParsedDocument("pptx", blocks, parser=f"pptx/{self.version}", name=source.name)
        with open_zip(source, limits) as archive:
            try:
                show = pptx.Presentation(io.BytesIO(transitional(source.data, archive)))
                width, height = (show.slide_width or 0) / _EMU, (show.slide_height or 0) / _EMU
                for number, slide in enumerate(show.slides, 1):
                    if number > limits.max_pages:
                        raise too_large(source.name, "slides", len(show.slides), limits.max_pages, "max_pages")
                    parsed.pages.append(Page(number, width, height))
                    blocks.add_all(_slide(slide, number, parsed.assets, parsed.warnings))
            except _ERRORS as exc:
                raise DamagedDocument(
                    f"{source.name} is a damaged presentation ({type(exc).__name__}: {exc}). Open it and save it again."
                ) from exc
            add_embedded(parsed, archive, limits)
        if not parsed.children:
            blocks.require_text("holds no text")
        return parsed


def _slide(slide: Any, number: int, assets: dict[str, Asset], warnings: list[str]) -> Iterator[Block]:
    shapes = sorted(_leaves(slide.shapes), key=lambda shape: not _is_title(shape))
    for shape in shapes:
        try:
            yield from list(_shape(shape, number, assets))
        except _ERRORS as exc:  # one odd shape costs its own text only
            warnings.append(f"slide {number}: a shape could not be read ({type(exc).__name__}: {exc})")
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield Block("text", slide.notes_slide.notes_text_frame.text, page=number, attrs={"part": "notes"})
    for text in _comments(slide):
        yield Block("footnote", text, page=number, attrs={"part": "comment"})


def _comments(slide: Any) -> Iterator[str]:
    """What was noted beside a slide, in the words of both generations of the format."""
    for relation in slide.part.rels.values():
        if relation.is_external or not relation.reltype.endswith("/comments"):
            continue
        for comment in etree.fromstring(relation.target_part.blob, _SAFE).iter("{*}cm", "{*}reply"):
            words = "".join(one.text or "" for one in comment.iterchildren("{*}text"))
            yield words or _words(next(comment.iterchildren("{*}txBody"), None))


def _words(body: Any) -> str:
    """The paragraphs of a text body, a line each."""
    if body is None:
        return ""
    return "\n".join("".join(run.text or "" for run in line.iter(f"{_A}t")) for line in body.iter(f"{_A}p"))


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
    elif isinstance(shape, GraphicFrame):
        yield Block("figure", _diagram(shape), boxes=boxes, page=number)
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


def _diagram(shape: Any) -> str:
    """The words of a diagram that the program lays out by itself: they stand in a part of their own."""
    found = next(shape._element.iter(f"{_DIAGRAM}relIds"), None)
    if found is None:
        return ""
    root = etree.fromstring(shape.part.related_part(found.get(qn("r:dm"))).blob, _SAFE)
    bodies = (_words(point.find(f"{_DIAGRAM}t")) for point in root.iter(f"{_DIAGRAM}pt") if point.get("type") != "pres")
    return "\n".join(words for words in bodies if words.strip())


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
