"""What Outlook packs into ``winmail.dat`` ([MS-OXTNEF]): the files that the reader of the mail was to get."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gristmill.base.errors import DamagedDocument
from gristmill.parsers.charset import decode

SIGNATURE = struct.pack("<I", 0x223E9F78)
_TITLE, _DATA, _BEGINS, _BODY = 0x00018010, 0x0006800F, 0x00069002, 0x0002800C
_HEAD, _CHECKSUM = 9, 2


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files, each with its name; the body of the mail, where it is plain text, as one without a name.

    Raises DamagedDocument for bytes that are no such packet. One that breaks off gives what came before.
    """
    if not data.startswith(SIGNATURE):
        raise DamagedDocument("winmail.dat is damaged: it is not what Outlook packs.")
    name, at = "", len(SIGNATURE) + 2
    while at + _HEAD <= len(data):
        _, kind, size = struct.unpack_from("<BII", data, at)
        content = data[at + _HEAD : at + _HEAD + size]
        if len(content) < size:
            return
        if kind == _BEGINS:
            name = ""
        elif kind == _TITLE:
            name = decode(content.rstrip(b"\0"))[0]
        elif kind == _DATA:
            yield name or "attachment", content
        elif kind == _BODY:
            yield "", content.rstrip(b"\0")
        at += _HEAD + size + _CHECKSUM
