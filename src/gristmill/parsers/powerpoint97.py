"""What a PowerPoint 97 presentation stores: records inside of records, and where the latest of each stands ([MS-PPT])."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from gristmill.parsers.officeart import (
    IS_TABLE,
    MORE_OPTIONS,
    OPTIONS,
    PICTURE,
    Picture,
    Record,
    options,
    picture_at,
    record_at,
    records,
    stored,
)
from gristmill.parsers.ole import Container

_DOCUMENT, _DOCUMENT_ATOM, _SLIDE, _SLIDE_ATOM, _NOTES, _PERSIST = 1000, 1001, 1006, 1007, 1008, 1011
_DRAWING, _LIST, _HEADER, _WIDE, _NARROW, _OUTLINE = 1036, 4080, 3999, 4000, 4008, 3998
_EDIT, _DIRECTORY = 4085, 6002
_GROUP, _SHAPE, _ANCHOR, _CHILD_ANCHOR, _TEXT_BOX = 0xF003, 0xF004, 0xF010, 0xF00F, 0xF00D
_ENCRYPTED = 0xF3D1C4DF
_NEWEST = 10_000  # saves of a file that are followed back
_DEEPEST = 50
_UNITS = 8  # of the format in a point
_SLIDES, _NOTES_LIST = 0, 2
TITLES = (0, 6)  # kinds of text: title, centred title


Sides = tuple[float, float, float, float]  # left, top, right, bottom


class Encrypted(Exception):
    """A presentation that only its password opens."""


@dataclass
class Text:
    """A text of a slide: what kind of text it is, and its place in points where it has one."""

    kind: int
    text: str
    sides: Sides | None = None


@dataclass
class Figure:
    """A picture on a slide, and its place in points where it has one."""

    picture: Picture
    sides: Sides | None = None


@dataclass
class Grid:
    """A table on a slide: its texts with their places, in units that only compare."""

    cells: list[Text]
    sides: Sides | None = None


Shape = Text | Figure | Grid


@dataclass
class Slide:
    """What one slide shows, and its notes."""

    shapes: list[Shape] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)


class PowerPoint97:
    """Raises Encrypted, and what olefile and struct raise on damaged bytes."""

    def __init__(self, container: Container) -> None:
        self._data = container.stream("PowerPoint Document")
        user = container.stream("Current User")
        if len(user) >= 20 and struct.unpack_from("<I", user, 12)[0] == _ENCRYPTED:
            raise Encrypted
        self._places = self._latest(struct.unpack_from("<I", user, 16)[0]) if len(user) >= 20 else {}
        self._document = self._find_document()
        self.width, self.height = self._size()
        self._pictures = container.stream("Pictures")
        self._stored = stored(self._data, self._document.begin, self._document.end) if self._document else []

    def slides(self) -> Iterator[Slide]:
        """The slides in the order they are shown. Where no save left a list of them, in the order they are stored."""
        notes = dict(self._listed_notes())
        listed = list(self._listed(_SLIDES))
        if not listed:
            yield from (
                self._slide(record, [], {}) for record in self._records(0, len(self._data)) if record.kind == _SLIDE
            )
            return
        for place, _, texts in listed:
            record = self._at(place, _SLIDE)
            yield self._slide(record, texts, notes) if record else Slide([*texts])

    def _slide(self, record: Record, outline: list[Text], notes: dict[int, list[Text]]) -> Slide:
        shapes: list[Shape] = []
        about = 0
        for inner in self._records(record.begin, record.end):
            if inner.kind == _SLIDE_ATOM:
                about = self._u32(inner.begin + 16)
            elif inner.kind == _DRAWING:
                shapes += self._shapes(inner, outline)
        shown = {shape.text for shape in shapes if isinstance(shape, Text)}
        return Slide([*(text for text in outline if text.text not in shown), *shapes], notes.get(about, []))

    def _listed_notes(self) -> Iterator[tuple[int, list[Text]]]:
        for place, number, _ in self._listed(_NOTES_LIST):
            record = self._at(place, _NOTES)
            inner = self._records(record.begin, record.end) if record else ()
            drawn = [shape for one in inner if one.kind == _DRAWING for shape in self._shapes(one, [])]
            yield number, [shape for shape in drawn if isinstance(shape, Text)]

    def _listed(self, which: int) -> Iterator[tuple[int, int, list[Text]]]:
        """Of a list of slides or notes: where each stands, its number, and the texts that the outline shows of it."""
        if self._document is None:
            return
        for record in self._records(self._document.begin, self._document.end):
            if record.kind != _LIST or record.instance != which:
                continue
            entry: tuple[int, int, list[Text]] | None = None
            kind = 4
            for inner in self._records(record.begin, record.end):
                if inner.kind == _PERSIST:
                    if entry:
                        yield entry
                    entry = (self._places.get(self._u32(inner.begin), -1), self._u32(inner.begin + 12), [])
                elif inner.kind == _HEADER:
                    kind = self._u32(inner.begin)
                elif inner.kind in (_WIDE, _NARROW) and entry:
                    entry[2].append(Text(kind, self._text(inner)))
            if entry:
                yield entry

    def _shapes(self, drawing: Record, outline: list[Text]) -> Iterator[Shape]:
        """The shapes of a drawing that say or show something, in its order; a group that is a table as one."""
        stack = [(drawing, 0)]
        while stack:
            record, depth = stack.pop()
            if record.kind == _SHAPE:
                yield from self._shape(record, outline)
            elif record.kind == _GROUP and (grid := self._grid(record, outline)):
                yield grid
            elif record.container and depth < _DEEPEST:
                inner = list(self._records(record.begin, record.end))
                stack += [(one, depth + 1) for one in reversed(inner)]

    def _grid(self, group: Record, outline: list[Text]) -> Grid | None:
        """A group as a table; None where its first shape does not say that it is one."""
        inner = [one for one in self._records(group.begin, group.end) if one.kind == _SHAPE]
        parts = list(self._records(inner[0].begin, inner[0].end)) if inner else []
        said = [options(self._data, one) for one in parts if one.kind == MORE_OPTIONS]
        if not any(one.get(IS_TABLE, 0) & 1 for one in said):
            return None
        found = [shape for other in inner[1:] for shape in self._shape(other, outline)]
        cells = [shape for shape in found if isinstance(shape, Text) and shape.sides]
        return Grid(cells, next(filter(None, map(self._sides, parts)), None)) if cells else None

    def _shape(self, shape: Record, outline: list[Text]) -> Iterator[Shape]:
        sides = None
        for record in self._records(shape.begin, shape.end):
            if record.kind in (_ANCHOR, _CHILD_ANCHOR):
                sides = self._sides(record)
            elif record.kind == _TEXT_BOX:
                for text in self._box(record, outline):
                    yield Text(text.kind, text.text, sides)
        for record in self._records(shape.begin, shape.end):
            number = options(self._data, record).get(PICTURE, 0) if record.kind == OPTIONS else 0
            if 0 < number <= len(self._stored):
                picture = picture_at(self._pictures, self._stored[number - 1])
                if picture is not None:
                    yield Figure(picture, sides)

    def _sides(self, record: Record) -> Sides | None:
        """The place of a shape on its slide, or in its group."""
        if record.kind == _ANCHOR and record.end - record.begin == 8:
            top, left, right, bottom = struct.unpack_from("<4h", self._data, record.begin)
        elif record.kind == _CHILD_ANCHOR and record.end - record.begin == 16:
            left, top, right, bottom = struct.unpack_from("<4i", self._data, record.begin)
        else:
            return None
        return left / _UNITS, top / _UNITS, right / _UNITS, bottom / _UNITS

    def _box(self, box: Record, outline: list[Text]) -> Iterator[Text]:
        kind = 4
        for record in self._records(box.begin, box.end):
            if record.kind == _HEADER:
                kind = self._u32(record.begin)
            elif record.kind in (_WIDE, _NARROW):
                yield Text(kind, self._text(record))
            elif record.kind == _OUTLINE:
                number = self._u32(record.begin)
                if number < len(outline):
                    yield outline[number]

    def _latest(self, edit: int) -> dict[int, int]:
        """Where the newest version of each stored object stands: saves are followed back from the last one."""
        places: dict[int, int] = {}
        seen: set[int] = set()
        while edit not in seen and len(seen) < _NEWEST:
            seen.add(edit)
            record = self._at(edit, _EDIT)
            if record is None:
                break
            directory = self._at(self._u32(record.begin + 12), _DIRECTORY)
            for number, place in self._entries(directory) if directory else ():
                places.setdefault(number, place)
            edit = self._u32(record.begin + 8)
            if not edit:
                break
        return places

    def _entries(self, directory: Record) -> Iterator[tuple[int, int]]:
        at = directory.begin
        while at + 4 <= directory.end:
            head = self._u32(at)
            first, count = head & 0xFFFFF, head >> 20
            at += 4
            for number in range(min(count, (directory.end - at) // 4)):
                yield first + number, self._u32(at + 4 * number)
            at += 4 * count

    def _find_document(self) -> Record | None:
        kept = (self._at(place, _DOCUMENT) for place in self._places.values())
        stored = (one for one in self._records(0, len(self._data)) if one.kind == _DOCUMENT)
        return next((one for one in (*kept, *stored) if one), None)

    def _size(self) -> tuple[float, float]:
        for record in self._records(self._document.begin, self._document.end) if self._document else ():
            if record.kind == _DOCUMENT_ATOM:
                width, height = struct.unpack_from("<2i", self._data, record.begin)
                return max(0, width) / _UNITS, max(0, height) / _UNITS
        return 0.0, 0.0

    def _records(self, at: int, end: int) -> Iterator[Record]:
        return records(self._data, at, end)

    def _at(self, place: int, kind: int) -> Record | None:
        if not 0 <= place <= len(self._data) - 8:
            return None
        found = record_at(self._data, place)
        return found if found.kind == kind and found.end <= len(self._data) else None

    def _text(self, record: Record) -> str:
        raw = self._data[record.begin : record.end]
        return raw.decode("utf-16-le" if record.kind == _WIDE else "latin-1", "replace")

    def _u32(self, at: int) -> int:
        return int(struct.unpack_from("<I", self._data, at)[0])
