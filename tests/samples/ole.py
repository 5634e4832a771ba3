"""OLE containers, and the formats inside of them, byte by byte: no library writes these."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SECTOR, SMALL, CUTOFF = 512, 64, 4096
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


@dataclass
class _Entry:
    name: str
    kind: int  # 1 storage, 2 stream, 5 root
    data: bytes = b""
    inner: list[int] = field(default_factory=list)
    start: int = END


def compound(streams: Mapping[str, bytes]) -> bytes:
    """A container with these streams; ``/`` in a name parts storages."""
    entries = [_Entry("Root Entry", 5)]
    places = {"": 0}
    for path, data in sorted(streams.items()):
        above = ""
        *storages, name = path.split("/")
        for storage in storages:
            here = f"{above}{storage}/"
            if here not in places:
                places[here] = _add(entries, places[above], _Entry(storage, 1))
            above = here
        _add(entries, places[above], _Entry(name, 2, data))
    small, table = _small(entries)
    sectors: list[bytes] = []
    chain: list[int] = []
    entries[0].data = small
    for entry in (one for one in entries if one.kind == 5 or len(one.data) >= CUTOFF):
        entry.start = _put(sectors, chain, entry.data)
    minifat = _put(sectors, chain, struct.pack(f"<{len(table)}I", *table))
    directory = _put(sectors, chain, b"".join(_directory(entries)))
    fats = 1
    while (len(chain) + fats) * 4 > fats * SECTOR:
        fats += 1
    first = len(chain)
    chain += [FAT] * fats
    chain += [FREE] * (fats * SECTOR // 4 - len(chain))
    head = struct.pack("<8s16sHHHHH6xIIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 0x3E, 3, 0xFFFE, 9, 6, 0,
                       fats, directory, 0, CUTOFF, minifat, max(1, -(-len(table) * 4 // SECTOR)), END, 0, first)  # fmt: skip
    head += b"".join(struct.pack("<I", first + n) for n in range(1, fats)) + struct.pack("<I", FREE) * (109 - fats)
    return head + b"".join(sectors) + struct.pack(f"<{len(chain)}I", *chain)


def _add(entries: list[_Entry], above: int, entry: _Entry) -> int:
    entries.append(entry)
    entries[above].inner.append(len(entries) - 1)
    return len(entries) - 1


def _small(entries: list[_Entry]) -> tuple[bytes, list[int]]:
    data = b""
    table: list[int] = []
    for entry in entries:
        if entry.kind == 2 and 0 < len(entry.data) < CUTOFF:
            entry.start = len(table)
            count = -(-len(entry.data) // SMALL)
            table += [*range(entry.start + 1, entry.start + count), END]
            data += entry.data.ljust(count * SMALL, b"\0")
    return data, table or [END]


def _put(sectors: list[bytes], chain: list[int], data: bytes) -> int:
    start = len(sectors)
    pieces = [data[at : at + SECTOR].ljust(SECTOR, b"\0") for at in range(0, max(1, len(data)), SECTOR)]
    sectors += pieces
    chain += [*range(start + 1, start + len(pieces)), END]
    return start


def _directory(entries: list[_Entry]) -> list[bytes]:
    right = {
        here: following for entry in entries for here, following in zip(entry.inner, entry.inner[1:], strict=False)
    }
    made = []
    for number, entry in enumerate(entries):
        name = entry.name.encode("utf-16-le") + b"\0\0"
        down = entry.inner[0] if entry.inner else FREE
        made.append(
            struct.pack(
                "<64sHBBIII16sIQQIQ",
                name,
                len(name),
                entry.kind,
                1,
                FREE,
                right.get(number, FREE),
                down,
                bytes(16),
                0,
                0,
                0,
                entry.start,
                len(entry.data),
            )
        )
    return made


@dataclass
class Paragraph:
    """A paragraph of a Word 97 document: its properties as they are stored."""

    text: str
    style: int = 0
    sprms: bytes = b""
    end: str = "\r"
    marks: Sequence[tuple[int, int, bytes]] = ()  # properties of characters: from, to, as they are stored


DELETED, HIDDEN = struct.pack("<HB", 0x0800, 1), struct.pack("<HB", 0x083C, 1)
IN_TABLE = struct.pack("<HB", 0x2416, 1)
ROW_END = IN_TABLE + struct.pack("<HB", 0x2417, 1)
LISTED = struct.pack("<HH", 0x460B, 1)


def row(*cells: str) -> list[Paragraph]:
    return [*(Paragraph(cell, 0, IN_TABLE, "\x07") for cell in cells), Paragraph("", 0, ROW_END, "\x07")]


def word_97(
    body: Sequence[Paragraph],
    *,
    notes: Sequence[Paragraph] = (),
    heads: Sequence[Paragraph] = (),
    flags: int = 0,
    version: int = 0xC1,
    data: bytes = b"",
    drawings: Sequence[bytes] = (),
) -> bytes:
    """A Word document: the first half of its text in UTF-16, and the second in cp1252 where it can be."""
    paragraphs = [*body, *notes, *heads]
    texts = ["".join(one.text + one.end for one in part) for part in (body, notes, heads)]
    main, table = bytearray(1024), bytearray()
    pieces, runs, marks, at = [], [], [], 0
    for one in paragraphs:
        text = one.text + one.end
        narrow = at > 0 and text.isascii()
        offset = len(main) + (len(main) % 2 if not narrow else 0)
        main += bytes(offset - len(main)) + text.encode("cp1252" if narrow else "utf-16-le")
        pieces.append((at, (offset * 2) | 0x40000000 if narrow else offset))
        runs.append((offset, one))
        width = 1 if narrow else 2
        marks += [(offset + first * width, offset + last * width, sprms) for first, last, sprms in one.marks]
        at += len(text)
    plc = struct.pack(f"<{len(pieces) + 1}I", *(first for first, _ in pieces), at)
    plc += b"".join(struct.pack("<HIH", 0, offset, 0) for _, offset in pieces)
    table += b"\x02" + struct.pack("<I", len(plc)) + plc
    pages, main = _pages(runs, main)
    bins = struct.pack(f"<{len(pages) + 1}I", *(first for first, _ in pages), len(main))
    bins += b"".join(struct.pack("<I", number) for _, number in pages)
    marked, main = _marks(marks, main)
    floating, main = _floating(drawings, main)
    struct.pack_into("<HH", main, 0, 0xA5EC, version)
    struct.pack_into("<H", main, 0x0A, 0x0200 | flags)
    struct.pack_into("<3i", main, 0x4C, *map(len, texts))
    struct.pack_into("<II", main, 0x9A + 8 * 33, 0, len(table))
    struct.pack_into("<II", main, 0x9A + 8 * 13, len(table), len(bins))
    for place, begin, content in (
        (12, len(table) + len(bins), marked),
        (50, len(table) + len(bins) + len(marked), floating),
    ):
        struct.pack_into("<II", main, 0x9A + 8 * place, begin, len(content))
    whole = bytes(table) + bins + marked + floating
    return compound({"WordDocument": bytes(main), "1Table": whole, **({"Data": data} if data else {})})


def _marks(marks: list[tuple[int, int, bytes]], main: bytearray) -> tuple[bytes, bytearray]:
    """One page of properties of characters, and the list of such pages."""
    if not marks:
        return b"", main
    main += bytes(-len(main) % 512)
    page = bytearray(512)
    ends = [place for first, last, _ in marks for place in (first, last)]
    struct.pack_into(f"<{len(ends)}I", page, 0, *ends)
    free = 510
    for number, (_, _, sprms) in enumerate(marks):
        free = (free - len(sprms) - 1) // 2 * 2
        page[free : free + len(sprms) + 1] = bytes((len(sprms),)) + sprms
        page[4 * len(ends) + 2 * number] = free // 2
    page[511] = len(ends) - 1
    main += page
    return struct.pack("<3I", 0, len(main), len(main) // 512 - 1), main


def _floating(drawings: Sequence[bytes], main: bytearray) -> tuple[bytes, bytearray]:
    """The store of pictures that text flows around; they stand in the main stream."""
    entries = b""
    for drawing_ in drawings:
        entries += record(0xF007, bytes(28) + struct.pack("<I", len(main)) + bytes(4))
        main += drawing_
    return record(
        0xF000, record(0xF001, entries, len(drawings), container=True), container=True
    ) if drawings else b"", main


def bitmap(picture: bytes, *, digests: int = 1) -> bytes:
    """A PNG as the binary formats of Office store it."""
    return record(0xF01E, bytes(16 * digests) + b"\xff" + picture, 0x6E0 + digests - 1)


def inline(*pictures: bytes) -> bytes:
    """What stands in the stream Data for pictures in a line of text."""
    entries = b"".join(record(0xF007, bytes(36) + one) for one in pictures)
    content = record(0xF004, record(0xF00B, bytes(6), 1), container=True) + entries
    return struct.pack("<IH", 68 + len(content), 68) + bytes(62) + content


def _pages(runs: list[tuple[int, Paragraph]], main: bytearray) -> tuple[list[tuple[int, int]], bytearray]:
    """The properties, some paragraphs on a page of their own each time."""
    pages = []
    for begin in range(0, len(runs), 8):
        some = runs[begin : begin + 8]
        end = runs[begin + 8][0] if begin + 8 < len(runs) else len(main)
        main += bytes(-len(main) % 512)
        page = bytearray(512)
        struct.pack_into(f"<{len(some) + 1}I", page, 0, *(offset for offset, _ in some), end)
        free = 510
        for number, (_, one) in enumerate(some):
            papx = struct.pack("<H", one.style) + one.sprms
            papx = bytes((0, len(papx) // 2)) + papx if len(papx) % 2 == 0 else bytes(((len(papx) + 1) // 2,)) + papx
            free = (free - len(papx)) // 2 * 2
            page[free : free + len(papx)] = papx
            page[4 * (len(some) + 1) + 13 * number] = free // 2
        page[511] = len(some)
        pages.append((some[0][0], len(main) // 512))
        main += page
    return pages, main


def report_doc() -> bytes:
    body = [
        Paragraph("Annual report", 1),
        Paragraph("A lease is the right to run a \x13 HYPERLINK x \x14task\x15 now.\x02"),
        Paragraph("first", 0, LISTED),
        *row("Region", "Sales"), *row("North", "1,200.50"), *row("South", "98"),
        Paragraph("Tokens", 2),
        Paragraph("A token grows. 中文段落。", 0, b"", "\x0c"),
    ]  # fmt: skip
    return word_97(body, notes=[Paragraph("\x02 The note.")], heads=[Paragraph("Running head")])


def record(kind: int, content: bytes, instance: int = 0, *, container: bool = False) -> bytes:
    return struct.pack("<HHI", instance << 4 | (0xF if container else 0), kind, len(content)) + content


def shape(kind: int, text: str, sides: tuple[int, int, int, int] = (80, 160, 800, 400)) -> bytes:
    """A shape with text; sides are top, left, right, bottom in units of an eighth of a point."""
    wide = not text.isascii()
    atom = record(4000 if wide else 4008, text.encode("utf-16-le" if wide else "latin-1"))
    box = record(0xF00D, record(3999, struct.pack("<I", kind)) + atom, container=True)
    return record(0xF004, record(0xF010, struct.pack("<4h", *sides)) + box, container=True)


def drawing(*shapes: bytes) -> bytes:
    return record(
        1036, record(0xF002, record(0xF003, b"".join(shapes), container=True), container=True), container=True
    )


def figure(number: int) -> bytes:
    """A shape that shows this picture of the presentation, counted from 1."""
    return record(
        0xF004, record(0xF010, struct.pack("<4h", 0, 0, 80, 80)) + record(0xF00B, struct.pack("<HI", 0x4104, number), 1),
        container=True,
    )  # fmt: skip


def table(cells: Mapping[tuple[int, int, int, int], str]) -> bytes:
    """A group that says it is a table; keys are left, top, right, bottom of the cells."""
    first = record(0xF010, struct.pack("<4h", 80, 160, 800, 400)) + record(0xF122, struct.pack("<HI", 0x039F, 1), 1)
    shapes = record(0xF004, first, container=True)
    for sides, text in cells.items():
        box = record(0xF00D, record(4008, text.encode("latin-1")), container=True)
        shapes += record(0xF004, record(0xF00F, struct.pack("<4i", *sides)) + box, container=True)
    return record(0xF003, shapes, container=True)


def powerpoint_97(
    slides: Sequence[tuple[Sequence[bytes], str]], *, token: int = 0xE391C05F, pictures: Sequence[bytes] = ()
) -> bytes:
    """A presentation of shapes and notes; an older save of its first slide lies in front."""
    data = record(1006, drawing(shape(4, "Of an earlier save")), container=True)
    places, entries, notes = {}, b"", b""
    for number, (shapes, note) in enumerate(slides, 1):
        places[10 + number] = len(data)
        atom = record(1007, struct.pack("<I8sIII", 0, bytes(8), 0, 500 + number if note else 0, 0))
        data += record(1006, atom + drawing(*shapes), container=True)
        entries += record(1011, struct.pack("<5I", 10 + number, 0, 0, 256 + number, 0))
        if note:
            places[50 + number] = len(data)
            data += record(1008, drawing(shape(2, note)), container=True)
            notes += record(1011, struct.pack("<5I", 50 + number, 0, 0, 500 + number, 0))
    places[1] = len(data)
    atom = record(1001, struct.pack("<2i", 5760, 4320) + bytes(32))
    stored, store = b"", b""
    for one in pictures:
        store += record(0xF007, bytes(28) + struct.pack("<I", len(stored)) + bytes(4))
        stored += bitmap(one)
    group = record(0xF000, record(0xF001, store, len(pictures), container=True), container=True)
    atom += record(1035, group, container=True) if pictures else b""
    data += record(
        1000, atom + record(4080, entries, container=True) + record(4080, notes, 2, container=True), container=True
    )
    directory = len(data)
    data += record(6002, b"".join(struct.pack("<II", number | 1 << 20, place) for number, place in places.items()))
    edit = len(data)
    data += record(4085, struct.pack("<IHBBIIII", 0, 0, 0, 3, 0, directory, 1, 99) + bytes(4))
    user = struct.pack("<HHIIII", 0, 4086, 20, 20, token, edit) + bytes(12)
    return compound({"PowerPoint Document": data, "Current User": user, **({"Pictures": stored} if stored else {})})


def talk_ppt() -> bytes:
    return powerpoint_97(
        [
            ([shape(1, "Reserve in batches\rExtend together"), shape(0, "Leases")], "Say why leases are short."),
            ([shape(0, "Figures 数字"), shape(4, "North 1,200.50")], ""),
        ]
    )


def _text(number: int, text: str) -> tuple[str, bytes]:
    return f"__substg1.0_{number:04X}001F", text.encode("utf-16-le")


def message(
    texts: Mapping[int, str],
    *,
    inside: str = "",
    attached: Sequence[tuple[str, bytes]] = (),
    binary: Mapping[int, bytes] | None = None,
) -> dict[str, bytes]:
    """The streams of an Outlook message, below the storage ``inside``."""
    fixed = struct.pack("<HHIQ", 0x40, 0x0039, 6, 134_120_772_000_000_000) + struct.pack("<HHIQ", 3, 0x3FDE, 6, 936)
    streams = {"__properties_version1.0": bytes(24 if inside else 32) + fixed}
    streams |= dict(_text(number, text) for number, text in texts.items())
    streams |= {f"__substg1.0_{number:04X}0102": data for number, data in (binary or {}).items()}
    for number, (name, data) in enumerate(attached):
        folder = f"__attach_version1.0_#{number:08X}/"
        streams |= {folder + "__properties_version1.0": bytes(8), folder + "__substg1.0_37010102": data}
        streams |= {folder + key: value for key, value in (_text(0x3707, name),)}
    return {inside + name: data for name, data in streams.items()}


def letter_msg() -> bytes:
    texts = {0x0037: "季度报告: leases", 0x0C1A: "Änne Meyer", 0x5D01: "anne@example.org", 0x0E04: "Bob",
             0x1000: "Hello Bob,\r\n\r\nthe figures are attached."}  # fmt: skip
    inner = {0x0037: "An older message", 0x1000: "Words of the older message."}
    folder = "__attach_version1.0_#00000007/"
    return compound(
        message(texts, attached=[("orders.csv", b"a,b\n1,2\n")])
        | {f"{folder}__properties_version1.0": bytes(8)}
        | message(inner, inside=f"{folder}__substg1.0_3701000D/")
    )
