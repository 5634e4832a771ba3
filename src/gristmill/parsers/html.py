"""HTML, by lexbor. Scripts, styles and templates are dropped; nothing is fetched."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from selectolax.lexbor import LexborHTMLParser

from gristmill.base.errors import DamagedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers.bounds import Blocks, check_size, clean, too_large
from gristmill.parsers.charset import decode
from gristmill.ports.document import Asset, Block, Cell, Kind, ParsedDocument, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_DROPPED = "script,style,noscript,template,iframe,object,embed,svg,select,rt,rp,head>*:not(title)"
_LANGUAGE = re.compile(r"\b(?:lang(?:uage)?-|highlight-(?:source-)?|brush:\s*)([\w+#-]+)", re.I)
_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*?(/?)>")
_VOID = frozenset(
    b"area base br col embed hr img input link meta param source track wbr p li td tr th dd dt option".split()
)
_DECLARED = re.compile(rb"<meta[^>]{1,500}charset\s*=\s*[\"']?\s*([\w-]+)", re.I)
_HEAD = 64 * 1024  # where the declaration is looked for: scripts may stand before it
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_MOST_SPAN = 1000
_LONGEST_CELL = 1000  # characters
_FEWEST_ROWS = 3
Event = Literal["enter", "leave", "text", "table"]

_KINDS: dict[str, Kind] = {
    "h1": "heading", "h2": "heading", "h3": "heading", "h4": "heading", "h5": "heading", "h6": "heading",
    "li": "list_item", "pre": "code", "blockquote": "quote", "figcaption": "caption", "caption": "caption",
    "textarea": "text",
}  # fmt: skip
_BLOCKS = frozenset(
    """address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol option p pre section summary table tbody td tfoot th
    thead title tr ul caption textarea""".split()
)
_LISTS = frozenset(("ul", "ol", "menu", "dir"))
_INLINE = re.compile(r"data:(image/(?:png|jpeg|gif|webp|bmp));base64,", re.I)
_PARTS = {"nav": "navigation", "footer": "footer", "aside": "aside"}
_NESTED = 20  # tables in tables; below them, all only place things on the page
_MOST_NUMBERED = 1_000_000
_LETTERS = 26
_FIRST = 30  # blocks at the beginning of a page


class HtmlParser(Parser):
    """Headings, paragraphs, lists with depth and numbers, tables with spans, code with its language, quotes, captions.

    All text is kept. What stands in ``nav``, ``footer`` and ``aside`` says so in ``attrs``: part. Title, description and
    language of the page are in ``meta``; a title that no heading repeats is a block.
    """

    name: ClassVar[str] = "html"
    version: ClassVar[int] = 5

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        check_depth(source.data, source.name, limits.max_depth)
        declared = _DECLARED.search(source.data[:_HEAD])
        text, encoding = decode(source.data, declared=declared[1].decode("ascii") if declared else "")
        tree = LexborHTMLParser(text)
        if tree.root is None:
            raise DamagedDocument(f"{source.name} cannot be read as HTML.")
        meta = {"encoding": encoding, **_meta(tree)}
        _prune(tree)
        found = Blocks(source.name, limits)
        walk = _Walk(source.name, limits)
        found.add_all(walk.blocks(tree.body or tree.root))
        blocks = Blocks(source.name, limits)
        if not _says(found, meta["title"]):
            blocks.add(Block("title", meta["title"], level=1))
        blocks.add_all(found)
        blocks.require_text("holds no text")
        return ParsedDocument(
            "html", blocks, assets=walk.assets, meta=meta, parser=f"html/{self.version}", name=source.name
        )


def _says(blocks: Sequence[Block], title: str) -> bool:
    """Whether the page itself begins with its title, or has a heading that is part of it."""
    title = title.casefold()
    return any(title in block.text.casefold() for block in blocks[:_FIRST]) or any(
        block.kind == "heading" and block.text.casefold() in title for block in blocks
    )


def _meta(tree: LexborHTMLParser) -> dict[str, str]:
    """What the page says of itself; the title is always there."""
    title = tree.css_first("head>title")
    meta = {"title": _squeezed(title.text()) if title else ""}
    described = tree.css_first('head>meta[name="description" i]')
    language = tree.css_first("html[lang]")
    meta["description"] = _squeezed(described.attributes.get("content") or "") if described else ""
    meta["language"] = _squeezed(language.attributes.get("lang") or "") if language else ""
    return {name: clean(value) for name, value in meta.items() if value or name == "title"}


def _prune(tree: LexborHTMLParser) -> None:
    """Take out what is no text; formulas as their author wrote them."""
    for node in tree.css("math"):
        written = node.css_first('annotation[encoding="application/x-tex"]')
        words = written.text() if written is not None else node.attributes.get("alttext")
        if words and node.parent is not None:
            node.replace_with(f" {_squeezed(words)} ")
    for node in tree.css(_DROPPED):
        node.decompose()


def check_depth(data: bytes, name: str, most: int) -> None:
    """Raises DocumentTooLarge where elements are nested so deep that building the tree would take for ever."""
    depth = 0
    for close, tag, empty in _TAG.findall(data):
        if empty or tag.lower() in _VOID:
            continue
        depth = max(0, depth - 1) if close else depth + 1
        if depth > most:
            raise too_large(name, "levels of nested elements", f"more than {most}", most, "max_depth")


@dataclass
class _Walk:
    """One pass over the tree without recursion; text is gathered until a block element begins or ends."""

    name: str
    limits: ParseLimits
    texts: list[str] = field(default_factory=list)
    kinds: list[tuple[Kind, int]] = field(default_factory=list)
    lists: list[_List] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    assets: dict[str, Asset] = field(default_factory=dict)
    marker: str = ""
    language: str = ""

    def blocks(self, root: Any) -> Iterator[Block]:
        for event, node in _events(root, whole_tables=True):
            tag = node.tag
            if event == "text":
                raw = node.text_content or ""
                self.texts.append(raw if self._preformatted else _BLANKS.sub(" ", raw))
            elif tag == "br":
                self.texts.append("\n" if event == "enter" else "")
            elif event == "table":
                yield from self._flush()
                for block in _tables(node, self.name, self.limits):
                    yield self._placed(block)
            elif tag in _BLOCKS:
                yield from self._flush()
                self._mark(node, entering=event == "enter")
            elif tag == "img" and event == "enter":
                yield from self._image(node)
            elif tag == "code" and self._preformatted:
                self.language = self.language or _language(node)
        yield from self._flush()

    def _image(self, node: Any) -> Iterator[Block]:
        """A picture that is in the page itself; of any other one, what it is said to show."""
        said = node.attributes.get("alt") or ""
        found = _INLINE.match(node.attributes.get("src") or "")
        data = _decoded(found.string[found.end() :].encode("ascii", "ignore")) if found else b""
        if not found or not data:
            self.texts.append(f" {said} " if said else "")
            return
        yield from self._flush()
        key = content_digest(data)
        self.assets.setdefault(key, Asset(key, found[1].lower(), data))
        yield self._placed(Block("figure", _squeezed(said), asset=key))

    @property
    def _preformatted(self) -> bool:
        return bool(self.kinds) and self.kinds[-1][0] == "code"

    def _mark(self, node: Any, *, entering: bool) -> None:
        tag = node.tag
        if tag in _LISTS and entering:
            self.lists.append(_List(node.attributes) if tag == "ol" else _List())
        elif tag in _LISTS and self.lists:
            self.lists.pop()
        if tag == "li":
            self.marker = self.lists[-1].next(node.attributes.get("value")) if entering and self.lists else ""
        if tag in _PARTS and entering:
            self.parts.append(_PARTS[tag])
        elif tag in _PARTS and self.parts:
            self.parts.pop()
        kind = _KINDS.get(tag)
        if kind and entering:
            level = int(tag[1]) if kind == "heading" else len(self.lists) if kind == "list_item" else 0
            self.kinds.append((kind, level))
            self.language = _language(node) if kind == "code" else ""
        elif kind and self.kinds:
            self.kinds.pop()

    def _flush(self) -> Iterator[Block]:
        raw = "".join(self.texts)
        self.texts.clear()
        kind, level = self.kinds[-1] if self.kinds else ("text", 0)
        text = raw if kind == "code" else "\n".join(_squeezed(line) for line in raw.split("\n"))
        if text.strip():
            marker, self.marker = (self.marker, "") if kind == "list_item" else ("", self.marker)
            attrs = {"language": self.language} if kind == "code" and self.language else {}
            yield self._placed(Block(kind, text, level=level, marker=marker, attrs=attrs))

    def _placed(self, block: Block) -> Block:
        if self.parts:
            block.attrs = block.attrs | {"part": self.parts[-1]}
        return block


class _List:
    """How far a list has counted; one without numbers never does."""

    def __init__(self, attributes: Mapping[str, str | None] | None = None) -> None:
        self._kind = (attributes.get("type") or "1") if attributes is not None else ""
        self._number = _whole(attributes.get("start"), 1) if attributes is not None else 0

    def next(self, value: str | None) -> str:
        """What stands before the next item."""
        if not self._kind:
            return ""
        number = _whole(value, self._number)
        self._number = number + 1
        if self._kind in ("a", "A") and 0 < number <= _LETTERS:
            return f"{chr(ord(self._kind) + number - 1)}."
        return f"{number}."


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def _whole(value: str | None, default: int) -> int:
    return (
        min(int(value), _MOST_NUMBERED) if value and value.isascii() and value.isdigit() and len(value) < 9 else default
    )


def _language(node: Any) -> str:
    """The language that code says it is in, by the customs of those who colour it."""
    classes = node.attributes.get("class") or ""
    found = _LANGUAGE.search(classes)
    return found[1].lower() if found else (node.attributes.get("data-lang") or "").lower()


def _events(root: Any, *, whole_tables: bool) -> Iterator[tuple[Event, Any]]:
    """The tree in order: elements when they begin and end, texts, and, if so wished, tables as a whole."""
    node, entering = root, True
    tables = 0  # around this node
    while node is not None:
        down = None
        if not entering:
            tables -= node.tag == "table"
            yield "leave", node
        elif node.is_text_node:
            yield "text", node
        elif whole_tables and node.tag == "table" and tables < _NESTED and not _is_layout(node):
            yield "table", node
        elif node.is_element_node:
            yield "enter", node
            down = node.child
            tables += node.tag == "table" and down is not None
            if down is None:
                yield "leave", node
        if down is not None:
            node, entering = down, True
        elif node.mem_id == root.mem_id:
            return
        elif node.next is not None:
            node, entering = node.next, True
        else:
            node, entering = node.parent, False


def _is_layout(table: Any) -> bool:
    """Whether a table only places things on the page: it names no columns, and it is no grid of values."""
    rows = _own(table, "tr")
    if _own(table, "th,caption"):
        return False
    widths = Counter(sum(1 for cell in row.iter() if cell.tag == "td" and cell.text().strip()) for row in rows)
    if any(len(cell.text()) > _LONGEST_CELL for cell in _own(table, "td")):
        usual, times = max(widths.items(), key=lambda pair: (pair[1], pair[0]), default=(0, 0))
        return usual < 2 or times < _FEWEST_ROWS or 2 * times <= widths.total()
    inner = any(one.mem_id != table.mem_id for one in table.css("table,h1,h2,h3,h4,h5,h6"))  # it counts itself
    return inner and sum(times for width, times in widths.items() if width > 1) < 2


def _own(table: Any, selector: str) -> list[Any]:
    """What belongs to this table, not to one that is nested in it."""
    return [one for one in table.css(selector) if _owner(one) == table.mem_id]


def _tables(node: Any, name: str, limits: ParseLimits) -> Iterator[Block]:
    """A table, and after it those that are nested in its cells; the words of mere frames stand in the cells."""
    yield _table(node, name, limits)
    for inner in node.css("table"):
        if inner.mem_id != node.mem_id and not _is_layout(inner):
            yield _table(inner, name, limits)


def _table(node: Any, name: str, limits: ParseLimits) -> Block:
    """The rows of this table, cells with their spans."""
    rows = _own(node, "tr")
    cells: list[Cell] = []
    taken: list[int] = []  # the row down to which each column is taken by a cell above
    width = steps = 0
    for number, row in enumerate(rows):
        column = 0
        for item in row.iter():
            if item.tag not in ("td", "th"):
                continue
            while column < len(taken) and taken[column] > number:
                column += 1
            wide = _span(item, "colspan")
            high = min(_span(item, "rowspan"), len(rows) - number)
            cells.append(Cell(_cell_text(item), number, column, high, wide, item.tag == "th"))
            if high > 1:
                taken.extend([0] * (column + wide - len(taken)))
                taken[column : column + wide] = [number + high] * wide
            column += wide
        width = max(width, column)
        steps += max(column, width)
        if steps > limits.max_cells:
            raise too_large(name, "cells in a table", f"more than {limits.max_cells}", limits.max_cells, "max_cells")
    caption = node.css_first("caption")
    bodies = [cell.row for cell in cells if not cell.header]
    heads = min(bodies, default=min(1, len(rows)))  # rows of nothing but names; of a table of names the first
    title = _squeezed(caption.text()) if caption is not None and _owner(caption) == node.mem_id else ""
    if cells:
        return Block("table", title, table=Table(len(rows), width, cells, heads, title))
    return Block("text", _cell_text(node))


def _owner(node: Any) -> int:
    """The table that this node belongs to."""
    up = node.parent
    while up is not None and up.tag != "table":
        up = up.parent
    return up.mem_id if up is not None else 0


def _cell_text(node: Any) -> str:
    """All text of a cell but that of nested tables; its blocks on lines of their own."""
    texts: list[str] = []
    for event, inner in _events(node, whole_tables=True):
        if event == "text":
            texts.append(_BLANKS.sub(" ", inner.text_content or ""))
        elif inner.tag in _BLOCKS or inner.tag == "br":
            texts.append("\n")
        elif inner.tag == "img" and event == "enter" and inner.attributes.get("alt"):
            texts.append(f" {inner.attributes['alt']} ")
    return "\n".join(line for line in (_squeezed(line) for line in "".join(texts).split("\n")) if line)


def _span(node: Any, name: str) -> int:
    value = node.attributes.get(name) or "1"
    return max(1, min(int(value), _MOST_SPAN)) if value.isascii() and value.isdigit() else 1


def _squeezed(text: str) -> str:
    return _BLANKS.sub(" ", text).strip()
