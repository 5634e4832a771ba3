"""ZIP archives: each file inside is a document of its own."""

from __future__ import annotations

import stat
import zipfile
import zlib
from contextlib import suppress
from pathlib import PurePosixPath
from typing import ClassVar

from gristmill.base.errors import DamagedDocument, EmptyDocument, EncryptedDocument
from gristmill.parsers.bounds import clean, open_zip
from gristmill.parsers.charset import decode
from gristmill.parsers.children import Budget
from gristmill.ports.document import ParsedDocument, Range
from gristmill.ports.parser import ParseLimits, Parser, Source

_UTF8 = 0x800  # the flag that says how a name is encoded
_NOISE = frozenset(("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"))


class ArchiveParser(Parser):
    """The files inside, in their order; those of archives inside, too, as deep as ``attachment_depth`` allows.

    One that cannot be read leaves a warning. What is unpacked and read at all depths together stays within the limits of
    one document. Nothing is written to a disk: names are only shown, links are not followed.
    """

    name: ClassVar[str] = "archive"
    version: ClassVar[int] = 1

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        document = ParsedDocument("archive", [], parser=f"archive/{self.version}", name=source.name)
        budget = Budget(document, limits)
        with open_zip(source, limits) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            unpacked = sum(member.file_size for member in members)  # true: every one was inflated on opening
            budget.spend(unpacked)
            for member in members:
                name = member_name(member)
                if name is None:
                    continue
                if stat.S_ISLNK(member.external_attr >> 16):
                    document.warnings.append(f"{name} is a link, and not followed")
                    continue
                budget.add(name, _read(archive, member, source.name))
        if not document.children:
            why = f" ({document.warnings[0]})" if document.warnings else ""
            raise EmptyDocument(f"{source.name} holds no file that can be read{why}")
        document.meta["unpacked"] = str(unpacked + sum(int(one.meta.get("unpacked", "0")) for one in document.children))
        return document


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    try:
        return archive.read(member)
    except RuntimeError as exc:
        raise EncryptedDocument(f"{name} is protected by a password. Remove the password and submit it again.") from exc
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, EOFError, ValueError) as exc:
        raise DamagedDocument(f"{name} is a damaged ZIP container ({exc}). Save or download it again.") from exc


def member_name(member: zipfile.ZipInfo) -> str | None:
    """The name of a member to show: in the encoding it was written in, and no way out of the archive.

    None for what operating systems leave in archives.
    """
    name = member.filename
    if not member.flag_bits & _UTF8:
        with suppress(UnicodeEncodeError):
            name = decode(name.encode("cp437"))[0]
    parts = [part for part in PurePosixPath(clean(name).replace("\\", "/")).parts if part not in ("/", "..", ".")]
    if not parts or _NOISE.intersection(parts):
        return None
    return "/".join(parts)
