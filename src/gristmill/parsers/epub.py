"""EPUB books: the chapters in the order of the spine, read as HTML."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import unquote

from gristmill.base.errors import DamagedDocument, EmptyDocument, EncryptedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.bounds import Blocks, clean, open_zip
from gristmill.parsers.xml import ERRORS, read_xml
from gristmill.ports.document import Block, ParsedDocument, Range
from gristmill.ports.parser import ParseLimits, Parser, Source

_CONTAINER, _RIGHTS = "META-INF/container.xml", "META-INF/encryption.xml"
_PAGES = frozenset(("application/xhtml+xml", "text/html", "application/x-dtbook+xml"))
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # these scramble fonts, not text


class EpubParser(Parser):
    """Headings, paragraphs, lists and tables of every chapter; title, author and language in ``meta``. No pictures."""

    name: ClassVar[str] = "epub"
    version: ClassVar[int] = 1

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        warnings: list[str] = []
        with open_zip(source, limits) as archive:
            try:
                _refuse_locked(archive, source.name)
                package = _package(archive, source.name)
                root = read_xml(archive, package)
                for chapter in _spine(root, package):
                    blocks.add_all(_chapter(archive, chapter, source.name, limits, warnings))
            except ERRORS as exc:
                raise DamagedDocument(
                    f"{source.name} is a damaged EPUB book ({type(exc).__name__}: {exc}). Download it again."
                ) from exc
        blocks.require_text("holds no text")
        meta = {name: value for name in ("title", "creator", "language") if (value := _meta(root, name))}
        return ParsedDocument(
            "epub", blocks, meta=meta, warnings=warnings, parser=f"epub/{self.version}", name=source.name
        )


def _refuse_locked(archive: zipfile.ZipFile, name: str) -> None:
    """A book whose chapters are encrypted opens only in the shop's own reader."""
    if _RIGHTS not in archive.namelist():
        return
    for method in read_xml(archive, _RIGHTS).iter("{*}EncryptionMethod"):
        if method.get("Algorithm") not in _FONTS:
            raise EncryptedDocument(f"{name} is protected by digital rights management. Submit a copy without it.")


def _package(archive: zipfile.ZipFile, name: str) -> str:
    for found in read_xml(archive, _CONTAINER).iter("{*}rootfile"):
        path = posixpath.normpath(str(found.get("full-path", "")))
        if path in archive.namelist() and not path.startswith(("/", "..")):
            return path
        raise DamagedDocument(
            f"{name} is a damaged EPUB book: it names a package that is not in it ({clean(path)[:200]})."
        )
    raise DamagedDocument(f"{name} is a damaged EPUB book: it names no package.")


def _spine(root: Any, package: str) -> Iterator[str]:
    """The members that the spine names, in its order, each once."""
    items = {item.get("id"): item for item in root.iter("{*}item")}
    seen: set[str] = set()
    for reference in root.iter("{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES:
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(item.get("href", ""))))
        if path not in seen:
            seen.add(path)
            yield path


def _chapter(archive: zipfile.ZipFile, path: str, name: str, limits: ParseLimits, warnings: list[str]) -> list[Block]:
    if path not in archive.namelist():
        warnings.append(f"the chapter {clean(path)} is not in the book")
        return []
    try:
        return PARSERS.load("html")().parse(Source(name, archive.read(path)), limits).blocks
    except EmptyDocument:
        return []  # a cover, a picture


def _meta(root: Any, name: str) -> str:
    found = (element.text or "" for element in root.iter("{http://purl.org/dc/elements/1.1/}" + name))
    return " ".join(clean(next(found, "")).split())
