"""Archives (zip, tar, and what gzip, bzip2 and xz have packed): each file inside is a document of its own."""

from __future__ import annotations

import bz2
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import ClassVar, NamedTuple, Protocol

from gristmill.base.errors import DamagedDocument, EmptyDocument, EncryptedDocument
from gristmill.parsers.bounds import check_size, clean, open_zip, too_large
from gristmill.parsers.charset import decode
from gristmill.parsers.children import Budget
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

_UTF8 = 0x800  # the flag that says how a name is encoded
_NOISE = frozenset(("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"))
_GZIP, _BZIP, _XZ, _ZIP = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"PK"
_PACKED_ENDINGS = (".gz", ".bz2", ".xz")
_TARRED_ENDINGS = {".tgz": ".tar", ".tbz": ".tar", ".tbz2": ".tar", ".txz": ".tar"}
_CHUNK, _PIECE = 64 << 10, 1 << 20  # read at once, and made of it at once
_SIGN = 16
_RATIO_FLOOR = 10 << 20  # less than this does no harm, however well it is packed
_TAR_AT, _TAR = 257, b"ustar"
_BLOCK = 512


class ArchiveParser(Parser):
    """The files inside, in their order; those of archives inside, too, as deep as ``attachment_depth`` allows.

    One that cannot be read leaves a warning. What is unpacked and read at all depths together stays within the limits of
    one document. Nothing is written to a disk: names are only shown, links are not followed.
    """

    name: ClassVar[str] = "archive"
    version: ClassVar[int] = 2

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        document = ParsedDocument("archive", [], parser=f"archive/{self.version}", name=source.name)
        budget = Budget(document, limits)
        unpacked = 0
        if source.data.startswith(_ZIP):
            with open_zip(source, limits, one=False) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())  # true: all were inflated on opening
                budget.spend(unpacked)
                for member in _zipped(archive, source.name, document.warnings):
                    budget.add(member.name, member.data)
        else:
            data = _inflated(source, limits) if not _is_tar(source.data) else source.data
            unpacked = len(data)
            budget.spend(unpacked)
            for member in _members(source, data, limits, document.warnings):
                budget.add(member.name, member.data)
        if not document.children:
            why = f" ({document.warnings[0]})" if document.warnings else ""
            raise EmptyDocument(f"{source.name} holds no file that can be read{why}")
        document.meta["unpacked"] = str(unpacked + sum(int(one.meta.get("unpacked", "0")) for one in document.children))
        return document


class _Member(NamedTuple):
    name: str
    data: bytes


def _zipped(archive: zipfile.ZipFile, source: str, warnings: list[str]) -> Iterator[_Member]:
    for member in archive.infolist():
        name = member_name(member)
        if name is None or member.is_dir():
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            warnings.append(f"{name} is a link, and not followed")
            continue
        yield _Member(name, _read(archive, member, source))


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    try:
        return archive.read(member)
    except RuntimeError as exc:
        raise EncryptedDocument(f"{name} is protected by a password. Remove the password and submit it again.") from exc
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, EOFError, ValueError) as exc:
        raise DamagedDocument(f"{name} is a damaged ZIP container ({exc}). Save or download it again.") from exc


def _members(source: Source, data: bytes, limits: ParseLimits, warnings: list[str]) -> Iterator[_Member]:
    """The files of a tar archive; the one file of anything else that was packed."""
    if not _is_tar(data):
        yield _Member(_inner_name(source.name), data)
        return
    found = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errorlevel=1) as archive:
            for member in archive:
                found += 1
                if found > limits.zip_members:
                    raise too_large(
                        source.name,
                        "files inside",
                        f"more than {limits.zip_members}",
                        limits.zip_members,
                        "zip_members",
                    )
                name = shown_name(decode(member.name.encode("utf-8", "surrogateescape"))[0])
                if name is None or member.isdir():
                    continue
                # a sparse file says that it is larger than what is stored of it
                stream = archive.extractfile(member) if member.isreg() and not member.issparse() else None
                if stream is None:
                    warnings.append(f"{name} is a link or no ordinary file, and not followed")
                else:
                    yield _Member(name, stream.read())
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as exc:
        raise DamagedDocument(f"{source.name} is a damaged tar archive ({exc}). Save or download it again.") from exc


def _is_tar(data: bytes) -> bool:
    return data[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR and len(data) >= _BLOCK


class _Unpacker(Protocol):
    """What the standard library's three have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int = ...) -> bytes: ...


def _unpacker(data: bytes) -> _Unpacker | None:
    if data.startswith(_BZIP):
        return bz2.BZ2Decompressor()
    if data.startswith(_XZ):
        return lzma.LZMADecompressor(memlimit=128 << 20)
    return zlib.decompressobj(31) if data.startswith(_GZIP) else None


def _inflated(source: Source, limits: ParseLimits) -> bytes:
    """What was packed, counted while it is unpacked; several pieces packed one after the other are one."""
    out = bytearray()
    at = pieces = 0
    try:
        while unpacker := _unpacker(source.data[at : at + _SIGN]):
            pieces += 1
            if pieces > limits.zip_members:
                found = f"more than {limits.zip_members}"
                raise too_large(source.name, "packed pieces", found, limits.zip_members, "zip_members")
            while not unpacker.eof:
                given = source.data[at : at + _CHUNK] if getattr(unpacker, "needs_input", True) else b""
                piece = unpacker.decompress(given, _PIECE)
                at += len(given) - len(getattr(unpacker, "unconsumed_tail", b""))
                out += piece
                _check(len(out), len(source.data), source.name, limits)
                _go_on(unpacker, moved=bool(piece or given))
            at -= len(unpacker.unused_data)
    except (OSError, lzma.LZMAError, zlib.error, EOFError, ValueError) as exc:
        raise DamagedDocument(f"{source.name} is a damaged archive ({exc}). Save or download it again.") from exc
    return bytes(out)


def _go_on(unpacker: _Unpacker, *, moved: bool) -> None:
    if not moved and not unpacker.eof:
        raise EOFError("it breaks off")


def _check(unpacked: int, packed: int, name: str, limits: ParseLimits) -> None:
    if unpacked > limits.zip_bytes:
        raise too_large(name, "unpacked bytes", f"more than {limits.zip_bytes}", limits.zip_bytes, "zip_bytes")
    if unpacked > _RATIO_FLOOR and unpacked > limits.zip_ratio * packed:
        raise too_large(name, "times its packed size unpacked", unpacked // packed, limits.zip_ratio, "zip_ratio")


def _inner_name(name: str) -> str:
    path = PurePosixPath(name)
    ending = path.suffix.lower()
    return (
        path.with_suffix(_TARRED_ENDINGS.get(ending, "")).name
        if ending in (*_PACKED_ENDINGS, *_TARRED_ENDINGS)
        else name
    )


def member_name(member: zipfile.ZipInfo) -> str | None:
    """The name of a member to show: in the encoding it was written in, and no way out of the archive.

    None for what operating systems leave in archives.
    """
    name = member.filename
    if not member.flag_bits & _UTF8:
        with suppress(UnicodeEncodeError):
            name = decode(name.encode("cp437"))[0]
    return shown_name(name)


def shown_name(name: str) -> str | None:
    """A name of a member without a way out of the archive; None for what operating systems leave in archives."""
    parts = [part for part in PurePosixPath(clean(name).replace("\\", "/")).parts if part not in ("/", "..", ".")]
    if not parts or _NOISE.intersection(parts):
        return None
    return "/".join(parts)
