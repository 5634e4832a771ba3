"""HTML, by lexbor. Scripts, styles and templates are dropped; nothing is fetched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from selectolax.lexbor import LexborHTMLParser

from gristmill.base.errors import DamagedDocument
from gristmill.parsers.bounds import Blocks, check_size, too_large
from gristmill.parsers.charset import decode
from gristmill.ports.document import Block, Cell, Kind, ParsedDocument, Range, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_DROPPED = "script,style,noscript,template,iframe,object,embed,svg,math>annotation,select,head>*:not(title)"
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


class HtmlParser(Parser):
    """Headings, paragraphs, lists with their depth, tables with spans, code, quotes, captions."""

    name: ClassVar[str] = "html"
    version: ClassVar[int] = 3

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        check_size(source, limits)
        check_depth(source.data, source.name, limits.max_depth)
        declared = _DECLARED.search(source.data[:_HEAD])
        text, encoding = decode(source.data, declared=declared[1].decode("ascii") if declared else "")
        tree = _tree(text, source.name)
        blocks = Blocks(source.name, limits)
        title = tree.css_first("head>title")
        meta = {"encoding": encoding, "title": _squeezed(title.text()) if title else ""}
        for block in _Walk().blocks(tree.body or tree.root):
            blocks.add(block)
        if not blocks and meta["title"]:
            blocks.add(Block("title", meta["title"], level=1))
        blocks.require_text("holds no text")
        return ParsedDocument("html", blocks, meta=meta, parser=f"html/{self.version}", name=source.name)


def _tree(text: str, name: str) -> LexborHTMLParser:
    tree = LexborHTMLParser(text)
    if tree.root is None:
        raise DamagedDocument(f"{name} cannot be read as HTML.")
    for node in tree.css(_DROPPED):
        node.decompose()
    return tree


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

    texts: list[str] = field(default_factory=list)
    kinds: list[tuple[Kind, int]] = field(default_factory=list)
    lists: int = 0

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
                yield from _tables(node)
            elif tag in _BLOCKS:
                yield from self._flush()
                self._mark(tag, entering=event == "enter")
            elif tag == "img" and event == "enter" and node.attributes.get("alt"):
                self.texts.append(f" {node.attributes['alt']} ")
        yield from self._flush()

    @property
    def _preformatted(self) -> bool:
        return bool(self.kinds) and self.kinds[-1][0] == "code"

    def _mark(self, tag: str, *, entering: bool) -> None:
        if tag in _LISTS:
            self.lists += 1 if entering else -1
        kind = _KINDS.get(tag)
        if kind and entering:
            level = int(tag[1]) if kind == "heading" else self.lists if kind == "list_item" else 0
            self.kinds.append((kind, level))
        elif kind and self.kinds:
            self.kinds.pop()

    def _flush(self) -> Iterator[Block]:
        raw = "".join(self.texts)
        self.texts.clear()
        kind, level = self.kinds[-1] if self.kinds else ("text", 0)
        text = raw if kind == "code" else "\n".join(_squeezed(line) for line in raw.split("\n"))
        if text.strip():
            yield Block(kind, text, level=level)


def _events(root: Any, *, whole_tables: bool) -> Iterator[tuple[Event, Any]]:
    """The tree in order: elements when they begin and end, texts, and, if so wished, tables as a whole."""
    node, entering = root, True
    while node is not None:
        down = None
        if not entering:
            yield "leave", node
        elif node.is_text_node:
            yield "text", node
        elif whole_tables and node.tag == "table" and not _is_layout(node):
            yield "table", node
        elif node.is_element_node:
            yield "enter", node
            down = node.child
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


def _tables(node: Any) -> Iterator[Block]:
    """A table, and after it those that are nested in its cells."""
    yield _table(node)
    for inner in node.css("table"):
        if inner.mem_id != node.mem_id:
            yield _table(inner)


def _table(node: Any) -> Block:
    """The rows of this table, cells with their spans."""
    rows = _own(node, "tr")
    cells: list[Cell] = []
    taken: set[tuple[int, int]] = set()
    for number, row in enumerate(rows):
        column = 0
        for item in row.iter():
            if item.tag not in ("td", "th"):
                continue
            while (number, column) in taken:
                column += 1
            wide = _span(item, "colspan")
            high = min(_span(item, "rowspan"), len(rows) - number)
            cells.append(Cell(_cell_text(item), number, column, high, wide, item.tag == "th"))
            if high > 1:
                taken.update((number + r, column + c) for r in range(1, high) for c in range(wide))
            column += wide
    width = max((cell.col + cell.colspan for cell in cells), default=0)
    caption = node.css_first("caption")
    bodies = [cell.row for cell in cells if not cell.header]
    heads = min(bodies, default=min(1, len(rows)))  # rows of nothing but names; of a table of names the first
    title = _squeezed(caption.text()) if caption is not None and _owner(caption) == node.mem_id else ""
    table = Table(len(rows), width, cells, heads, title)
    if cells:
        return Block("table", title, table=table)
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
