"""What is checked before a parser sees a byte, and while it makes blocks.

Everything here raises a DocumentError that names the document, the limit and what to do.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath

from gristmill.base.errors import DamagedDocument, DocumentTooLarge, EmptyDocument, EncryptedDocument
from gristmill.ports.document import Block, Table
from gristmill.ports.parser import ParseLimits, Source

_PIECE = 1 << 20
_RATIO_FLOOR = 10 << 20  # a member smaller than this does no harm, however well it is packed
_FORBIDDEN = tuple(
    word.encode(codec) for word in ("<!DOCTYPE", "<!ENTITY") for codec in ("ascii", "utf-16-le", "utf-16-be")
)
_OVERLAP = max(map(len, _FORBIDDEN)) - 1
MEMBER_BYTES = 1024  # of a directory, for each member: its name and more
_END, _END64 = b"PK\x05\x06", b"PK\x06\x06"
_END_BYTES, _END_WITHIN, _END64_BEFORE = 22, 22 + 76 + 0xFFFF, 76
_XML = (".xml", ".rels", ".vml")
_MARKUP = (
    ".html",
    ".htm",
    ".xhtml",
    ".svg",
    ".ncx",
    ".opf",
)  # of books: has a DTD by its standard; we read it ourselves
_DECLARED = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*<\0?[?!]\0?")

# What no text needs and some stores choke on: control characters, halves of surrogate pairs, non-characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def clean(text: str) -> str:
    """The text with line ends as ``\\n``; control characters become a blank."""
    if text.isprintable():  # most values of tables are, and all that follows would leave them as they are
        return text
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNPRINTABLE.sub(" ", text)


def check_size(source: Source, limits: ParseLimits) -> None:
    """Raises DocumentTooLarge over ``max_bytes`` and EmptyDocument for no bytes at all."""
    if not source.data:
        raise EmptyDocument(f"{source.name} is an empty file")
    if len(source.data) > limits.max_bytes:
        raise too_large(source.name, "bytes", len(source.data), limits.max_bytes, "max_bytes")


def too_large(name: str, what: str, found: int | str, limit: int, setting: str) -> DocumentTooLarge:
    """The error that every limit ends in."""
    error = DocumentTooLarge(
        f"{name} has {found} {what}; the limit is {limit} ({setting}). Split the document, or raise the limit."
    )
    error.setting = setting
    return error


def open_zip(source: Source, limits: ParseLimits, *, one: bool = True) -> zipfile.ZipFile:
    """The document as a ZIP file all of whose members were inflated once and found harmless.

    Sizes are counted while inflating, never taken from headers. Member names are only ever compared, never used as paths.
    Where all of it is ``one`` document, XML with a DTD or entities is refused. Raises DamagedDocument, EncryptedDocument,
    DocumentTooLarge.
    """
    check_size(source, limits)
    if directory_size(source.data) > limits.zip_members * MEMBER_BYTES:
        found = f"more than {limits.zip_members}"
        raise too_large(source.name, "files inside", found, limits.zip_members, "zip_members")
    try:
        archive = zipfile.ZipFile(io.BytesIO(source.data))
        members = archive.infolist()
        if len(members) > limits.zip_members:
            raise too_large(source.name, "files inside", len(members), limits.zip_members, "zip_members")
        total = 0
        for member in members:
            total = _inflate(archive, member, source.name, limits, total, one=one)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, OverflowError) as exc:
        raise DamagedDocument(f"{source.name} is a damaged ZIP container ({exc}). Save or download it again.") from exc
    return archive


def directory_size(tail: bytes) -> int:
    """How large a ZIP file's directory says it is, the largest where several could be meant.

    All of it is read, and an object made of every 46 bytes, before anybody can count them. ``tail``: how the file ends.
    """
    tail = tail[-_END_WITHIN:]
    sizes, at = [0], tail.find(_END)
    while at >= 0:
        if len(tail) - at >= _END_BYTES:
            sizes.append(struct.unpack_from("<I", tail, at + 12)[0])
            if at >= _END64_BEFORE and tail.startswith(_END64, at - _END64_BEFORE):
                sizes.append(struct.unpack_from("<Q", tail, at - _END64_BEFORE + 40)[0])
        at = tail.find(_END, at + 1)
    return max(size for size in sizes if size != 0xFFFFFFFF)


def _inflate(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, limits: ParseLimits, total: int, *, one: bool
) -> int:
    if member.flag_bits & 1:
        raise EncryptedDocument(f"{name} is protected by a password. Remove the password and submit it again.")
    ending = PurePosixPath(member.filename.lower()).suffix
    is_xml = one and ending in _XML
    size, tail = 0, b""
    with archive.open(member) as stream:
        while piece := stream.read(_PIECE):
            if one and not size and ending not in _MARKUP:
                is_xml = is_xml or bool(
                    _DECLARED.match(piece)
                )  # a part is XML if its container says so, whatever its name
            size += len(piece)
            if total + size > limits.zip_bytes:
                raise too_large(name, "unpacked bytes", f"more than {limits.zip_bytes}", limits.zip_bytes, "zip_bytes")
            if size > _RATIO_FLOOR and size > limits.zip_ratio * max(member.compress_size, 1):
                ratio = size // max(member.compress_size, 1)
                raise too_large(name, "times its packed size unpacked", ratio, limits.zip_ratio, "zip_ratio")
            if is_xml:
                check_xml(tail + piece, name)
                tail = piece[-_OVERLAP:]
    return total + size


def check_xml(data: bytes, name: str) -> None:
    """Raises DamagedDocument where XML declares a DTD or an entity: no office program writes them, attacks do."""
    if any(word in data for word in _FORBIDDEN):
        raise DamagedDocument(f"{name} contains XML with a document type or entities, which is refused as unsafe.")


class Blocks(list[Block]):
    """The blocks made so far. Raises DocumentTooLarge as soon as they are too many or hold too much text.

    Texts are cleaned on the way in; blocks with nothing to show (no text, table or picture) are left out.
    """

    def __init__(self, name: str, limits: ParseLimits) -> None:
        super().__init__()
        self._name = name
        self._limits = limits
        self._text = 0

    def add(self, block: Block) -> None:
        """Append a block. A heading is one line, whatever it was broken for."""
        block.text = clean(block.text).strip("\n") if block.kind == "code" else clean(block.text).strip()
        if block.kind in ("title", "heading"):
            block.text = " ".join(block.text.split())
        size = len(block.text) if block.text.strip() else 0
        if block.attrs:
            block.attrs = {key: clean(value) for key, value in block.attrs.items()}
        if block.table is not None:
            size = _settle(block.table)
        if not (size or block.asset):
            return
        self._text += size
        if self._text > self._limits.max_text:
            found = f"more than {self._limits.max_text}"
            raise too_large(self._name, "characters of text", found, self._limits.max_text, "max_text")
        if len(self) >= self._limits.max_blocks:
            found = f"more than {self._limits.max_blocks}"
            raise too_large(self._name, "blocks", found, self._limits.max_blocks, "max_blocks")
        self.append(block)

    def add_all(self, blocks: Iterable[Block]) -> None:
        """Append several blocks."""
        for block in blocks:
            self.add(block)

    def require_text(self, why: str) -> None:
        """Raises EmptyDocument when nothing with text was found."""
        if not any(block.text or block.table for block in self):
            raise EmptyDocument(f"{self._name} {why}")


def _settle(table: Table) -> int:
    """Clean a table's texts, and make it as large as its cells say. Returns how many characters they have."""
    size = 0
    table.caption = clean(table.caption)
    for cell in table.cells:
        cell.text = clean(cell.text).strip()
        size += len(cell.text)
        table.rows, table.cols = max(table.rows, cell.row + 1), max(table.cols, cell.col + 1)
    return size
