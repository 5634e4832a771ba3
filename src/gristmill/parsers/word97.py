"""What a Word 97 document stores: its text by pieces, and the properties of its paragraphs ([MS-DOC])."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from gristmill.parsers.officeart import Picture, picture_at, pictures, stored
from gristmill.parsers.ole import Container

MAGIC = 0xA5EC
_WORD_97 = 193  # the first version of the format that has a piece table in its own stream
_CLX = 33  # places of structures in the header's table
_CHARACTERS, _PARAGRAPHS = 12, 13
_DRAWINGS = 50
_DELETED, _HIDDEN, _PICTURE = 0x0800, 0x083C, 0x6A03  # properties of characters
_STORIES = ("text", "footnote", "header", "", "comment", "footnote", "text", "header")
_IN_TABLE, _ROW_END, _OUTLINE, _LIST, _LIST_LEVEL = 0x2416, 0x2417, 0x2640, 0x460B, 0x260A
_ELSEWHERE = (0x6645, 0x6646, 0x646B)  # properties that are too long, and stand in the stream Data
_SIZES = {0: 1, 1: 1, 2: 2, 3: 4, 4: 2, 5: 2, 7: 3}  # of an operand, by the highest bits of its code
_LONG = (0xD606, 0xD608)  # their length has two bytes
_PAGE = 512
_SHOWN = re.compile("[^\r\x07\x0c]")
_BODY = 9  # the outline level of body text


class NotWord97(Exception):
    """A Word document, but not of the versions 97 to 2003."""


class Encrypted(Exception):
    """A document that only its password opens."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph as it is stored, with its control characters, and what its properties say."""

    text: str
    end: str  # the character that ended it: "\r", "\x07" for a cell or a row, "\x0c" for a section
    story: str
    level: int = 0  # of a heading
    listed: int = 0  # of a list item
    in_table: bool = False
    row_end: bool = False
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class _Run:
    """Bytes of the main stream whose characters are not just text: hidden or deleted, or a picture stands for them."""

    begin: int
    end: int
    hidden: bool
    picture: int  # where it stands in the stream Data, -1 for none


@dataclass(frozen=True)
class _Properties:
    style: int = 0
    values: dict[int, int] = field(default_factory=dict)

    @property
    def level(self) -> int:
        """Styles 1 to 9 are the headings, whatever they are called in the language of the program."""
        outline = self.values.get(_OUTLINE, _BODY)
        if 1 <= self.style <= 9:
            return self.style
        return outline + 1 if outline < _BODY else 0

    @property
    def listed(self) -> int:
        return self.values.get(_LIST_LEVEL, 0) % 9 + 1 if 0 < self.values.get(_LIST, 0) <= 2046 else 0


@dataclass(frozen=True)
class _Piece:
    first: int  # character
    last: int
    offset: int  # byte in the main stream
    width: int  # bytes of a character


class Word97:
    """Raises NotWord97, Encrypted, and what olefile and struct raise on damaged bytes."""

    def __init__(self, container: Container) -> None:
        self._main = container.stream("WordDocument")
        magic, version = struct.unpack_from("<HH", self._main)
        if magic != MAGIC or version < _WORD_97:
            raise NotWord97("a Word document from before Word 97")
        flags = self._u16(0x0A)
        if flags & 0x8100:
            raise Encrypted
        self._table = container.stream("1Table" if flags & 0x0200 else "0Table")
        self._data = container.stream("Data")
        self._pieces = list(self._read_pieces())
        self._starts, self._props = self._read_properties()
        self._runs = sorted(self._read_runs(), key=lambda run: run.begin)
        self._run_starts = [run.begin for run in self._runs]
        self._room = 4 * len(self._data)  # bytes that are looked through for pictures, all together
        self._seen: dict[int, tuple[Picture, ...]] = {}

    def floating(self) -> Iterator[Picture]:
        """The pictures of the document that text flows around."""
        place, length = self._place(_DRAWINGS)
        for at in stored(self._table, place, place + length):
            picture = picture_at(self._main, at)
            if picture is not None:
                yield picture

    def paragraphs(self) -> Iterator[Paragraph]:
        """Everything, story by story: the body first, then notes, heads and feet, comments, text boxes."""
        at = 0
        for number, story in enumerate(_STORIES):
            length = max(0, self._i32(0x4C + 4 * number))
            if story:
                yield from self._story(at, at + length, story)
            at += length

    def _story(self, first: int, last: int, story: str) -> Iterator[Paragraph]:
        parts: list[str] = []
        shown: list[Picture] = []
        for piece in self._pieces:
            start, end = max(first, piece.first), min(last, piece.last)
            if start >= end:
                continue
            text, found_pictures = self._text(piece, start, end)
            at = 0
            for place, char in _ends(text):
                parts.append(text[at:place])
                shown += self._taken(found_pictures, place)
                found = self._at(piece.offset + (start - piece.first + place) * piece.width)
                yield self._paragraph("".join(parts), char, story, found, tuple(shown))
                parts, shown, at = [], [], place + 1
            parts.append(text[at:])
            shown += self._taken(found_pictures, len(text))
        if any(parts) or shown:
            yield Paragraph("".join(parts), "\r", story, pictures=tuple(shown))

    @staticmethod
    def _paragraph(text: str, end: str, story: str, found: _Properties, shown: tuple[Picture, ...]) -> Paragraph:
        in_table = end == "\x07" or bool(found.values.get(_IN_TABLE))
        row_end = end == "\x07" and bool(found.values.get(_ROW_END))
        return Paragraph(text, end, story, found.level, found.listed, in_table, row_end, shown)

    def _text(self, piece: _Piece, start: int, end: int) -> tuple[str, list[tuple[int, int]]]:
        """The text of a piece, NUL for each character that is not shown, and where which pictures stand in it."""
        at = piece.offset + (start - piece.first) * piece.width
        raw = self._main[at : at + (end - start) * piece.width]
        text = raw.decode("cp1252", "replace") if piece.width == 1 else raw.decode("utf-16-le", "replace")
        found, hidden = [], []
        for number in range(max(0, bisect_right(self._run_starts, at) - 1), len(self._runs)):
            run = self._runs[number]
            if run.begin >= at + len(raw):
                break
            first, last = (max(0, place - at) // piece.width for place in (run.begin, run.end))
            if run.hidden and first < last:
                hidden.append((first, last))
            elif first < last:
                found.append((first, run.picture))
        return _blotted(text, hidden), found

    def _taken(self, found: list[tuple[int, int]], before: int) -> list[Picture]:
        """The pictures that stand before this place; they are taken off the list."""
        shown: list[Picture] = []
        while found and found[0][0] <= before:
            shown += self._pictures_at(found.pop(0)[1])
        return shown

    def _pictures_at(self, at: int) -> tuple[Picture, ...]:
        if at not in self._seen and 0 <= at <= len(self._data) - 6:
            size, head = struct.unpack_from("<IH", self._data, at)
            size = min(size, len(self._data) - at)
            self._room -= size
            found = pictures(self._data, at + head, at + size) if self._room >= 0 else ()
            self._seen[at] = tuple(found)
        return self._seen.get(at, ())

    def _read_pieces(self) -> Iterator[_Piece]:
        place, length = self._place(_CLX)
        clx = self._table[place : place + length]
        at = 0
        while clx[at] == 1:  # properties of pieces come first
            at += 3 + struct.unpack_from("<H", clx, at + 1)[0]
        size = struct.unpack_from("<I", clx, at + 1)[0]
        plc = clx[at + 5 : at + 5 + size]
        count = (len(plc) - 4) // 12
        places = struct.unpack_from(f"<{count + 1}I", plc)
        for number in range(count):
            (offset,) = struct.unpack_from("<I", plc, 4 * (count + 1) + 8 * number + 2)
            narrow = bool(offset & 0x40000000)
            offset &= 0x3FFFFFFF
            yield _Piece(places[number], places[number + 1], offset // 2 if narrow else offset, 1 if narrow else 2)

    def _read_properties(self) -> tuple[list[int], list[_Properties]]:
        """Where runs of bytes with the same paragraph properties begin, and those properties."""
        place, length = self._place(_PARAGRAPHS)
        count = (length - 4) // 8
        found: dict[int, _Properties] = {}
        for number in struct.unpack_from(f"<{count}I", self._table, place + 4 * (count + 1)) if count > 0 else ():
            at = (number & 0x3FFFFF) * _PAGE
            page = self._main[at : at + _PAGE]
            if len(page) == _PAGE:
                found |= self._read_page(page)
        starts = sorted(found)
        return starts, [found[start] for start in starts]

    def _read_runs(self) -> Iterator[_Run]:
        place, length = self._place(_CHARACTERS)
        count = (length - 4) // 8
        numbers = struct.unpack_from(f"<{count}I", self._table, place + 4 * (count + 1)) if count > 0 else ()
        for number in dict.fromkeys(numbers):
            at = (number & 0x3FFFFF) * _PAGE
            page = self._main[at : at + _PAGE]
            if len(page) == _PAGE:
                yield from _runs(page)

    def _read_page(self, page: bytes) -> dict[int, _Properties]:
        count = min(page[-1], (_PAGE - 5) // 17)
        starts = struct.unpack_from(f"<{count + 1}I", page)
        found = dict.fromkeys(starts[-1:], _Properties())
        for number in range(count):
            at = 2 * page[4 * (count + 1) + 13 * number]
            size = 2 * page[at] - 1 if at and page[at] else 2 * page[at + 1] if at else 0
            begin = at + 1 if at and page[at] else at + 2
            found[starts[number]] = self._read_one(page[begin : begin + size])
        return found

    def _read_one(self, raw: bytes) -> _Properties:
        if len(raw) < 2:
            return _Properties()
        values = dict(_operands(raw[2:]))
        for code in _ELSEWHERE:
            if code in values:
                at = values.pop(code)
                (size,) = struct.unpack_from("<H", self._data, at) if at + 2 <= len(self._data) else (0,)
                values |= dict(_operands(self._data[at + 2 : at + 2 + size]))
        return _Properties(struct.unpack_from("<H", raw)[0], values)

    def _at(self, offset: int) -> _Properties:
        number = bisect_right(self._starts, offset) - 1
        return self._props[number] if number >= 0 else _Properties()

    def _place(self, number: int) -> tuple[int, int]:
        place, length = struct.unpack_from("<II", self._main, 0x9A + 8 * number)
        return place, length

    def _u16(self, at: int) -> int:
        return int(struct.unpack_from("<H", self._main, at)[0])

    def _i32(self, at: int) -> int:
        return int(struct.unpack_from("<i", self._main, at)[0])


def _runs(page: bytes) -> Iterator[_Run]:
    count = min(page[-1], (_PAGE - 5) // 5)
    starts = struct.unpack_from(f"<{count + 1}I", page)
    for number in range(count):
        at = 2 * page[4 * (count + 1) + number]
        values = dict(_operands(page[at + 1 : at + 1 + page[at]])) if at else {}
        hidden = values.get(_DELETED) == 1 or values.get(_HIDDEN) == 1
        if hidden or _PICTURE in values:
            yield _Run(starts[number], starts[number + 1], hidden, values.get(_PICTURE, -1))


def _blotted(text: str, hidden: list[tuple[int, int]]) -> str:
    """The text with NUL in place of what is hidden; ends of paragraphs and cells stay."""
    if not hidden:
        return text
    pieces, at = [], 0
    for first, last in hidden:
        pieces += [text[at:first], _SHOWN.sub("\0", text[max(at, first) : last])]
        at = max(at, last)
    return "".join((*pieces, text[at:]))


def _ends(text: str) -> Iterator[tuple[int, str]]:
    for place, char in enumerate(text):
        if char in "\r\x07\x0c":
            yield place, char


def _operands(raw: bytes) -> Iterator[tuple[int, int]]:
    """The properties in a list of them: code and value. Long operands are passed over."""
    at = 0
    while at + 2 <= len(raw):
        (code,) = struct.unpack_from("<H", raw, at)
        at += 2
        size = _SIZES.get(code >> 13)
        if size is None:
            size = (
                struct.unpack_from("<H", raw, at)[0] + 1
                if code in _LONG and at + 2 <= len(raw)
                else raw[at] + 1
                if at < len(raw)
                else 0
            )
        elif size <= 4:
            yield code, int.from_bytes(raw[at : at + size], "little")
        at += size
