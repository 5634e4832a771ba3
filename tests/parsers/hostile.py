"""Hostile documents made in code, and a child process that reads them within bounds (``-m parsers.hostile``).

The child has 1 GiB of address space and a minute of CPU for all of them together, and prints a line of JSON for each.
"""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import openpyxl

from gristmill.base.errors import DocumentError
from gristmill.base.tokens import count_tokens
from gristmill.chunkers import CHUNKERS
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.parser import ParseLimits, Source
from samples import ole
from samples.packed import opendocument as odf

MEMORY = 1 << 30
CPU = 60
TYPES = "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'/>"
WORD_TYPES = (
    "><Default Extension='xml' ContentType='application/xml'/><Default Extension='rels' "
    "ContentType='application/vnd.openxmlformats-package.relationships+xml'/><Override PartName='/word/document.xml' "
    "ContentType='application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml'/>"
)
RELATION = (
    "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r1' "
    "Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}' {target}/></Relationships>"
)


def packed(members: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def word(body: str, head: str = "", more: Mapping[str, bytes | str] = MappingProxyType({})) -> bytes:
    w = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    return packed(
        {
            "[Content_Types].xml": TYPES.replace("/>", f"{WORD_TYPES}</Types>"),
            "_rels/.rels": RELATION.format(kind="officeDocument", target="Target='word/document.xml'"),
            "word/document.xml": f"{head}<w:document xmlns:w='{w}'><w:body>{body}</w:body></w:document>",
            **more,
        }
    )


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def far_cells() -> bytes:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet["A1"], sheet["XFD1048576"] = "first", "last"
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


ENTITIES = "<!DOCTYPE d [<!ENTITY a 'words'><!ENTITY b '&a;&a;&a;&a;'>]>"
CASES: dict[str, Callable[[], bytes]] = {
    "bomb.docx": lambda: word(paragraph("x"), more={"word/media/image.bin": bytes(40 << 20)}),
    "entities.docx": lambda: word(paragraph("&b;"), head=ENTITIES),
    "utf16_entities.docx": lambda: word(paragraph("x"), more={"word/footnotes.xml": ENTITIES.encode("utf-16")}),
    "named_otherwise.docx": lambda: word(
        paragraph("x"), more={"word/numbering.bin": f"<?xml version='1.0'?>{ENTITIES}<d/>"}
    ),
    "doctype.zip": lambda: packed({"a.xml": f"{ENTITIES}<d>words of a member</d>", "b.txt": "other words"}),
    "climbing.docx": lambda: word(paragraph("climbing words"), more={"../../../evil.txt": "e", "/abs.txt": "e"}),
    "deep.docx": lambda: word("<w:sdt><w:sdtContent>" * 5_000 + "</w:sdtContent></w:sdt>" * 5_000),
    "members.docx": lambda: packed({"[Content_Types].xml": TYPES, **{f"word/{n}": b"" for n in range(20_000)}}),
    "cells.xlsx": far_cells,
    "deep.html": lambda: b"<div>" * 200_000 + b"deep",
    "spans.html": lambda: b"<table><tr><td colspan=99999999 rowspan=99999999>spanned</td></tr></table>",
    "tables.html": lambda: b"<table><tr><td>" * 400 + b"nested",
    "unclosed.html": lambda: b"<table>" + b"<tr><td>x" * 20_000,
    "comments.html": lambda: b"<!--" * 100_000 + b"words",
    "meta.html": lambda: b"<html><meta " * 20_000 + b"words",
    "tags.html": lambda: b"<p " * 200_000 + b"words",
    "deep.json": lambda: b"[" * 100_000 + b"]" * 100_000,
    "wide.json": lambda: json.dumps({f"key {n}": n for n in range(50_000)}).encode(),
    "number.json": lambda: b'{"n": ' + b"9" * 50_000 + b"}",
    "quotes.csv": lambda: b'a,b\n1,"' + b"x,\n" * 100_000,
    "columns.csv": lambda: b",".join(b"%d" % n for n in range(50_000)) + b"\n" + b"1," * 49_999,
    "brackets.md": lambda: b"[" * 20_000 + b"words",
    "emphasis.md": lambda: b"*a **b " * 5_000,
    "backticks.md": lambda: b"".join(b"`" * (n % 500 + 1) + b" a " for n in range(2_000)),
    "quotes.md": lambda: b">" * 20_000 + b" words",
    "tables.md": lambda: b"<table>\n\n" * 3_000 + b"words",
    "front.md": lambda: b"---\n" + b"a: b\n" * 50_000 + b"words",
    "line.txt": lambda: b"word " * 200_000,
    "word.txt": lambda: b"x" * 1_000_000,
    "marks.txt": lambda: ("e" + "\u0301" * 50_000).encode(),
    "nul.txt": lambda: b"before\0\0after\n" * 1_000,
    "blank.txt": lambda: b"\n" * 1_000_000,
    "numbers.txt": lambda: b"1.1.1.1" + b" " * 50_000 + b"x\n" + b"chapter " * 20_000,
    "parts.eml": lambda: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 5_000,
    "nested.eml": lambda: b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3_000)
    ),
    "header.eml": lambda: b"Subject: " + b"=?utf-8?q?a?= " * 5_000 + b"\nFrom: " + b"<" * 5_000 + b"\n\nwords",
}


def nested(levels: int) -> bytes:
    """Archives in each other, ten in each: a million leaves in few bytes."""
    data = packed({"leaf.txt": b"0" * (1 << 20)})
    for _ in range(levels):
        data = packed({f"{n}.zip": data for n in range(10)})
    return data


def misnamed(data: bytes) -> bytes:
    """A local header whose name is 64 KiB of what follows: who complains of it may quote it all."""
    return data[:26] + b"\xff\xff" + data[28:]


CORE = "application/vnd.openxmlformats-package.core-properties+xml"
FOUND = {  # by fuzzing
    "nameless.zip": lambda: packed({"?": b"x", "a.txt": b"words of a member"}).replace(b"?", b"\0"),
    "misnamed.docx": lambda: misnamed(word(paragraph("x"), more={"a.bin": random.Random(1).randbytes(70_000)})),
    "untargeted.docx": lambda: word(paragraph("x"), more={"_rels/.rels": RELATION.format(kind="officeDocument", target="")}),
    "inside_itself.msg": lambda: inside_itself(ole.letter_msg()),
    "core.docx": lambda: word(
        paragraph("words"),
        more={
            "docProps/core.xml": "<other xmlns='urn:other'/>",
            "_rels/.rels": RELATION.format(kind="officeDocument", target="Target='word/document.xml'").replace(
                "</R", "<Relationship Id='r2' Type='http://schemas.openxmlformats.org/package/2006/relationships/metadata/"
                "core-properties' Target='docProps/core.xml'/></R"),
            "[Content_Types].xml": TYPES.replace(
                "/>", f"{WORD_TYPES}<Override PartName='/docProps/core.xml' ContentType='{CORE}'/></Types>"),
        },
    ),
}  # fmt: skip
CASES |= FOUND


def inside_itself(data: bytes) -> bytes:
    """An OLE container whose root is a storage that lies in itself."""
    root = 512 * (1 + int.from_bytes(data[48:52], "little"))
    return data[: root + 66] + b"\1" + data[root + 67 : root + 76] + bytes(4) + data[root + 80 :]


def directory(entries: int) -> bytes:
    """An archive that is all directory: a small object for each of its entries would be much memory."""
    listed = b"PK\x01\x02" + bytes(42)
    return b"PK\x03\x04" + bytes(26) + listed * entries + b"PK\x05\x06" + struct.pack(
        "<HHHHIIH", 0, 0, entries & 0xFFFF, entries & 0xFFFF, 46 * entries, 30, 0
    )  # fmt: skip


def looping() -> bytes:
    """An OLE container whose directory begins a chain of sectors that never ends."""
    data = bytearray(ole.report_doc())
    fat = 512 * (1 + int.from_bytes(data[76:80], "little"))
    data[fat : fat + 512] = bytes(4) * 128
    return bytes(data)


CASES |= {
    "nested.zip": lambda: nested(5),
    "directory.zip": lambda: directory(250_000),
    "directory.docx": lambda: directory(250_000),
    "bomb.zip": lambda: packed({"note.txt": b"words", "inner.zip": packed({"zeros.txt": bytes(40 << 20)})}),
    "climbing.zip": lambda: packed({"../../../evil.txt": b"climbing words", "/evil.txt": b"more"}),
    "members.zip": lambda: packed({f"{n}.txt": b"" for n in range(20_000)}),
    "bomb.epub": lambda: packed({"META-INF/container.xml": b"<container/>", "zeros.xhtml": bytes(40 << 20)}),
    "entities.odt": lambda: odf("text", ENTITIES + "<office:text/>"),
    "deep.odt": lambda: odf("text", "<text:section>" * 100_000),
    "rows.ods": lambda: odf("spreadsheet", REPEATED),
    "deep.rtf": lambda: rb"{\rtf1 " + b"{" * 200_000 + b"deep",
    "words.rtf": lambda: rb"{\rtf1 " + rb"\a1 \'e9\u20013?" * 100_000 + b"}",
    "bin.rtf": lambda: rb"{\rtf1 words\bin9999999999 }",
    "loop.doc": looping,
    "pieces.doc": lambda: ole.word_97([ole.Paragraph("words")] * 20_000),
    "shapes.ppt": lambda: ole.powerpoint_97([([ole.shape(4, "words")] * 20_000, "")]),
    "groups.ppt": lambda: ole.powerpoint_97([([groups(2_000)], "")]),
    "letters.mbox": lambda: b"From a@b Mon Jan  5 10:00:00 2026\nSubject: words\n\nwords\n\n" * 1_000,
    "pixels.gif": lambda: b"GIF89a\xff\xff\xff\xff" + bytes(99),
}
REPEATED = (
    '<office:spreadsheet><table:table><table:table-row table:number-rows-repeated="1000000"><table:table-cell '
    'table:number-columns-repeated="1000000"><text:p>x</text:p></table:table-cell></table:table-row></table:table>'
    "</office:spreadsheet>"
)


def groups(depth: int) -> bytes:
    data = ole.shape(4, "words")
    for _ in range(depth):
        data = ole.record(0xF003, data, container=True)
    return data


def main() -> None:
    count_tokens("the tables are loaded first")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    for name, make in CASES.items():
        sys.stdout.write(json.dumps(outcome(name, make())) + "\n")
        sys.stdout.flush()


def outcome(name: str, data: bytes) -> dict[str, object]:
    try:
        parser = PARSERS.load(detect(name, io.BytesIO(data)))()
        document = parser.parse(Source(name, data), ParseLimits())
        chunks = CHUNKERS.load("naive")().chunk(document, ChunkSettings(), count_tokens)
    except DocumentError as exc:
        return {"name": name, "error": type(exc).__name__, "message": str(exc)}
    text = "\n".join(chunk.text for chunk in chunks)
    return {"name": name, "chunks": len(chunks), "start": text[:80], "end": text[-80:], "nul": "\0" in text}


if __name__ == "__main__":
    main()
