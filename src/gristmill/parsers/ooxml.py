"""What Word, PowerPoint and Excel documents of the XML kind have in common: two dialects, and files put into them."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator

from gristmill.base.errors import DocumentError
from gristmill.parsers.bounds import clean
from gristmill.parsers.children import Budget
from gristmill.parsers.ole import ERRORS, Container, native
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits

_STRICT = b"http://purl.oclc.org/ooxml/"
_SPACE = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")
_XML = (".xml", ".rels", ".vml")
_EMBEDDED = re.compile(r"(?:word|ppt|xl)/embeddings/[^/]+")
_OF_A_CHART = re.compile(r"(?:word|ppt|xl)/charts/_rels/[^/]+\.rels")
_TARGET = re.compile(rb'Target="([^"]+)"')
_INNER = (("WordDocument", "doc"), ("Workbook", "xls"), ("Book", "xls"), ("PowerPoint Document", "ppt"))


def transitional(data: bytes, archive: zipfile.ZipFile) -> bytes:
    """The document in the dialect that libraries read. One in the strict dialect gets other names for the same elements."""
    if _STRICT not in archive.read("_rels/.rels"):
        return data
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as out:
        for member in archive.infolist():
            content = archive.read(member)
            if member.filename.lower().endswith(_XML):
                content = _SPACE.sub(rb"http://schemas.openxmlformats.org/\1/2006/\2", content)
            out.writestr(member.filename, content)
    return made.getvalue()


def add_embedded(document: ParsedDocument, archive: zipfile.ZipFile, limits: ParseLimits) -> None:
    """Files that were put into the document become its children; one that cannot be read leaves a warning.

    The tables behind charts are none: their words are read with the chart.
    """
    names = [member for member in archive.namelist() if _EMBEDDED.fullmatch(member)]
    if not names:
        return
    charted = set(_charted(archive))
    budget = Budget(document, limits)
    for member in names:
        if member in charted:
            continue
        name, data = _unpacked(posixpath.basename(member), archive.read(member))
        if data:
            budget.spend(len(data))
            budget.add(clean(name), data)


def _charted(archive: zipfile.ZipFile) -> Iterator[str]:
    for member in archive.namelist():
        if _OF_A_CHART.fullmatch(member):
            folder = posixpath.dirname(posixpath.dirname(member))
            for target in _TARGET.findall(archive.read(member)):
                yield posixpath.normpath(posixpath.join(folder, target.decode("utf-8", "replace")))


def _unpacked(name: str, data: bytes) -> tuple[str, bytes]:
    """The file in an OLE object; as it is where it is none, and no bytes where the object is no file."""
    if not data.startswith(b"\xd0\xcf\x11\xe0"):
        return name, data
    try:
        container = Container(data)
        try:
            return _of_container(name, data, container)
        finally:
            container.close()
    except (*ERRORS, DocumentError):
        return name, b""


def _of_container(name: str, data: bytes, container: Container) -> tuple[str, bytes]:
    stem = name.rpartition(".")[0] or name
    for stream, ending in _INNER:
        if stream in container:
            return f"{stem}.{ending}", data
    for stream, sign, ending in (("Package", b"PK", "zip"), ("CONTENTS", b"%PDF", "pdf")):
        if container.stream(stream).startswith(sign):
            return f"{stem}.{ending}", container.stream(stream)
    return native(container.stream("\x01Ole10Native")) or (name, b"")
