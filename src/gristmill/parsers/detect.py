"""Which parser reads a document: by what is in it. The name's ending only tells text formats from each other.

Installed parsers are the exception: they claim endings, and get those files whatever is in them.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import zipfile
import zlib
from pathlib import PurePath
from typing import BinaryIO

from gristmill.base.errors import EmptyDocument, EncryptedDocument, UnsupportedDocument
from gristmill.parsers import claimed
from gristmill.parsers.bounds import MEMBER_BYTES, directory_size
from gristmill.parsers.charset import decode, odd_share
from gristmill.parsers.sound import sound_kind
from gristmill.ports.parser import ParseLimits

READ = (
    "txt, md, html, csv, tsv, json, jsonl, ipynb, pdf, docx, doc, pptx, ppt, xlsx, xls, odt, ods, odp, rtf, epub, eml, msg, "
    "mbox, pictures (png, jpg, gif, tif, bmp, webp), sound (wav, mp3, flac, m4a, ogg, webm), archives of these (zip, tar, gz, "
    "bz2, xz), and source code"
)

_HEAD = 64 * 1024
_TAIL = 128 * 1024
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MOST_ODD = 0.02  # share of characters that no text has

_PARSED = (  # what a file begins with that a parser reads
    (b"{\\rt", "rtf"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"\x1f\x8b", "archive"),
    (b"\xfd7zXZ\0", "archive"),
)
_SIGNS = (  # what a file of another kind begins with, and what it is
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it, and submit its files or a zip of them)"),
    (b"Rar!\x1a\x07", "a rar archive (unpack it, and submit its files or a zip of them)"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd (unpack it, and submit what was in it)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\0", "a database"),
)
_OLE_STREAMS = (  # names of streams as the directory writes them, and what their file is
    ("EncryptedPackage", "encrypted"),
    ("\tDRMContent", "encrypted"),
    ("__properties_version1.0", "msg"),  # before the others: messages hold files
    ("WordDocument", "doc"),
    ("PowerPoint Document", "ppt"),
    ("PP40", "ppt"),
    ("Workbook", "xlsx"),
    ("Book", "xlsx"),
)
_ODF = b"application/vnd.oasis.opendocument."
_ZIPS = {
    ".docx": "docx",
    ".pptx": "pptx",
    ".xlsx": "xlsx",
    ".epub": "epub",
    ".odt": "odf",
    ".ods": "odf",
    ".odp": "odf",
}
_BY_ENDING = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".ipynb": "notebook",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".eml": "email",
    ".mht": "email",
    ".mhtml": "email",
    ".mbox": "mbox",
    ".xls": "csv",  # what many programs call their text exports
    ".xlsx": "csv",
}
LANGUAGES = {  # endings of source code
    ".py": "python", ".js": "javascript", ".ts": "typescript", ".tsx": "typescript", ".jsx": "javascript",
    ".java": "java", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".hpp": "cpp", ".cs": "csharp", ".go": "go",
    ".rs": "rust", ".rb": "ruby", ".php": "php", ".swift": "swift", ".kt": "kotlin", ".scala": "scala", ".sh": "shell",
    ".bash": "shell", ".ps1": "powershell", ".sql": "sql", ".r": "r", ".lua": "lua", ".pl": "perl", ".toml": "toml",
    ".yaml": "yaml", ".yml": "yaml", ".ini": "ini", ".css": "css", ".vue": "vue", ".dart": "dart", ".m": "objective-c",
    ".mjs": "javascript", ".cjs": "javascript", ".cxx": "cpp", ".hxx": "cpp", ".kts": "kotlin", ".ex": "elixir",
    ".exs": "elixir", ".erl": "erlang", ".hs": "haskell", ".clj": "clojure", ".jl": "julia", ".zig": "zig",
    ".proto": "protobuf", ".tf": "terraform", ".groovy": "groovy", ".gradle": "groovy", ".bat": "batch", ".cmd": "batch",
    ".scss": "scss", ".less": "less", ".f90": "fortran", ".pas": "pascal", ".vb": "vb", ".ml": "ocaml", ".fs": "fsharp",
    ".svelte": "svelte", ".graphql": "graphql", ".cfg": "ini", ".properties": "ini",
}  # fmt: skip
_TEXT = frozenset(
    (*_BY_ENDING, *LANGUAGES, ".txt", ".text", ".log", ".rst", ".tex", ".xml", ".srt", ".vtt", ".ics", ".vcf")
)
_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:[^-]|-(?!->))*-->\s*)*<(?:!doctype\s+html|html|head|body|table)\b", re.I
)
_MAIL_HEADER = re.compile(
    r"^(?:Return-Path|Received|From|To|Date|Subject|Message-ID|MIME-Version|Delivered-To|X-[\w-]+):", re.I
)
_MAILBOX = re.compile(r"From [^\n]*\d\d:\d\d[^\n]*\n>?[\w-]+:? ")


def detect(name: str, stream: BinaryIO) -> str:
    """The name of the parser for this document.

    Raises UnsupportedDocument, which says what the document is, EncryptedDocument, EmptyDocument.
    """
    stream.seek(0)
    head = stream.read(_HEAD)
    if not head.strip():
        raise EmptyDocument(f"{name} is an empty file")
    if _ending(name) in claimed():
        return claimed()[_ending(name)]
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _of_zip(name, stream)
    if head.startswith(_OLE):
        stream.seek(0)
        return _of_ole(name, stream.read())
    return _of_signs(name, head) or _of_text(name, head)


def _of_signs(name: str, head: bytes) -> str:
    """What the first bytes say; empty where they say nothing."""
    for sign, parser in _PARSED:
        if head.startswith(sign):
            return parser
    if head.startswith(b"BM") and head[6:10] == bytes(4) and not head[:64].isascii():
        return "image"
    if head[257:262] == b"ustar" or (head[:3], head[4:10]) == (b"BZh", b"1AY&SY"):
        return "archive"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image"
    if sound_kind(head):
        return "audio"
    for sign, what in _SIGNS:
        if head.startswith(sign):
            raise _unsupported(name, what)
    if head[4:8] == b"ftyp":
        raise _unsupported(name, "a picture of a kind that only telephones write (heic, avif)")
    return ""


def _of_zip(name: str, stream: BinaryIO) -> str:
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
    if directory_size(stream.read()) > ParseLimits().zip_members * MEMBER_BYTES:
        return _ZIPS.get(_ending(name), "archive")  # its parser refuses it
    try:
        archive = zipfile.ZipFile(stream)
        members = archive.namelist()
        kind = _kind_of(archive) if "mimetype" in members else b""
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, zlib.error, EOFError):
        return _ZIPS.get(_ending(name), "archive")  # a damaged one: its parser says in what way
    roots = {member.split("/", 1)[0] for member in members}
    for root, parser in (("word", "docx"), ("ppt", "pptx"), ("xl", "xlsx")):
        if root in roots and "[Content_Types].xml" in members:
            return parser
    if kind.startswith(_ODF) and "content.xml" in members:
        return "odf"
    if kind == b"application/epub+zip" or "META-INF/container.xml" in members:
        return "epub"
    return "archive"


def _kind_of(archive: zipfile.ZipFile) -> bytes:
    """What an OpenDocument file or a book says it is."""
    with archive.open("mimetype") as stream:
        return stream.read(200).strip()


def _of_ole(name: str, data: bytes) -> str:
    for stream, what in _OLE_STREAMS:
        if re.search(re.escape(stream.encode("utf-16-le") + b"\0\0"), data, re.I):
            if what == "encrypted":
                raise EncryptedDocument(f"{name} is protected by a password. Remove the password and submit it again.")
            return what
    raise _unsupported(name, "an OLE container of an unknown kind")


def _of_text(name: str, head: bytes) -> str:
    text, _ = decode(head)
    ending = _ending(name)
    odd = "\0" in text or odd_share(text) > _MOST_ODD
    if odd and not (ending in _TEXT and _is_utf8(head)):  # what calls itself text and decodes may hold odd characters
        raise _unsupported(name, "neither text nor a format known here")
    if _HTML.match(text[:4096]):
        return "html"
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    if ending in _TEXT:
        return "text"
    if _MAILBOX.match(text):
        return "mbox"
    if _is_mail(text):
        return "email"
    return "json" if _is_json(text.lstrip(), whole=len(head) < _HEAD) else "text"


def _is_json(text: str, *, whole: bool) -> bool:
    """Whether an object or a list stands first, and nothing but others after it; a head may end in the middle of it."""
    if text[:1] not in ("{", "["):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as exc:
        return not whole and (exc.msg.startswith("Unterminated") or exc.pos > len(text) - 16)
    except RecursionError:
        return False
    return text[end:].lstrip()[:1] in ("", "{", "[")


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _is_mail(text: str) -> bool:
    """Mail begins with header lines, three of them well known."""
    lines = text[:8192].split("\n\n", 1)[0].splitlines()
    return sum(bool(_MAIL_HEADER.match(line)) for line in lines) >= 3


def _ending(name: str) -> str:
    return PurePath(name).suffix.lower()


def _unsupported(name: str, what: str) -> UnsupportedDocument:
    return UnsupportedDocument(f"{name} is {what}, which this release does not read. It reads {READ}.")
