"""Mail: headers, body, and the attachments as documents of their own."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage, Message
from itertools import count
from typing import Any, ClassVar

import msgspec

from gristmill.base.errors import DamagedDocument, DocumentError, EncryptedDocument, UnsupportedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.bounds import Blocks, check_size, clean, too_large
from gristmill.parsers.cards import cards, is_cards
from gristmill.parsers.charset import decode
from gristmill.parsers.children import attach
from gristmill.parsers.tnef import unpacked
from gristmill.ports.document import Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

_HEADERS = ("subject", "from", "to", "cc", "date")
_MARKUP = re.compile(rb"<(style|script)\b.*?</\1\s*>|<[^<>]*>|\s{2,}", re.S | re.I)
_MUCH = 4
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_ESCAPED = re.compile("[\udc80-\udcff]")
_ARMOUR = re.compile(rb"\s*-----BEGIN PGP MESSAGE-----.*-----END PGP MESSAGE-----\s*", re.S)
_SMIME = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
_SIGNATURES = frozenset(("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"))
_PACKETS = frozenset(("application/ms-tnef", "application/vnd.ms-tnef"))
_SAMPLE = 4096
_MOST_PARTS = 1000
# What the standard library raises on headers and encodings that no standard allows.
_ERRORS = (MessageError, LookupError, ValueError, AttributeError, TypeError)


class EmailParser(Parser):
    """The plain body, or else the HTML one; invitations; attachments, those that Outlook packs in one file, too, as children.

    Attachments that cannot be read leave a warning, never lose the message.
    """

    name: ClassVar[str] = "email"
    version: ClassVar[int] = 5

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        try:
            message = message_from_bytes(_narrow(source.data), policy=_counting(source.name))
            return _message(message, source.name, limits)
        except (*_ERRORS, RecursionError) as exc:
            raise DamagedDocument(f"{source.name} is not a mail message that can be read: {exc}.") from exc


def _counting(name: str) -> policy.EmailPolicy[EmailMessage]:
    """How mail is read, with its parts counted as they come: DocumentTooLarge over the limit, not after all were read."""
    numbers = count(1)

    def part(policy: Any = None) -> EmailMessage:
        if next(numbers) > _MOST_PARTS:
            raise too_large(name, "parts", f"more than {_MOST_PARTS}", _MOST_PARTS, "fixed")
        return EmailMessage(policy)

    return policy.default.clone(message_factory=part)


def _narrow(data: bytes) -> bytes:
    """The message without the mark, and in UTF-8 where an editor has stored it as UTF-16 or UTF-32."""
    if decode(data[:_SAMPLE])[1].startswith(("utf-16", "utf-32")):
        return decode(data)[0].encode()
    return data.removeprefix(codecs.BOM_UTF8)


def _message(message: EmailMessage, name: str, limits: ParseLimits) -> ParsedDocument:
    blocks = Blocks(name, limits)
    document = ParsedDocument("email", blocks, parser=f"email/{EmailParser.version}", name=name)
    for header in _HEADERS:
        value = _header(message, header)
        if value:
            blocks.add(Block("mail_header", f"{header.capitalize()}: {value}", attrs={"name": header}))
    _refuse_locked(message, name)
    for part in _leaves(message):
        if _is_body(part):
            blocks.add_all(_body(part, name, limits, document.warnings))
        elif part.get_content_type() in _PACKETS:
            _unpack(document, part, blocks, limits)
        elif part.get_content_type() not in _SIGNATURES:
            _attach(document, part, limits)
    if not document.children:
        blocks.require_text("holds no text")
    return document


def _refuse_locked(message: EmailMessage, name: str) -> None:
    """Raises EncryptedDocument or UnsupportedDocument for mail that only its reader's own program opens."""
    kind = message.get_content_type()
    if kind == "multipart/encrypted" or (kind in _SMIME and message.get_param("smime-type") != "signed-data"):
        raise EncryptedDocument(f"{name} is encrypted. Decrypt it in a mail program, and submit what it shows.")
    if kind in _SMIME:
        raise UnsupportedDocument(
            f"{name} is signed in a way that hides its text (S/MIME, not multipart/signed). Save it without the signature."
        )
    if kind == "text/plain" and _ARMOUR.fullmatch(_payload(message)):
        raise EncryptedDocument(f"{name} is encrypted by PGP. Decrypt it, and submit what it says.")


def _unpack(document: ParsedDocument, part: Message, blocks: Blocks, limits: ParseLimits) -> None:
    """What Outlook has packed as if it were one attachment: the files are attachments, a body is one."""
    try:
        for name, data in unpacked(_payload(part)):
            if name:
                attach(document, name, data, limits)
            else:
                blocks.add_all(Block("text", paragraph) for paragraph in _PARAGRAPH.split(clean(decode(data)[0])))
    except DamagedDocument as exc:
        document.warnings.append(str(exc))


def _leaves(part: Message) -> Iterator[Message]:
    """The parts to read, in their order: of alternatives the one that says most in the plainest way."""
    if not part.is_multipart() or part.get_content_type() == "message/rfc822":
        yield part
        return
    inner = [one for one in part.get_payload() if isinstance(one, Message)]
    if part.get_content_subtype() == "alternative":
        inner = _best(inner)
    for one in inner:
        yield from _leaves(one)


def _best(alternatives: list[Message]) -> list[Message]:
    """Plain text, unless the last alternative holds far more: some programs only write there that they cannot show it.

    An invitation says what neither of them need say, and goes with it.
    """
    dates = [one for one in alternatives if one.get_content_type() == "text/calendar"]
    alternatives = [one for one in alternatives if one not in dates]
    plain = next((one for one in alternatives if one.get_content_type() == "text/plain"), None)
    if plain is None or plain is alternatives[-1]:
        return alternatives[-1:] + dates
    text, rich = _payload(plain), b"".join(_payload(one) for one in _leaves(alternatives[-1]) if _is_body(one))
    short = _MUCH * len(text.strip()) < len(_MARKUP.sub(b"", rich).strip())
    return (alternatives[-1:] if short else [plain]) + dates


def _is_body(part: Message) -> bool:
    if part.get_content_maintype() != "text":
        return False
    try:
        return part.get_content_disposition() != "attachment" and not part.get_filename()
    except _ERRORS:
        return True


def _header(message: EmailMessage, name: str) -> str:
    raw = next((value for key, value in message.raw_items() if key.lower() == name), "")
    # bytes that no standard allows: old programs wrote them as they were
    if isinstance(raw, str) and _ESCAPED.search(raw):
        return " ".join(decode(raw.encode("ascii", "surrogateescape"))[0].split())
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
        text = clean(decode(data, declared=charset)[0])
        yield from cards(text) if is_cards(text) else (Block("text", paragraph) for paragraph in _PARAGRAPH.split(text))
        return
    try:
        html = decode(data, declared=charset)[0].encode("utf-8", "replace")
        blocks = PARSERS.load("html")().parse(Source(name, html), limits).blocks
        yield from (block for block in blocks if block.kind != "title")
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
    if part.get_content_type() != "message/rfc822":
        attach(document, name, _payload(part), limits)
        return
    inner = msgspec.structs.replace(limits, attachment_depth=limits.attachment_depth - 1)
    try:
        attached = _attached(part)
        document.children.append(_message(attached, _header(attached, "subject") or name, inner))
    except (DocumentError, *_ERRORS) as exc:
        document.warnings.append(f"{name}: {exc}")


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
