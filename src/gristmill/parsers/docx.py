"""Word documents, opened by python-docx and read from their XML: it knows no text boxes, notes and content controls."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import docx
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from lxml import etree

from gristmill.base.errors import DamagedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers.bounds import Blocks, open_zip
from gristmill.parsers.numbering import Numbering, read_numbering
from gristmill.parsers.ooxml import add_embedded, transitional
from gristmill.ports.document import Asset, Block, Cell, Kind, ParsedDocument, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_HEADING = re.compile(r"(?:heading|标题|標題|überschrift|titre|título|titolo|заголовок|見出し)\s*(\d)", re.I)
_LIST = re.compile(r"list|列表|清單", re.I)
_TEXT_BOX = qn("w:txbxContent")
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_DELETED = frozenset((qn("w:del"), qn("w:moveFrom")))
_PICTURES = ((qn("a:blip"), qn("r:embed")), ("{urn:schemas-microsoft-com:vml}imagedata", qn("r:id")))
_BREAKS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-", qn("w:ptab"): "\t"}
_LONGEST_CELL = 1000  # characters
_NOTES = (("footnotes", "w:footnote"), ("endnotes", "w:endnote"), ("comments", "w:comment"))
_ERRORS = (OpcError, KeyError, ValueError, TypeError, AttributeError, IndexError, etree.LxmlError, zipfile.BadZipFile)


class DocxParser(Parser):
    """Headings by style and outline level, lists with their numbers, tables with spans, text boxes, notes, comments, heads
    and feet, pictures; embedded files as children. No text that is hidden or that tracked changes have deleted."""

    name: ClassVar[str] = "docx"
    version: ClassVar[int] = 3

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        parsed = ParsedDocument("docx", blocks, parser=f"docx/{self.version}", name=source.name)
        with open_zip(source, limits) as archive:
            try:
                document = docx.Document(io.BytesIO(transitional(source.data, archive)))
                reader = _Reader(document)
                for story in (reader.heads("header"), reader.body(document.element.body), reader.notes()):
                    blocks.add_all(story)
                blocks.add_all(reader.heads("footer"))
                parsed.meta = {"title": _title(document)}
            except _ERRORS as exc:
                raise DamagedDocument(
                    f"{source.name} is a damaged Word document ({type(exc).__name__}: {exc}). Open it in Word and save it "
                    "again."
                ) from exc
            parsed.assets = reader.assets
            add_embedded(parsed, archive, limits)
        if not parsed.children:
            blocks.require_text("holds no text")
        return parsed


def _title(document: Any) -> str:
    """What the document is called in its properties, which nothing else depends on."""
    try:
        return document.core_properties.title or ""
    except _ERRORS:
        return ""


@dataclass(frozen=True)
class _Style:
    """What a paragraph style says, directly or through the styles it is based on."""

    name: str
    level: int  # of a heading, 0 for none
    listed: bool
    numbered: tuple[str, int] = ("", 0)  # the list that its paragraphs count in, and at what level
    hidden: bool = False


@dataclass
class _Reader:
    document: Any
    assets: dict[str, Asset] = field(default_factory=dict)

    def body(self, parent: Any, part: Any = None) -> Iterator[Block]:
        """The blocks of a story: body, text box, note, head or foot."""
        part = part or self.document.part
        for item in _stories(parent):
            if item.tag == qn("w:p"):
                yield from self._paragraph(item, part)
            elif _is_layout(item):
                for cell in _cells(item):
                    yield from self.body(cell, part)
            else:
                yield from self._table(item, part)

    def notes(self) -> Iterator[Block]:
        for kind, tag in _NOTES:
            for related in self._related(kind):
                root = etree.fromstring(related.blob, _SAFE)
                for note in root.iterchildren(qn(tag)):
                    if note.get(qn("w:type")) is None:  # the others draw the separating line
                        for block in self.body(note, related):
                            block.kind = "footnote" if block.kind == "text" else block.kind
                            yield block

    def heads(self, kind: str) -> Iterator[Block]:
        """Running heads or feet, each text once."""
        seen: set[str] = set()
        for related in self._related(kind):
            for block in self.body(_root_of(related), related):
                if block.text and block.text not in seen:
                    seen.add(block.text)
                    block.kind = "header" if kind == "header" else "footer"
                    yield block

    def _related(self, kind: str) -> list[Any]:
        relations = self.document.part.rels.values()
        return [one.target_part for one in relations if not one.is_external and one.reltype.endswith(f"/{kind}")]

    def _paragraph(self, item: Any, part: Any) -> Iterator[Block]:
        style = self._style(item)
        number = self._number(item, style)
        text = "" if style.hidden else _text(item, self._hidden).strip()
        if text:
            yield self._block(item, text, style, number)
        yield from self._pictures(item, part)
        for box in item.iter(_TEXT_BOX):
            if not any(up.tag == _FALLBACK for up in box.iterancestors()) and _nearest(box) is item:
                yield from self.body(box, part)

    def _number(self, item: Any, style: _Style) -> str:
        """The number before a paragraph. A list that only lays out (its number is 0) is none."""
        own = item.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
        name, level = _numbered(own, style.numbered) if own is not None else style.numbered
        return self._numbering.number(name, level)

    def _block(self, item: Any, text: str, style: _Style, number: str) -> Block:
        own = item.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
        level = _number(own, 9) + 1 if own is not None else style.level
        if 0 < level <= 9:
            # a bare 1.2 is not said with the heading; a chapter's or an article's name is
            said = number if any(char.isalpha() for char in number) else ""
            return Block("heading", text, level=level, marker=said, attrs={"number": number} if number else {})
        if style.name.lower() in ("title", "标题", "標題"):
            return Block("title", text, level=1)
        listed = item.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
        if style.listed or listed is not None:
            return Block("list_item", text, level=1 + _numbered(listed, style.numbered)[1], marker=number)
        kind: Kind = (
            "caption" if style.name.lower() == "caption" else "quote" if "quote" in style.name.lower() else "text"
        )
        return Block(kind, text)

    @cached_property
    def _numbering(self) -> Numbering:
        parts = self._related("numbering")
        return read_numbering(_root_of(parts[0])) if parts else Numbering()

    @cached_property
    def _hidden(self) -> frozenset[str]:
        return frozenset(name for name, style in self._styles.items() if style.hidden)

    def _style(self, item: Any) -> _Style:
        found = item.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
        return self._styles.get(found.get(qn("w:val")) if found is not None else "", _Style("", 0, False))

    @cached_property
    def _styles(self) -> dict[str, _Style]:
        elements = {one.get(qn("w:styleId")): one for one in self.document.styles.element.iter(qn("w:style"))}
        return {name: _read_style(name, elements) for name in elements}

    def _pictures(self, item: Any, part: Any) -> Iterator[Block]:
        for tag, attribute in _PICTURES:
            for one in item.iter(tag):
                if _nearest(one) is not item or any(up.tag == _FALLBACK for up in one.iterancestors()):
                    continue
                picture = part.related_parts.get(one.get(attribute)) if one.get(attribute) else None
                if picture is None:
                    continue
                key = content_digest(picture.blob)
                self.assets.setdefault(key, Asset(key, picture.content_type, picture.blob))
                yield Block("figure", "", asset=key)

    def _table(self, item: Any, part: Any) -> Iterator[Block]:
        cells: list[Cell] = []
        above: dict[int, Cell] = {}  # the cell that a merged one continues, by column
        rows = [row for row in _stories(item, (qn("w:tr"),)) if row.find(f"{qn('w:trPr')}/{qn('w:del')}") is None]
        for number, row in enumerate(rows):
            column = _number(row.find(f"{qn('w:trPr')}/{qn('w:gridBefore')}"), 0)
            for cell in _stories(row, (qn("w:tc"),)):
                span = max(1, _number(cell.find(f"{qn('w:tcPr')}/{qn('w:gridSpan')}"), 1))
                merged = cell.find(f"{qn('w:tcPr')}/{qn('w:vMerge')}")
                if merged is not None and merged.get(qn("w:val"), "continue") == "continue" and column in above:
                    above[column].rowspan = number - above[column].row + 1
                else:
                    above[column] = Cell(self._cell_text(cell, part), number, column, 1, span, header=number == 0)
                    cells.append(above[column])
                column += span
        width = max((cell.col + cell.colspan for cell in cells), default=0)
        yield Block("table", "", table=Table(len(rows), width, cells, header_rows=1 if len(rows) > 1 else 0))
        yield from self._pictures(item, part)

    def _cell_text(self, cell: Any, part: Any) -> str:
        lines = []
        for block in self.body(cell, part):
            if block.table is not None:
                lines += [" ".join(value for value in row if value) for row in block.table.grid()]
            elif block.text:
                lines.append(block.text)
        return "\n".join(lines)


_SAFE = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


def _root_of(part: Any) -> Any:
    element = getattr(part, "element", None)
    return element if element is not None else etree.fromstring(part.blob, _SAFE)


def _stories(parent: Any, wanted: tuple[str, ...] = (qn("w:p"), qn("w:tbl"))) -> Iterator[Any]:
    """The children of these kinds, also those inside content controls, custom XML and accepted changes."""
    for item in parent.iterchildren():
        if item.tag in wanted:
            yield item
        elif item.tag in (qn("w:sdt"), qn("w:sdtContent"), qn("w:customXml"), qn("w:ins"), qn("w:moveTo")):
            yield from _stories(item, wanted)


def _cells(table: Any) -> Iterator[Any]:
    for row in _stories(table, (qn("w:tr"),)):
        yield from _stories(row, (qn("w:tc"),))


def _is_layout(table: Any) -> bool:
    """Whether a table only places things on the page: a frame around one cell, or documents below each other."""
    rows = [list(_stories(row, (qn("w:tc"),))) for row in _stories(table, (qn("w:tr"),))]
    if len(rows) == 1 and len(rows[0]) == 1:
        return True
    sizes = [[sum(len(text.text or "") for text in cell.iter(qn("w:t"))) for cell in row] for row in rows]
    if any(sum(size > 0 for size in row) > 1 for row in sizes):
        return False
    inner = any(cell.find(f".//{qn('w:tbl')}") is not None for row in rows for cell in row)
    return inner or any(size > _LONGEST_CELL for row in sizes for size in row)


def _text(paragraph: Any, hidden: frozenset[str]) -> str:
    """The text of a paragraph without that of its text boxes, what was deleted, and what is hidden."""
    pieces: list[str] = []
    stack = [paragraph]
    while stack:
        item = stack.pop()
        if item.tag == qn("w:t"):
            pieces.append(item.text or "")
        elif item.tag in _BREAKS:
            pieces.append(_BREAKS[item.tag])
        elif item.tag == qn("w:sym") or (item.tag == qn("w:r") and _is_hidden(item, hidden)):
            continue
        elif item.tag not in (_TEXT_BOX, _FALLBACK, qn("w:pPr")) and item.tag not in _DELETED:
            if item.tag == qn("m:t"):
                pieces.append(item.text or "")
            stack.extend(reversed(item))
    return "".join(pieces)


def _is_hidden(run: Any, styles: frozenset[str]) -> bool:
    properties = run.find(qn("w:rPr"))
    if properties is None:
        return False
    own = properties.find(qn("w:vanish"))
    if own is not None:
        return _is_on(own)
    style = properties.find(qn("w:rStyle"))
    return style is not None and style.get(qn("w:val")) in styles


def _is_on(switch: Any) -> bool:
    return switch.get(qn("w:val"), "1") not in ("0", "false", "off")


def _nearest(item: Any) -> Any:
    """The paragraph that an element stands in."""
    for up in item.iterancestors():
        if up.tag == qn("w:p"):
            return up
    return None


def _read_style(name: str, elements: dict[str, Any]) -> _Style:
    """A style with what it takes from those it is based on: the nearest that says something decides."""
    title, level, listed, hidden = "", 0, False, None
    numbered: tuple[str, int] = ("", 0)
    seen: set[str] = set()
    current: str | None = name
    while current in elements and current not in seen:
        seen.add(current)
        element = elements[current]
        named = element.find(qn("w:name"))
        own = named.get(qn("w:val"), "") if named is not None else ""
        title = title or own
        level = level or _level_of(own, element)
        listing = element.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
        listed = listed or listing is not None or bool(_LIST.match(own))
        numbered = _numbered(listing, numbered) if not numbered[0] else numbered
        switch = element.find(f"{qn('w:rPr')}/{qn('w:vanish')}")
        hidden = _is_on(switch) if switch is not None and hidden is None else hidden
        based = element.find(qn("w:basedOn"))
        current = based.get(qn("w:val")) if based is not None else None
    return _Style(title, level if level <= 9 else 0, listed and not level, numbered, bool(hidden))


def _level_of(name: str, style: Any) -> int:
    """The level of a heading that a style's own name or properties tell; 10 for body text, 0 for nothing."""
    match = _HEADING.fullmatch(name.strip())
    if match:
        return int(match[1])
    outline = style.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
    return _number(outline, 9) + 1 if outline is not None else 0


def _numbered(properties: Any, otherwise: tuple[str, int]) -> tuple[str, int]:
    """The list and the level that these properties of a paragraph name."""
    if properties is None:
        return otherwise
    name, level = properties.find(qn("w:numId")), properties.find(qn("w:ilvl"))
    return (
        name.get(qn("w:val"), "") if name is not None else otherwise[0],
        _number(level, 0) if level is not None else otherwise[1],
    )


def _number(element: Any, default: int) -> int:
    value = element.get(qn("w:val"), "") if element is not None else ""
    return min(int(value), 1000) if value.isascii() and value.isdigit() else default
