"""Rich Text Format, by our own reader: text, structure and pictures; objects and what they would start are passed over."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from gristmill.base.errors import DamagedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers.bounds import Blocks, check_size, too_large
from gristmill.ports.document import Asset, Block, Cell, Kind, ParsedDocument, Table
from gristmill.ports.parser import ParseLimits, Parser, Source

_TOKEN = re.compile(
    r"\\([a-z]{1,32})(-?\d{1,10})?[ ]?|\\'([0-9a-f]{2})|\\(.)|([{}])|[\r\n\0]+|([^\\{}\r\n\0]+)", re.I | re.S
)
_HEADING = re.compile(r"(?:heading|标题|überschrift|titre)\s*(\d)", re.I)
_CHARSETS = {128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256,
             186: 1257, 204: 1251, 222: 874, 238: 1250}  # fmt: skip
_CODECS = {936: "gb18030", 950: "big5hkscs", 1361: "johab", 10000: "mac_roman", 65001: "utf-8"}
_SKIPPED = frozenset(
    """colortbl info object fldinst pntext pntxta pntxtb listtable listoverridetable themedata datastore xmlnstbl
    revtbl rsidtbl generator filetbl latentstyles colorschememapping fontemb private1 nonshppict bkmkstart bkmkend tc xe
    atnid atnauthor atrfstart atrfend nextfile template objdata objclass""".split()
)
_KEPT = frozenset(("shptxt", "fldrslt", "shppict", "ftnsep", "htmltag"))  # of the destinations that may be passed over
_STORIES: dict[str, Kind] = {
    "header": "header", "headerl": "header", "headerr": "header", "headerf": "header", "footer": "footer",
    "footerl": "footer", "footerr": "footer", "footerf": "footer", "footnote": "footnote", "annotation": "footnote",
}  # fmt: skip
_CHARACTERS = {"tab": "\t", "line": "\n", "lbr": "\n", "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘",
               "rquote": "’", "ldblquote": "“", "rdblquote": "”", "emspace": " ", "enspace": " ", "qmspace": " "}  # fmt: skip
_SYMBOLS = {"~": " ", "_": "-", "\\": "\\", "{": "{", "}": "}", "\n": "\n", "\r": "\n", "\t": "\t"}
_ENDS = frozenset(("par", "sect", "page", "column", "cell", "nestcell", "row", "nestrow"))
_BODY = 9
_BLIPS = {"pngblip": "image/png", "jpegblip": "image/jpeg"}
_RESETS: dict[str, dict[str, Any]] = {
    "pard": {"style": -1, "level": 0, "listed": 0, "in_table": False},
    "plain": {"hidden": False},
}


class RtfParser(Parser):
    """Headings by style and outline level, list items, tables, notes, heads and feet, in the code page of each font;
    pictures."""

    name: ClassVar[str] = "rtf"
    version: ClassVar[int] = 2

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        if not source.data.lstrip().startswith(b"{\\rt"):
            raise DamagedDocument(f"{source.name} is no RTF document: it does not begin with {{\\rtf.")
        blocks = Blocks(source.name, limits)
        reader = _Reader(source, limits)
        blocks.add_all(reader.blocks())
        blocks.require_text("holds no text")
        return ParsedDocument("rtf", blocks, assets=reader.assets, parser=f"rtf/{self.version}", name=source.name)


@dataclass(frozen=True)
class _State:
    """What a group inherits from the one around it."""

    place: str = ""  # the destination: "" for text, or the name of one that is gathered or passed over
    story: Kind = "text"
    codec: str = "cp1252"
    skip: int = 1  # characters that stand in for one in Unicode
    hidden: bool = False
    style: int = -1
    level: int = 0
    listed: int = 0
    in_table: bool = False


@dataclass
class _Reader:
    source: Source
    limits: ParseLimits
    state: _State = field(default_factory=_State)
    stack: list[_State] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)  # bytes of a code page that are not decoded yet
    fonts: dict[int, str] = field(default_factory=dict)
    font: int = 0
    styles: dict[int, int] = field(default_factory=dict)  # headings: number of the style, level
    named: list[str] = field(default_factory=list)
    standing_in: int = 0
    optional: bool = False
    cells: list[Cell] = field(default_factory=list)
    row: int = 0
    col: int = 0
    lines: list[str] = field(default_factory=list)
    ansi: str = "cp1252"
    assets: dict[str, Asset] = field(default_factory=dict)
    figures: list[Block] = field(default_factory=list)  # of the paragraph that is being read
    picture: list[str] = field(default_factory=list)  # hexadecimal digits
    mime: str = ""
    aside: list[Block] = field(default_factory=list)
    around: list[list[str]] = field(default_factory=list)  # the paragraphs that notes stand in

    def blocks(self) -> Iterator[Block]:
        text = self.source.data.decode("latin-1")
        at = 0
        while match := _TOKEN.match(text, at):
            at = match.end()
            word, number, byte, symbol, brace, run = match.groups()
            if word == "bin":
                size = max(0, int(number or 0))
                self.picture.append(text[at : at + size].encode("latin-1").hex() if self.state.place == "pict" else "")
                at += size
            elif word:
                yield from self._word(word.lower(), int(number) if number else None)
            elif brace:
                self._brace(brace)
            elif byte:
                self._bytes(bytes.fromhex(byte))
            elif symbol:
                self._symbol(symbol)
            elif run:
                self._bytes(run.encode("latin-1"))
        yield from self._end("par")
        yield from self._table()
        yield from self._figures()
        yield from self.aside

    def _brace(self, brace: str) -> None:
        self._decode()
        self.standing_in, self.optional = 0, False
        if brace == "{":
            if len(self.stack) >= self.limits.max_depth:
                found = f"more than {self.limits.max_depth}"
                raise too_large(self.source.name, "groups in each other", found, self.limits.max_depth, "max_depth")
            self.stack.append(self.state)
        elif self.stack:
            self._leave(self.stack.pop())

    def _leave(self, outer: _State) -> None:
        if self.state.place == "stylesheet" and self.named:
            self._name_style()
        if self.state.place == "pict" and outer.place != "pict":
            self._end_picture()
        if self.state.story != outer.story:
            self.aside.append(Block(self.state.story, _joined(self.texts)))
            self.texts = self.around.pop() if self.around else []
        self.state = outer

    def _end_picture(self) -> None:
        """A bitmap goes behind the paragraph that it stands in; drawings of lines (metafiles) are left out."""
        digits, mime = "".join(self.picture), self.mime
        self.picture, self.mime = [], ""
        try:
            data = bytes.fromhex(digits) if mime else b""
        except ValueError:
            return
        if data:
            key = content_digest(data)
            self.assets.setdefault(key, Asset(key, mime, data))
            self.figures.append(Block("figure", "", asset=key))

    def _figures(self) -> Iterator[Block]:
        figures, self.figures = self.figures, []
        yield from figures

    def _name_style(self) -> None:
        found = _HEADING.match("".join(self.named).strip())
        if found and self.state.style >= 0:
            self.styles[self.state.style] = int(found[1])
        self.named.clear()

    def _word(self, word: str, number: int | None) -> Iterator[Block]:
        self._decode()
        if self._destination(word):
            return
        if word == "u" and number is not None:
            self._put(_character(number))
            self.standing_in = self.state.skip
        elif word in _CHARACTERS:
            self._put(_CHARACTERS[word])
        elif word in _ENDS and not self.state.place:
            yield from self._end(word)
        else:
            self._property(word, number)

    def _destination(self, word: str) -> bool:
        optional, self.optional = self.optional, False
        if word in ("fonttbl", "stylesheet") or (word == "pict" and not self.state.place):
            self.state = replace(self.state, place=word)
            self.picture, self.mime = [], ""
        elif word in _STORIES and not self.state.place:
            self.around.append(self.texts)
            self.texts = []
            self.state = replace(self.state, story=_STORIES[word])
        elif word in _SKIPPED or (optional and word not in _KEPT and not self._gathered(word)):
            self.state = replace(self.state, place="skipped")
        else:
            return False
        return True

    def _gathered(self, word: str) -> bool:
        return self.state.place == "stylesheet" and word in ("cs", "ts", "ds")

    def _property(self, word: str, number: int | None) -> None:
        value = 1 if number is None else number
        self.mime = _BLIPS.get(word, self.mime)
        if word in ("ansicpg", "f", "fcharset", "deff"):
            self._code_page(word, value)
        elif word == "uc":
            self.state = replace(self.state, skip=max(0, min(value, 9)))
        elif word in ("v", "htmlrtf", "deleted"):
            self.state = replace(self.state, hidden=bool(value))
        elif word in _RESETS:
            self.state = replace(self.state, **_RESETS[word])
        elif word == "s":
            self.state = replace(self.state, style=value)
        elif word == "outlinelevel":
            self.state = replace(self.state, level=value + 1 if value < _BODY else 0)
        elif word == "ls":
            self.state = replace(self.state, listed=max(1, self.state.listed))
        elif word == "ilvl":
            self.state = replace(self.state, listed=value + 1)
        elif word == "intbl":
            self.state = replace(self.state, in_table=True)

    def _code_page(self, word: str, value: int) -> None:
        if word == "ansicpg":
            self.state = replace(self.state, codec=_codec(value))
        elif word == "fcharset" and value in _CHARSETS:
            self.fonts[self.font] = _codec(_CHARSETS[value])
        elif word == "f":
            self.font = value
            base = self.stack[0].codec if self.state.place == "fonttbl" and self.stack else self.ansi
            self.state = replace(self.state, codec=self.fonts.get(value, base))
        if word == "ansicpg":
            self.ansi = self.state.codec

    def _symbol(self, symbol: str) -> None:
        self._decode()
        if symbol == "*":
            self.optional = True
        elif symbol in _SYMBOLS:
            self._put(_SYMBOLS[symbol])

    def _bytes(self, data: bytes) -> None:
        if self.standing_in:
            passed = min(self.standing_in, len(data))
            self.standing_in -= passed
            data = data[passed:]
        if self.state.place == "pict":
            self.picture.append(data.decode("latin-1"))
        elif self.state.place in ("", "stylesheet") and not self.state.hidden:
            self.raw += data

    def _decode(self) -> None:
        if self.raw:
            text, self.raw = self.raw.decode(self.state.codec, "replace"), bytearray()
            self._put(text)

    def _put(self, text: str) -> None:
        if self.standing_in:
            self.standing_in -= 1
        elif self.state.place == "stylesheet":
            self.named.append(text)
        elif not self.state.place and not self.state.hidden:
            self.texts.append(text)

    def _end(self, word: str) -> Iterator[Block]:
        """The end of a paragraph, a cell or a row."""
        self._decode()
        if self.state.story != "text":
            self.texts.append("\n")
            return
        text = _joined(self.texts)
        self.texts = []
        if word == "row":
            self.row, self.col, self.lines = self.row + 1, 0, []
        elif word == "cell":
            whole = "\n".join(line for line in (*self.lines, text) if line.strip())
            self.cells.append(Cell(whole, self.row, self.col, header=self.row == 0))
            self.col, self.lines = self.col + 1, []
        elif self.state.in_table or word in ("nestcell", "nestrow"):
            self.lines.append(text)
        else:
            yield from self._table()
            yield self._block(text)
            yield from self._figures()

    def _block(self, text: str) -> Block:
        level = self.styles.get(self.state.style, 0) or self.state.level
        if level:
            return Block("heading", text, level=level)
        if self.state.listed:
            return Block("list_item", text, level=self.state.listed)
        return Block("text", text)

    def _table(self) -> Iterator[Block]:
        cells, rest = self.cells, "\n".join(self.lines)
        self.cells, self.lines, self.row, self.col = [], [], 0, 0
        if cells:
            rows, cols = max(cell.row for cell in cells) + 1, max(cell.col for cell in cells) + 1
            yield Block("table", "", table=Table(rows, cols, cells, header_rows=1 if rows > 1 else 0))
        yield Block("text", rest)


def _codec(page: int) -> str:
    name = _CODECS.get(page, f"cp{page}")
    try:
        codecs.lookup(name)
    except LookupError:
        return "cp1252"
    return name


def _joined(texts: list[str]) -> str:
    return "".join(texts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _character(number: int) -> str:
    """A character of UTF-16 as RTF writes it: a signed number. Halves of pairs meet again when the text is joined."""
    return chr(number & 0xFFFF)
