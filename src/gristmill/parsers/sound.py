"""Sound by its first bytes, and how long it plays, as far as heads of files tell."""

from __future__ import annotations

import struct

from gristmill.base.wavefile import read_wave

_SIGNS = (
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "audio/webm"),
    (b".snd", "audio/basic"),
    (b"#!AMR", "audio/amr"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "audio/x-ms-wma"),
)
_STILL = frozenset((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"))
_TAG = 10  # bytes of the head of an ID3 tag
_NEAR = 64 * 1024
_MPEG_RATES = ((11_025, 12_000, 8_000), (0, 0, 0), (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))
_KILOBITS = {  # by version 1 or later, and layer
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def sound_kind(head: bytes) -> str:
    """The MIME type of sound, and of films with sound, that begins so; empty where it is neither."""
    for sign, kind in _SIGNS:
        if head.startswith(sign):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "audio/wav"
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:8] == b"ftyp" and head[8:12] not in _STILL:
        return "audio/mp4"
    if head.startswith(b"ID3"):
        return "audio/flac" if head[_tag(head) :].startswith(b"fLaC") else "audio/mpeg"
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    return "audio/mpeg" if _mpeg(head[:4]) else ""


def seconds_of(kind: str, data: bytes) -> float | None:
    """How long sound of this type plays: None where its head is damaged, 0 where it does not say."""
    found = {"audio/wav": _wave, "audio/flac": _flac, "audio/ogg": _ogg, "audio/mpeg": _mp3, "audio/mp4": _mp4}.get(
        kind
    )
    if found is None:
        return 0.0
    try:
        return found(data)
    except (struct.error, IndexError):
        return None


def _tag(head: bytes) -> int:
    """The size of the ID3 tag in front; 0 where what stands behind is out of sight."""
    if len(head) < _TAG:
        return 0
    size = _TAG + sum(part << shift for part, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return size if _TAG < size < len(head) else 0


def _wave(data: bytes) -> float | None:
    wave = read_wave(data)
    return wave.seconds if wave else None


def _flac(data: bytes) -> float | None:
    data = data[_tag(data) :] if data.startswith(b"ID3") else data
    if data[4] & 0x7F or len(data) < 42:
        return None
    packed = int.from_bytes(data[18:26], "big")
    rate = packed >> 44
    return (packed & (1 << 36) - 1) / rate if rate else None


def _ogg(data: bytes) -> float | None:
    head = data[:_NEAR]
    last = data.rfind(b"OggS", -_NEAR)
    (played,) = struct.unpack_from("<q", data, max(last, 0) + 6)
    if (at := head.find(b"OpusHead")) >= 0:
        (skipped,) = struct.unpack_from("<H", head, at + 10)
        return float(max(0, played - skipped) / 48_000)
    if (at := head.find(b"\x01vorbis")) >= 0:
        (rate,) = struct.unpack_from("<I", head, at + 12)
        return max(0, played) / rate if rate else None
    return 0.0


def _mp3(data: bytes) -> float | None:
    start = _tag(data) if data.startswith(b"ID3") else 0
    for first in range(start, min(len(data), start + _NEAR)):
        if frame := _mpeg(data[first : first + 4]):
            return _from(first, data, *frame)
    return None


def _from(first: int, data: bytes, rate: int, bits: int, samples: int) -> float:
    frame = data[first : first + 200]
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at >= 0 and frame[at + 7] & 1:
        return float(int.from_bytes(frame[at + 8 : at + 12], "big") * samples / rate)
    return (len(data) - first) * 8 / bits


def _mpeg(head: bytes) -> tuple[int, int, int] | None:
    """Samples a second, bits a second and samples of a frame, by a frame's head; nothing where it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or bits in (0, 15) or rate == 3:
        return None
    first = version == 3
    samples = 1152 if first or layer == 2 else 576
    return _MPEG_RATES[version][rate], _KILOBITS[first, layer][bits - 1] * 1000, samples


def _mp4(data: bytes) -> float | None:
    moov = _box(data, b"moov", 0, len(data))
    if moov is None:
        return None
    found = _box(data, b"mvhd", *moov)
    if found is None:
        return None
    first, _ = found
    shape = ">IQ" if data[first] == 1 else ">II"
    scale, length = struct.unpack_from(shape, data, first + (20 if data[first] == 1 else 12))
    return float(length / scale) if scale else None


def _box(data: bytes, name: bytes, first: int, last: int) -> tuple[int, int] | None:
    """Where the content of a box of this name is."""
    at = first
    while at + 8 <= last:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = last if size == 0 else min(last, at + size)
        if kind == name:
            return at + head, end
        if end < at + head:
            return None
        at = end
    return None
