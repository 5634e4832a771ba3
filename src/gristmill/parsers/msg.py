"""Outlook messages, by our own reader: each property is a stream of its own ([MS-OXMSG])."""

from __future__ import annotations

import datetime
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from gristmill.base.errors import DocumentError
from gristmill.parsers import PARSERS
from gristmill.parsers.bounds import Blocks
from gristmill.parsers.charset import decode
from gristmill.parsers.children import attach
from gristmill.parsers.ole import Container, opened
from gristmill.ports.document import Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

_SUBJECT, _SENDER, _TO, _CC, _SENT = 0x0037, 0x0C1A, 0x0E04, 0x0E03, 0x0039
_ADDRESSES = (0x5D01, 0x0C1F, 0x0065)  # of the sender; inside of an organisation some are no addresses of mail
_BODY, _HTML, _RTF = 0x1000, 0x1013, 0x1009
_DATA, _LONG_NAME, _SHORT_NAME, _TITLE = 0x3701, 0x3707, 0x3704, 0x3001
_INTERNET_PAGE, _MESSAGE_PAGE = 0x3FDE, 0x3FFD
_WIDE, _NARROW, _BINARY, _OBJECT = "001F", "001E", "0102", "000D"
_PROPERTIES = "__properties_version1.0"
_ATTACHED = re.compile(r"__attach_version1\.0_#[0-9A-F]{8}", re.I)
_EPOCH = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans "
    b"SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)  # what every compressed body may refer to; fixed by [MS-OXRTFCP]


class MsgParser(Parser):
    """Headers, the plain body or else the HTML or RTF one, attachments and attached messages as children."""

    name: ClassVar[str] = "msg"
    version: ClassVar[int] = 2

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        with opened(source, limits, "Outlook message") as container:
            return _message(_Storage(container, ""), source.name, limits)


@dataclass(frozen=True)
class _Storage:
    """The properties of one message or attachment: ``path`` is its place in the container."""

    container: Container
    path: str

    def text(self, number: int) -> str:
        """A property as text; empty where there is none."""
        wide = self._stream(number, _WIDE)
        if wide:
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        narrow = self._stream(number, _NARROW)
        page = self.fixed(_INTERNET_PAGE if number == _BODY else _MESSAGE_PAGE) or self.fixed(_INTERNET_PAGE)
        return decode(narrow, declared=code_page(page))[0].rstrip("\0") if narrow else ""

    def binary(self, number: int) -> bytes:
        """A property as bytes; none where there is none."""
        return self._stream(number, _BINARY)

    def fixed(self, number: int) -> int:
        """A property of eight bytes or less, which stands in the list of all; 0 where there is none."""
        raw = self.container.stream(f"{self.path}{_PROPERTIES}")
        head = 32 if not self.path else 24 if self.path.endswith(f"{_DATA:04X}{_OBJECT}/") else 8
        for at in range(head, len(raw) - 15, 16):
            if struct.unpack_from("<H", raw, at + 2)[0] == number:
                return int(struct.unpack_from("<Q", raw, at + 8)[0])
        return 0

    def attachments(self) -> list[_Storage]:
        """The attachments, in their order."""
        names = sorted({match[0] for match in map(_ATTACHED.match, self.container.below(self.path)) if match})
        return [_Storage(self.container, f"{self.path}{name}/") for name in names]

    def attached_message(self) -> _Storage | None:
        """The message that is attached here as a message."""
        inner = f"{self.path}__substg1.0_{_DATA:04X}{_OBJECT}/"
        return _Storage(self.container, inner) if f"{inner}{_PROPERTIES}" in self.container else None

    def _stream(self, number: int, kind: str) -> bytes:
        return self.container.stream(f"{self.path}__substg1.0_{number:04X}{kind}")


def _message(storage: _Storage, name: str, limits: ParseLimits) -> ParsedDocument:
    blocks = Blocks(name, limits)
    document = ParsedDocument("msg", blocks, parser=f"msg/{MsgParser.version}", name=name)
    for header, value in _headers(storage):
        if value:
            blocks.add(Block("mail_header", f"{header.capitalize()}: {value}", attrs={"name": header}))
    blocks.add_all(_body(storage, name, limits, document.warnings))
    for number, attached in enumerate(storage.attachments(), 1):
        _attach(document, attached, number, limits)
    if not document.children:
        blocks.require_text("holds no text")
    return document


def _headers(storage: _Storage) -> Iterator[tuple[str, str]]:
    yield "subject", storage.text(_SUBJECT)
    name = storage.text(_SENDER)
    address = next((found for found in map(storage.text, _ADDRESSES) if "@" in found and found != name), "")
    yield "from", f"{name} <{address}>".strip() if address else name
    yield "to", storage.text(_TO)
    yield "cc", storage.text(_CC)
    sent = storage.fixed(_SENT)
    if sent:
        try:
            yield "date", (_EPOCH + datetime.timedelta(microseconds=sent // 10)).isoformat(timespec="seconds")
        except OverflowError:
            return


def _body(storage: _Storage, name: str, limits: ParseLimits, warnings: list[str]) -> Iterator[Block]:
    plain = storage.text(_BODY).replace("\r\n", "\n")
    if plain.strip():
        yield from (Block("text", paragraph) for paragraph in _PARAGRAPH.split(plain))
        return
    try:
        html = storage.binary(_HTML) or storage.text(_HTML).encode("utf-8", "replace")
        if html.strip():
            text = decode(html, declared=code_page(storage.fixed(_INTERNET_PAGE)))[0].encode("utf-8", "replace")
            blocks = PARSERS.load("html")().parse(Source(name, text), limits).blocks
            yield from (block for block in blocks if block.kind != "title")
        elif rtf := storage.binary(_RTF):
            yield from PARSERS.load("rtf")().parse(Source(name, unpacked(rtf, limits.max_text)), limits).blocks
    except DocumentError as exc:
        warnings.append(f"the body could not be read: {exc}")


def _attach(document: ParsedDocument, storage: _Storage, number: int, limits: ParseLimits) -> None:
    name = storage.text(_LONG_NAME) or storage.text(_SHORT_NAME) or storage.text(_TITLE) or f"attachment {number}"
    inner = storage.attached_message()
    if inner is None:
        attach(document, name, storage.binary(_DATA), limits)
    elif limits.attachment_depth <= 0:
        document.warnings.append(f"{name}: attached too deep to be read")
    else:
        less = msgspec.structs.replace(limits, attachment_depth=limits.attachment_depth - 1)
        try:
            document.children.append(_message(inner, inner.text(_SUBJECT) or name, less))
        except DocumentError as exc:
            document.warnings.append(str(exc))


def code_page(number: int) -> str:
    """The name that a code page of Windows has in mail."""
    return {0: "", 936: "gbk", 950: "big5", 932: "shift_jis", 949: "ks_c_5601-1987", 65001: "utf-8", 1200: "utf-16-le",
            20127: "ascii", 28591: "iso-8859-1", 54936: "gb18030", 50220: "iso-2022-jp", 20866: "koi8-r",
            51949: "euc-kr", 51932: "euc-jp"}.get(number & 0xFFFFFFFF, f"cp{number & 0xFFFFFFFF}")  # fmt: skip


def unpacked(data: bytes, most: int) -> bytes:
    """A compressed RTF body. No more than ``most`` bytes of it, whatever its header says."""
    if len(data) < 16 or data[8:12] != b"LZFu":
        return data[16:]
    ring = bytearray(_DICTIONARY.ljust(4096, b"\0"))
    at, write, out = 16, len(_DICTIONARY), bytearray()
    while at < len(data) and len(out) < most:
        flags, at = data[at], at + 1
        for bit in range(8):
            if not flags >> bit & 1:
                run = data[at : at + 1]
                at += 1
            else:
                token = int.from_bytes(data[at : at + 2], "big")
                at += 2
                run = _copied(ring, token >> 4, write, (token & 0xF) + 2)
            if not run:
                return bytes(out)
            for byte in run:
                ring[write] = byte
                write = (write + 1) % 4096
            out += run
    return bytes(out)


def _copied(ring: bytearray, place: int, write: int, length: int) -> bytes:
    """What stands at a place of the ring; it may reach into what it copies. Nothing at the place of writing: the end."""
    if place == write:
        return b""
    run = bytearray()
    distance = (write - place) % 4096
    for n in range(length):
        run.append(ring[(place + n) % 4096] if n < distance else run[n - distance])
    return bytes(run)
