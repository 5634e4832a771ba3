"""Jupyter notebooks: the words, the code, and what it printed."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, ClassVar

from gristmill.base.errors import DamagedDocument, DocumentError
from gristmill.base.ids import content_digest
from gristmill.parsers import PARSERS
from gristmill.parsers.bounds import Blocks, check_size
from gristmill.parsers.charset import decode
from gristmill.ports.document import Asset, Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

_PICTURES = ("image/png", "image/jpeg")


class NotebookParser(Parser):
    """Cells in their order: Markdown as Markdown, code with its language, printed text (``attrs``: part) and pictures."""

    name: ClassVar[str] = "notebook"
    version: ClassVar[int] = 1

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        blocks = Blocks(source.name, limits)
        document = ParsedDocument("notebook", blocks, parser=f"notebook/{self.version}", name=source.name)
        try:
            notebook = json.loads(decode(source.data)[0])
        except (ValueError, RecursionError) as exc:
            raise DamagedDocument(f"{source.name} is not a notebook: it is not JSON ({exc}).") from exc
        language = _language(notebook)
        for cell in _cells(notebook):
            blocks.add_all(_blocks(cell, language, document, limits))
        blocks.require_text("holds no cell with text")
        document.meta = {"language": language} if language else {}
        return document


def _cells(notebook: Any) -> Iterator[dict[str, Any]]:
    """The cells; those of the older form stand in worksheets."""
    if not isinstance(notebook, dict):
        return
    sheets = notebook.get("worksheets")
    for holder in [notebook, *(sheets if isinstance(sheets, list) else [])]:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        yield from (cell for cell in (cells if isinstance(cells, list) else []) if isinstance(cell, dict))


def _language(notebook: Any) -> str:
    found = notebook.get("metadata") if isinstance(notebook, dict) else None
    for name, key in (("language_info", "name"), ("kernelspec", "language")):
        inner = found.get(name) if isinstance(found, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get(key), str):
            return str(inner[key]).lower()
    return ""


def _blocks(cell: dict[str, Any], language: str, document: ParsedDocument, limits: ParseLimits) -> Iterator[Block]:
    text = _text(cell.get("source", cell.get("input")))
    kind = cell.get("cell_type")
    if kind == "code":
        yield Block("code", text, attrs={"language": language} if language else {})
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else []:
            if isinstance(output, dict):
                yield from _shown(output, document)
    elif kind == "markdown" and text.strip():
        try:
            yield from (
                PARSERS.load("markdown")().parse(Source(document.name, text.encode("utf-8", "replace")), limits).blocks
            )
        except DocumentError as exc:
            document.warnings.append(str(exc))
    elif kind == "heading":
        level = cell.get("level")
        yield Block("heading", text, level=level if isinstance(level, int) and 0 < level < 10 else 1)
    else:
        yield Block("text", text)


def _shown(output: dict[str, Any], document: ParsedDocument) -> Iterator[Block]:
    """What a cell printed: a picture, or else text."""
    data = output.get("data")
    data = data if isinstance(data, dict) else output
    for mime in _PICTURES:
        picture = _decoded(_text(data.get(mime, data.get(mime.partition("/")[2]))))
        if picture:
            key = content_digest(picture)
            document.assets.setdefault(key, Asset(key, mime, picture))
            yield Block("figure", "", asset=key)
            return
    text = _text(output.get("text")) or _text(data.get("text/plain"))
    yield Block("code", text, attrs={"part": "output"})


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii", "ignore")) if text else b""
    except (binascii.Error, ValueError):
        return b""


def _text(value: Any) -> str:
    """A text, which may be stored as a list of its lines."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""
