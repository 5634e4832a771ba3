"""Mail: headers, body, and the attachments as documents of their own."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage, Message
from typing import ClassVar

import msgspec

from gristmill.base.errors import DamagedDocument, DocumentError
from gristmill.parsers import PARSERS
from gristmill.parsers.bounds import Blocks, check_size, too_large
from gristmill.parsers.charset import decode
from gristmill.parsers.detect import detect
from gristmill.ports.document import Block, ParsedDocument, Range
from gristmill.ports.parser import ParseLimits, Parser, Source

_HEADERS = ("subject", "from", "to", "cc", "date")
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_MOST_PARTS = 1000
# What the standard library raises on headers and encodings that no standard allows.
_ERRORS = (MessageError, LookupError, ValueError, AttributeError, TypeError)


class EmailParser(Parser):
    """The plain body, or else the HTML one. Attachments that cannot be read leave a warning, never lose the message."""

    name: ClassVar[str] = "email"
    version: ClassVar[int] = 1

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        check_size(source, limits)
        try:
            message = message_from_bytes(source.data, policy=policy.default)
            found = sum(1 for _ in message.walk())
        except (*_ERRORS, RecursionError) as exc:
            raise DamagedDocument(f"{source.name} is not a mail message that can be read: {exc}.") from exc
        if found > _MOST_PARTS:
            raise too_large(source.name, "parts", found, _MOST_PARTS, "fixed")
        return _message(message, source.name, limits)


def _message(message: EmailMessage, name: str, limits: ParseLimits) -> ParsedDocument:
    blocks = Blocks(name, limits)
    document = ParsedDocument("email", blocks, parser=f"email/{EmailParser.version}", name=name)
    for header in _HEADERS:
        value = _header(message, header)
        if value:
            blocks.add(Block("mail_header", f"{header.capitalize()}: {value}", attrs={"name": header}))
    try:
        body = message.get_body(("plain", "html"))
        attachments = list(message.iter_attachments())
    except _ERRORS as exc:
        document.warnings.append(f"the parts of the message are damaged ({exc}); they are read one after the other")
        body, attachments = None, [one for one in message.walk() if not one.is_multipart()]
    if body is not None:
        blocks.add_all(_body(body, name, limits, document.warnings))
    for attachment in attachments:
        _attach(document, attachment, limits)
    if not document.children:
        blocks.require_text("holds no text")
    return document


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message[name] or "").strip()
    except _ERRORS:
        return ""


def _body(body: Message, name: str, limits: ParseLimits, warnings: list[str]) -> Iterator[Block]:
    data = _payload(body)
    if not data.strip():
        return
    charset = body.get_content_charset() or ""
    if body.get_content_subtype() != "html":
        for paragraph in _PARAGRAPH.split(decode(data, declared=charset)[0].replace("\r\n", "\n")):
            yield Block("text", paragraph)
        return
    try:
        html = decode(data, declared=charset)[0].encode("utf-8", "replace")
        yield from PARSERS.load("html")().parse(Source(name, html), limits).blocks
    except DocumentError as exc:
        warnings.append(f"the HTML body could not be read: {exc}")


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _attach(document: ParsedDocument, part: Message, limits: ParseLimits) -> None:
    """An attachment or attached message as a child, within the depth that is allowed."""
    name = _name(part, len(document.children) + len(document.warnings) + 1)
    if limits.attachment_depth <= 0:
        document.warnings.append(f"{name}: attached too deep to be read")
        return
    inner = msgspec.structs.replace(limits, attachment_depth=limits.attachment_depth - 1)
    try:
        if part.get_content_type() == "message/rfc822":
            child = _message(_attached(part), name, inner)
        else:
            data = _payload(part)
            child = PARSERS.load(detect(name, io.BytesIO(data)))().parse(Source(name, data), inner)
    except (DocumentError, *_ERRORS) as exc:
        document.warnings.append(f"{name}: {exc}")
        return
    document.children.append(child)


def _attached(part: Message) -> EmailMessage:
    payload = part.get_payload()
    if isinstance(payload, list) and payload and isinstance(payload[0], EmailMessage):
        return payload[0]
    raise DamagedDocument("the attached message is empty")


def _name(part: Message, number: int) -> str:
    try:
        return part.get_filename() or f"attachment {number}"
    except _ERRORS:
        return f"attachment {number}"
