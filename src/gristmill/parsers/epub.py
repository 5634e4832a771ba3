"""EPUB books: the chapters in the order of the spine, read as HTML."""

from __future__ import annotations

import posixpath
import re
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

from gristmill.base.errors import DamagedDocument, EmptyDocument, EncryptedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.bounds import Blocks, clean, open_zip
from gristmill.parsers.contents import Entry, read_contents
from gristmill.parsers.xml import ERRORS, read_xml
from gristmill.ports.document import Block, OutlineEntry, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

_CONTAINER, _RIGHTS = "META-INF/container.xml", "META-INF/encryption.xml"
_PAGES = frozenset(("application/xhtml+xml", "text/html", "application/x-dtbook+xml"))
_PICTURE = re.compile(rb"(<img\b[^>]{0,2000}?\bsrc\s*=\s*)([\"'])([^\"'>]{1,1000})\2", re.I)
_SIGNS = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # these scramble fonts, not text


class EpubParser(Parser):
    """Headings, paragraphs, lists, tables and pictures of every chapter; chapters without a heading have that of the table
    of contents, which is the outline; title, author and language in ``meta``."""

    name: ClassVar[str] = "epub"
    version: ClassVar[int] = 3

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        blocks = Blocks(source.name, limits)
        document = ParsedDocument("epub", blocks, parser=f"epub/{self.version}", name=source.name)
        with open_zip(source, limits) as archive:
            try:
                _refuse_locked(archive, source.name)
                package = _package(archive, source.name)
                root = read_xml(archive, package)
                contents = list(read_contents(archive, root, package))
                document.outline = [OutlineEntry(one.title, one.level, 0) for one in contents]
                reader = _Chapters(archive, document, limits, contents)
                for chapter in _spine(root, package):
                    blocks.add_all(reader.read(chapter))
            except ERRORS as exc:
                raise DamagedDocument(
                    f"{source.name} is a damaged EPUB book ({type(exc).__name__}: {exc}). Download it again."
                ) from exc
        blocks.require_text("holds no text")
        document.meta = {name: value for name in ("title", "creator", "language") if (value := _meta(root, name))}
        return document


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
        if item is None or item.get("media-type") not in _PAGES or "nav" in (item.get("properties") or "").split():
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(item.get("href", ""))))
        if path not in seen:
            seen.add(path)
            yield path


class _Chapters:
    """Reads chapters one after the other. A picture is shown where the book shows it first."""

    def __init__(
        self, archive: zipfile.ZipFile, document: ParsedDocument, limits: ParseLimits, contents: Sequence[Entry]
    ) -> None:
        self._archive, self._document, self._limits = archive, document, limits
        self._titles: dict[str, Entry] = {}
        for entry in contents:
            self._titles.setdefault(entry.path, entry)
        self._names = frozenset(archive.namelist())
        self._shown: set[str] = set()

    def read(self, path: str) -> list[Block]:
        """The blocks of a chapter."""
        if path not in self._names:
            self._document.warnings.append(f"the chapter {clean(path)} is not in the book")
            return []
        html = _PICTURE.sub(lambda match: self._picture(match, path), self._archive.read(path))
        try:
            found = PARSERS.load("html")().parse(Source(self._document.name, html), self._limits)
        except EmptyDocument:
            return []  # a cover that is a drawing
        self._document.assets |= found.assets
        blocks = [block for block in found.blocks if block.kind != "title"]
        title = self._titles.get(path)
        if title and title.title and blocks and not any(block.kind == "heading" for block in blocks):
            blocks.insert(0, Block("heading", title.title, level=title.level))
        return blocks

    def _picture(self, match: re.Match[bytes], chapter: str) -> bytes:
        """The tag of a picture, with the picture itself in it."""
        path = posixpath.normpath(
            posixpath.join(posixpath.dirname(chapter), unquote(match[3].decode("utf-8", "replace")))
        )
        if path not in self._names or path in self._shown:
            return match[0]
        data = self._archive.read(path)
        mime = next((mime for sign, mime in _SIGNS if data.startswith(sign)), "")
        if not mime:
            return match[0]
        self._shown.add(path)
        return b"".join((match[1], match[2], f"data:{mime};base64,".encode(), b64encode(data), match[2]))


def _meta(root: Any, name: str) -> str:
    found = (element.text or "" for element in root.iter("{http://purl.org/dc/elements/1.1/}" + name))
    return " ".join(clean(next(found, "")).split())
