"""Recordings: a tone, and heads of the formats that take a library to write."""

from __future__ import annotations

import io
import math
import struct
import wave

RATE = 16_000


def wav(samples: list[int], *, rate: int = RATE, channels: int = 1) -> bytes:
    """These samples of 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return out.getvalue()


def tone(seconds: float, pitch: float = 220.0, *, loud: int = 8_000, rate: int = RATE) -> list[int]:
    """A tone of this pitch."""
    return [int(loud * math.sin(2 * math.pi * pitch * n / rate)) for n in range(int(seconds * rate))]


def tone_wav() -> bytes:
    """A quarter of a second."""
    return wav(tone(0.25))


def flac_head(samples: int, rate: int = 44_100) -> bytes:
    """As much of a FLAC file as says how long it plays."""
    packed = rate << 44 | 1 << 41 | 15 << 36 | samples
    return b"fLaC\x80\0\0\x22" + struct.pack(">HH6s", 4096, 4096, bytes(6)) + packed.to_bytes(8, "big") + bytes(16)


def opus_head(played: int) -> bytes:
    """The first and the last page of an Opus file."""
    head = b"OpusHead\x01\x01" + struct.pack("<HIHB", 312, 48_000, 0, 0)
    return _ogg_page(0, head) + _ogg_page(played + 312, b"x" * 50)


def vorbis_head(played: int, rate: int) -> bytes:
    """The first and the last page of a Vorbis file."""
    head = b"\x01vorbis" + struct.pack("<IBI", 0, 1, rate) + bytes(14)
    return _ogg_page(0, head) + _ogg_page(played, b"x" * 50)


def mp3_frames(number: int, *, tag: bytes = b"", counted: int = 0) -> bytes:
    """Frames of 128 kbit/s at 44.1 kHz, the first of which may say how many there are."""
    frame = b"\xff\xfb\x90\xc0" + bytes(413)
    first = frame[:36] + b"Info" + struct.pack(">II", 1, counted) + frame[48:] if counted else frame
    size = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return (b"ID3\4\0\0" + size + tag if tag else b"") + first + frame * (number - 1)


def m4a_head(length: int, scale: int, *, wide: bool = False) -> bytes:
    """The boxes that say how long it plays, behind one that does not."""
    shape = struct.pack(">B3xQQIQ", 1, 0, 0, scale, length) if wide else struct.pack(">B3xIIII", 0, 0, 0, scale, length)
    return _box(b"ftyp", b"M4A \0\0\0\0") + _box(b"free", bytes(9)) + _box(b"moov", _box(b"mvhd", shape + bytes(80)))


def _ogg_page(played: int, content: bytes) -> bytes:
    return b"OggS\0\0" + struct.pack("<qIIIB", played, 1, 0, 0, 1) + bytes([len(content)]) + content


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content
