"""Documents that are nearly right: one small, seeded change of another document. ZIP members and XML are changed inside."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

MOST = 256 * 1024  # bytes of a mutant
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_WORDS = (
    b"\0", b"\xff", b"\n", b"\r\n", b"\t", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xcc\x81" * 9,
    b"-1", b"0", b"99999999999999999999", b"1e999", b"NaN", b"-0.0", b"1970-01-01", b'"', b"'", b"<", b">", b"&", b"</", b"/>",
    b"<!--", b"-->", b"]]>", b"&#0;", b"&#xD800;", b"{", b"}", b"[", b"]", b"(", b")", b"\\", b"|", b"`", b"```", b"---", b"* ",
    b"> ", b"# ", b"%PDF-1.7", b"endobj", b"stream\n", b"PK\x03\x04", b"PK\x05\x06", b"From a@b Mon Jan  5 10:00:00 2026\n",
    b"Content-Type: ", b"multipart/mixed; boundary=b", b"--b\n", b"=?utf-8?b?////?=", b"charset=", b"utf-7", b"idna", b"hex",
    b"\\u-1?", b"\\bin9 ", b"\\'", b"../", b"file:///etc/passwd", b"http://127.0.0.1:9/",
)  # fmt: skip
_TAG = re.compile(rb"<[^<>]*>")
_VALUE = re.compile(rb"\"[^\"<>]*\"|'[^'<>]*'|>[^<>]+<")


def mutant(data: bytes, seed: int, others: Sequence[bytes] = ()) -> bytes:
    """The document with one to four changes, the same for the same seed. ``others``: documents to take pieces of."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 2, 4))):
        data = _changed(data, chance, others)[:MOST]
    return data


def _changed(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    if data[:2] == b"PK" and chance.random() < 0.8:
        return _zip(data, chance, others)
    if b"<" in data and chance.random() < 0.5:
        return _xml(data, chance)
    return _bytes(data, chance, others)


def _zip(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """The archive with a member changed, left out, doubled or under another's name; what is no archive, as bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(one.filename, archive.read(one)) for one in archive.infolist()[:200]]
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, NotImplementedError, EOFError):
        return _bytes(data, chance, others)
    if not members:
        return _bytes(data, chance, others)
    at = chance.randrange(len(members))
    name, content = members[at]
    match chance.randrange(10):
        case 0:
            del members[at]
        case 1:
            members.insert(at, (f"{name}.copy", content))
        case 2:
            members[at] = (chance.choice(members)[0], content)
        case 3:
            members[at] = (_bytes(name.encode(), chance, ()).decode("utf-8", "replace")[:200] or "x", content)
        case _:
            members[at] = (name, _changed(content, chance, others))
    return _packed(members)


def _packed(members: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in dict(members).items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 1)
    return buffer.getvalue()


def _xml(data: bytes, chance: random.Random) -> bytes:
    """A tag left out, doubled, repeated, or put elsewhere; or a value changed."""
    if chance.random() < 0.4 and (values := [found.span() for found in _VALUE.finditer(data)][:5000]):
        first, last = chance.choice(values)
        value = chance.choice(_WORDS) if chance.random() < 0.7 else str(chance.choice(_NUMBERS)).encode()
        return data[: first + 1] + value + data[last - 1 :]
    tags = [found.span() for found in _TAG.finditer(data)][:5000]
    if not tags:
        return _bytes(data, chance, ())
    first, last = chance.choice(tags)
    tag = data[first:last]
    match chance.randrange(5):
        case 0:
            return data[:first] + data[last:]
        case 1:
            return data[:last] + tag * chance.choice((1, 3, 300)) + data[last:]
        case 2:
            _, end = chance.choice(tags)
            return data[:end] + tag + data[end:]
        case 3:
            begin, end = sorted((first, chance.choice(tags)[0]))
            return data[:begin] + data[end:]
        case _:
            begin, end = sorted((first, chance.choice(tags)[0]))
            return data[:end] + data[begin:end] + data[end:]


def _bytes(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + int(chance.paretovariate(0.6)))
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: data[:at] + bytes([(data[at] if at < len(data) else 0) ^ (1 << chance.randrange(8))]) + data[at + 1 :],
        lambda: data[:at] + chance.choice(_WORDS) + data[at:],
        lambda: data[:at] + chance.choice(_WORDS) * chance.choice((2, 50, 2000)) + data[at:],
        lambda: data[:at] + chance.choice(_WORDS) + data[end:],
        lambda: data[:at] + data[end:],
        lambda: data[:at],
        lambda: data[:end] + data[at:],
        lambda: _number(data, at, chance),
        lambda: _number(data, at, chance),
        lambda: _splice(data, at, chance, others),
    )
    return chance.choice(changes)()


def _number(data: bytes, at: int, chance: random.Random) -> bytes:
    """A field that may be a length or an offset, with a value that such fields seldom have."""
    form, size = chance.choice((("<B", 1), ("<H", 2), (">H", 2), ("<I", 4), (">I", 4)))
    value = chance.choice((*_NUMBERS, len(data), len(data) - 1, at)) & ((1 << 8 * size) - 1)
    at -= at % size
    return data[:at] + struct.pack(form, value) + data[at + size :]


def _splice(data: bytes, at: int, chance: random.Random, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others) if others else data
    return data[:at] + other[chance.randrange(len(other) + 1) :]
