"""Pictures as the binary formats of Office store them ([MS-ODRAW]): records in records."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

STORE, ENTRY, OPTIONS, MORE_OPTIONS = 0xF001, 0xF007, 0xF00B, 0xF122
PICTURE, IS_TABLE = 0x0104, 0x039F  # properties of shapes
_BITMAPS = {0xF01D: "image/jpeg", 0xF01E: "image/png", 0xF029: "image/tiff", 0xF02A: "image/jpeg"}
_ENTRY_SIZE = 36
_DEEPEST = 20


class Record(NamedTuple):
    """A piece of a stream: its type, and where its content begins and ends."""

    kind: int
    instance: int
    container: bool
    begin: int
    end: int


class Picture(NamedTuple):
    """A picture as it would stand in a file."""

    mime: str
    data: bytes


def record_at(data: bytes, at: int) -> Record:
    """The record that begins here. Raises struct.error beyond the end; its own end may lie beyond, too."""
    version, kind, length = struct.unpack_from("<HHI", data, at)
    return Record(kind, version >> 4, version & 0xF == 0xF, at + 8, at + 8 + length)


def records(data: bytes, at: int, end: int) -> Iterator[Record]:
    """The records from here to there; those that say they go on beyond are left out."""
    end = min(end, len(data))
    while at + 8 <= end:
        found = record_at(data, at)
        if found.end > end:
            return
        yield found
        at = found.end


def pictures(data: bytes, at: int, end: int) -> Iterator[Picture]:
    """All pictures between these places, at any depth. Drawings of lines (metafiles) are left out."""
    stack = [(at, end, 0)]
    while stack:
        begin, until, depth = stack.pop()
        for found in records(data, begin, until):
            if found.kind in _BITMAPS:
                yield _bitmap(data, found)
            elif found.kind == ENTRY and found.end - found.begin > _ENTRY_SIZE:
                stack.append((found.begin + _ENTRY_SIZE + data[found.begin + 33], found.end, depth + 1))
            elif found.container and depth < _DEEPEST:
                stack.append((found.begin, found.end, depth + 1))


def picture_at(data: bytes, at: int) -> Picture | None:
    """The picture whose record begins here; None where none does."""
    if not 0 <= at <= len(data) - 8:
        return None
    found = record_at(data, at)
    return _bitmap(data, found) if found.kind in _BITMAPS and found.end <= len(data) else None


def stored(data: bytes, at: int, end: int) -> list[int]:
    """Where the pictures of a document's store stand in the stream beside it, in their order; -1 for none."""
    stack = [(at, end, 0)]
    while stack:
        begin, until, depth = stack.pop()
        for found in records(data, begin, until):
            if found.kind == STORE:
                entries = [one for one in records(data, found.begin, found.end) if one.kind == ENTRY]
                return [_delayed(data, one) for one in entries]
            if found.container and depth < _DEEPEST:
                stack.append((found.begin, found.end, depth + 1))
    return []


def options(data: bytes, found: Record) -> dict[int, int]:
    """The properties in a record of them: number and value."""
    count = min(found.instance, (found.end - found.begin) // 6)
    raw = (struct.unpack_from("<HI", data, found.begin + 6 * number) for number in range(count))
    return {number & 0x3FFF: value for number, value in raw}


def _delayed(data: bytes, entry: Record) -> int:
    if entry.end - entry.begin < _ENTRY_SIZE:
        return -1
    return int(struct.unpack_from("<i", data, entry.begin + 28)[0])


def _bitmap(data: bytes, found: Record) -> Picture:
    """An odd instance says that two digests stand before the picture, an even one that it is one."""
    begin = found.begin + (33 if found.instance & 1 else 17)
    return Picture(_BITMAPS[found.kind], data[begin : found.end])
