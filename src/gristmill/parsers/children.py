"""Documents inside of documents: attachments of mail, members of archives."""

from __future__ import annotations

import io

import msgspec

from gristmill.base.errors import DocumentError, DocumentTooLarge, PluginError, UnsupportedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source

_SHARED = frozenset(("max_text", "max_blocks", "zip_bytes", "zip_ratio", "zip_members"))


def read_child(name: str, data: bytes, limits: ParseLimits, parser: str = "") -> ParsedDocument:
    """The document inside, read by the parser that its content asks for, or by the one named.

    Raises UnsupportedDocument below ``attachment_depth`` levels, and what detection and parser raise.
    """
    if limits.attachment_depth <= 0:
        raise UnsupportedDocument(f"{name} is attached too deep to be read (attachment_depth).")
    inner = msgspec.structs.replace(limits, attachment_depth=limits.attachment_depth - 1)
    found = parser or detect(name, io.BytesIO(data))
    return PARSERS.load(found)().parse(Source(name, data), inner)


def attach(document: ParsedDocument, name: str, data: bytes, limits: ParseLimits) -> None:
    """Add the document inside as a child. One that cannot be read costs itself only: it leaves a warning."""
    try:
        document.children.append(read_child(name, data, limits))
    except (DocumentError, PluginError) as exc:
        document.warnings.append(str(exc) if name in str(exc) else f"{name}: {exc}")


class Budget:
    """Reads documents inside of one; what all of them together may hold is what one document may.

    One that cannot be read leaves a warning. The one that goes over a limit of all ends the reading: DocumentTooLarge.
    """

    def __init__(self, document: ParsedDocument, limits: ParseLimits) -> None:
        self._document = document
        self.limits = limits

    def add(self, name: str, data: bytes, parser: str = "") -> None:
        """Add the document inside as a child."""
        try:
            child = read_child(name, data, self.limits, parser)
        except DocumentTooLarge as exc:
            if exc.setting in _SHARED:
                raise too_large_inside(self._document.name, exc) from exc
            self._warn(name, exc)
        except (DocumentError, PluginError) as exc:
            self._warn(name, exc)
        else:
            self._document.children.append(child)
            self._spend(child)

    def spend(self, unpacked: int) -> None:
        """Count bytes that were unpacked."""
        self.limits = msgspec.structs.replace(self.limits, zip_bytes=max(0, self.limits.zip_bytes - unpacked))

    def _warn(self, name: str, exc: Exception) -> None:
        self._document.warnings.append(str(exc) if name in str(exc) else f"{name}: {exc}")

    def _spend(self, child: ParsedDocument) -> None:
        text, blocks = _size(child)
        self.limits = msgspec.structs.replace(
            self.limits,
            max_text=max(0, self.limits.max_text - text),
            max_blocks=max(0, self.limits.max_blocks - blocks),
        )
        self.spend(int(child.meta.get("unpacked", "0")))


def too_large_inside(name: str, exc: DocumentTooLarge) -> DocumentTooLarge:
    """The error of a document that holds too much in the documents inside of it."""
    error = DocumentTooLarge(f"{name} holds too much: {exc}")
    error.setting = exc.setting
    return error


def _size(document: ParsedDocument) -> tuple[int, int]:
    """Characters of text, and blocks, of a document and all inside of it."""
    text = sum(len(block.text) for block in document.blocks)
    text += sum(len(cell.text) for block in document.blocks if block.table for cell in block.table.cells)
    inner = [_size(child) for child in document.children]
    return text + sum(one for one, _ in inner), len(document.blocks) + sum(one for _, one in inner)
