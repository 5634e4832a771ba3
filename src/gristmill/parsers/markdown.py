"""Markdown, by markdown-it: the blocks of CommonMark with tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token

from gristmill.base.errors import EmptyDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.bounds import Blocks, check_size, clean
from gristmill.parsers.charset import decode
from gristmill.ports.document import Block, Cell, Kind, ParsedDocument, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_FRONT_MATTER = re.compile(r"\A(?:---[ \t]*\n(.*?)\n(?:---|\.\.\.)|\+\+\+[ \t]*\n(.*?)\n\+\+\+)[ \t]*(?:\n|\Z)", re.S)
_FIELD = re.compile(r"^([\w-]+)(?::[ \t]*|[ \t]*=[ \t]*)(.+)$", re.M)
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]:[ \t]?")
_LANGUAGE = re.compile(r"\{?\.?([^\s{},.]+)")
_TABLE = re.compile(r"<(/?)table\b", re.I)
_HEADING_AFTER_HTML = re.compile(r"(</(?:table|div|p|details|center|ul|ol)>[ \t]*\n)(?=#{1,6}[ \t])", re.I)
_MARKS = re.compile(r"^[\s>*+-]+", re.M)
_LONGEST_TABLE = 2_000  # lines looked at for the end of an HTML table
_LONGEST_FORMULA = 200  # lines
_DEEPEST = 100  # nested quotes and lists


class MarkdownParser(Parser):
    """Headings, paragraphs, list items with their depth and number, tables, code, quotes, notes, formulas. Front matter is a
    record, and ``meta``. HTML inside is read as HTML."""

    name: ClassVar[str] = "markdown"
    version: ClassVar[int] = 4

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        text, encoding = decode(source.data)
        text = clean(text)
        front = _FRONT_MATTER.match(text)
        meta = {"encoding": encoding}
        blocks = Blocks(source.name, limits)
        if front:
            said = front[1] or front[2] or ""
            blocks.add(Block("record", said, attrs={"part": "front matter"}))
            meta |= {field[1]: field[2].strip(" \t'\"") for field in _FIELD.finditer(said)}
            text = text[front.end() :]
        reader = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
        reader.block.ruler.before("reference", "footnote", _footnote, {"alt": ["paragraph", "reference", "list"]})
        reader.block.ruler.before("paragraph", "formula", _formula, {"alt": ["paragraph", "reference"]})
        text = _HEADING_AFTER_HTML.sub(r"\1\n", text)
        for block in _blocks(_with_whole_tables(reader.parse(text), text.split("\n"))):
            if block.kind == "text" and block.attrs.get("part") == "html":
                blocks.add_all(_html(block.text, source.name, limits))
            else:
                blocks.add(block)
        blocks.require_text("holds no text")
        return ParsedDocument("markdown", blocks, meta=meta, parser=f"markdown/{self.version}", name=source.name)


def _footnote(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """The text of a note: a paragraph that CommonMark would take for the target of a link, and not show."""
    begin = _FOOTNOTE.match(state.src, state.bMarks[first] + state.tShift[first])
    if not begin or state.is_code_block(first):
        return False
    if silent:
        return True
    line = first + 1
    while (
        line < last
        and not state.isEmpty(line)
        and not _FOOTNOTE.match(state.src, state.bMarks[line] + state.tShift[line])
    ):
        line += 1
    state.push("paragraph_open", "p", 1).map = [first, line]
    token = state.push("inline", "", 0)
    token.content, token.map, token.children = (
        state.getLines(first, line, state.blkIndent, False).strip(),
        [first, line],
        [],
    )
    state.push("paragraph_close", "p", -1)
    state.line = line
    return True


def _formula(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """A formula between lines of two dollars: nothing in it is a mark."""
    begin = _line(state, first)
    if not begin.lstrip().startswith("$$") or state.is_code_block(first):
        return False
    end = first if len(begin.strip()) > 4 and begin.endswith("$$") else _closed(state, first, last)
    if end is None:
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content = state.getLines(first, end + 1, state.blkIndent, False).strip().strip("$").strip()
        token.map = [first, end + 1]
        state.line = end + 1
    return True


def _closed(state: StateBlock, first: int, last: int) -> int | None:
    """The line that ends a formula. Lines that were once found to end none are not looked at again."""
    seen = state.env.get("unclosed", (0, 0))  # from and to
    line = max(first + 1, seen[1]) if seen[0] <= first else first + 1
    while line < min(last, first + _LONGEST_FORMULA):
        if _line(state, line).endswith("$$"):
            return line
        line += 1
    state.env["unclosed"] = (first, line)
    return None


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] : state.eMarks[number]].rstrip()


def _html(text: str, name: str, limits: ParseLimits) -> list[Block]:
    """The blocks of a piece of HTML; none where it only draws or comments."""
    try:
        return PARSERS.load("html")().parse(Source(name, text.encode("utf-8", "replace")), limits).blocks
    except EmptyDocument:
        return []


def _with_whole_tables(tokens: Sequence[Token], lines: Sequence[str]) -> list[Token]:
    """The tokens, HTML tables whole: CommonMark ends one at an empty line. And nothing lost below the deepest level."""
    found: list[Token] = []
    until = skipped = 0  # the line that a table was completed to; how deep in what it swallowed
    for token in tokens:
        if skipped or (token.map and token.map[0] < until):
            skipped += token.nesting
            continue
        if token.map and token.type == "html_block":
            until = _table_end(lines, *token.map)
            token.content = "\n".join(lines[token.map[0] : until])
        elif token.map and token.nesting == 1 and token.level >= _DEEPEST - 1:
            token.content = "\n".join(lines[token.map[0] : token.map[1]])
        found.append(token)
    return found


def _table_end(lines: Sequence[str], first: int, last: int) -> int:
    """The line after a piece of HTML, with the rest of a table that it began."""
    still_open = 0
    for number in range(first, min(len(lines), last + _LONGEST_TABLE)):
        if number >= last and still_open <= 0:
            return number
        still_open += sum(-1 if close else 1 for close in _TABLE.findall(lines[number]))
    return last if still_open > 0 else min(len(lines), last + _LONGEST_TABLE)


def _blocks(tokens: Sequence[Token]) -> Iterator[Block]:
    open_: list[Token] = []  # the containers around the current token
    markers: list[str] = []  # the number or bullet of each list item, until it was shown
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.type == "table_open":
            end = next(n for n in range(at, len(tokens)) if tokens[n].type == "table_close")
            yield _table(tokens[at:end])
            at = end
        elif token.nesting == 1:
            open_.append(token)
            if token.level >= _DEEPEST - 1 and token.content:
                yield Block("text", _MARKS.sub("", token.content))
            if token.type == "list_item_open":
                markers.append(token.info + token.markup if token.info else "")
        elif token.nesting == -1:
            open_.pop()
            if token.type == "list_item_close":
                markers.pop()
        elif token.type == "inline":
            yield _inline(token, open_, markers)
        elif token.type in ("fence", "code_block", "html_block", "formula"):
            yield _verbatim(token)
        at += 1


def _verbatim(token: Token) -> Block:
    if token.type == "html_block":
        return Block("text", token.content, attrs={"part": "html"})
    if token.type == "formula":
        return Block("formula", token.content)
    found = _LANGUAGE.match(token.info.strip())
    language = found[1] if found else ""
    return Block("code", token.content, attrs={"language": language} if language else {})


def _inline(token: Token, open_: Sequence[Token], markers: list[str]) -> Block:
    text = _text(token)
    inner = open_[-1].type if open_ else ""
    if inner == "heading_open":
        return Block("heading", text, level=int(open_[-1].tag[1]))
    depth = sum(one.type in ("bullet_list_open", "ordered_list_open") for one in open_)
    if depth:
        marker, markers[-1] = markers[-1], ""
        return Block("list_item", text, level=depth, marker=marker)
    if _FOOTNOTE.match(text):
        return Block("footnote", text)
    kind: Kind = "quote" if any(one.type == "blockquote_open" for one in open_) else "text"
    return Block(kind, text)


def _text(token: Token) -> str:
    """The words of an inline token: no marks, no link targets, the alternative text of pictures."""
    pieces = []
    for child in token.children or []:
        if child.type in ("text", "code_inline"):
            pieces.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            pieces.append("\n")
        elif child.type == "image":
            pieces.append(_text(child))
        elif child.type == "html_inline" and child.content.lower().startswith("<br"):
            pieces.append("\n")
    return "".join(pieces)


def _table(tokens: Sequence[Token]) -> Block:
    cells: list[Cell] = []
    row, column = -1, 0
    for token in tokens:
        if token.type == "tr_open":
            row, column = row + 1, 0
        elif token.type in ("th_open", "td_open"):
            cells.append(Cell("", row, column, header=token.type == "th_open"))
            column += 1
        elif token.type == "inline" and cells:
            cells[-1].text = _text(token)
    width = max((cell.col + 1 for cell in cells), default=0)
    return Block("table", "", table=Table(row + 1, width, cells, header_rows=1))
