"""What the head of a wave file says, and how one is cut in pieces."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

PLAIN, FLOATS = 1, 3  # codes of samples that are numbers as they are
_HEAD = 12
_CHUNK = 8
_FORMAT = struct.Struct("<HHIIHH")
_MOST_CHUNKS = 1000  # before the samples


class WaveFile(msgspec.Struct, frozen=True):
    """A wave file: ``head`` is all up to the format, ``first`` and ``last`` where the samples begin and end.

    ``block`` is the size of one moment's samples over all channels. ``code`` says how they are packed.
    """

    code: int
    channels: int
    rate: int
    rate_bytes: int
    block: int
    bits: int
    format: bytes
    first: int
    last: int

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return (self.last - self.first) / self.rate_bytes

    def pieces(self, data: bytes, most: int) -> Iterator[tuple[float, bytes]]:
        """The file as files of at most ``most`` bytes, each with the second at which it begins.

        Cuts are where it is quietest near the end of a piece, if samples are 16 bits: words are rarely cut.
        """
        room = max(self.block, (most - _CHUNK * 2 - _HEAD - len(self.format)) // self.block * self.block)
        at = self.first
        while at < self.last:
            end = min(self.last, at + room)
            if end < self.last:
                end = self._quiet(data, max(at + room // 2, end - 10 * self.rate_bytes), end)
            yield (at - self.first) / self.rate_bytes, self._file(data[at:end])
            at = end

    def _quiet(self, data: bytes, first: int, last: int) -> int:
        """The end of the quietest fiftieth of a second between these places."""
        step = max(self.block, self.rate // 50 * self.block)
        if self.bits != 16 or self.code != PLAIN:
            return last
        return min(range(last, first, -step), key=lambda end: _loudness(data[max(first, end - step) : end]))

    def _file(self, samples: bytes) -> bytes:
        head = b"WAVE" + b"fmt " + struct.pack("<I", len(self.format)) + self.format
        body = head + b"data" + struct.pack("<I", len(samples)) + samples
        return b"RIFF" + struct.pack("<I", len(body)) + body


def read_wave(data: bytes) -> WaveFile | None:
    """What the head says; None where it is no wave file that can be understood. Samples that are missing are not counted."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at, found = _HEAD, b""
    for _ in range(_MOST_CHUNKS):
        if at + _CHUNK > len(data):
            return None
        name, size = struct.unpack_from("<4sI", data, at)
        begin = at + _CHUNK
        if name == b"fmt ":
            found = data[begin : begin + size]
        elif name == b"data":
            return _wave(found, begin, min(len(data), begin + size))
        at = begin + size + size % 2
    return None


def _wave(found: bytes, first: int, last: int) -> WaveFile | None:
    if len(found) < _FORMAT.size:
        return None
    code, channels, rate, rate_bytes, block, bits = _FORMAT.unpack_from(found)
    if not (channels and rate and rate_bytes and block):
        return None
    if code == 0xFFFE and len(found) >= 26:  # what is meant stands further down
        code = int.from_bytes(found[24:26], "little")
    if code in (PLAIN, FLOATS):
        rate_bytes = rate * block  # what else a head says would be a lie
    last -= (last - first) % block
    return WaveFile(code, channels, rate, rate_bytes, block, bits, found, first, last)


def _loudness(samples: bytes) -> int:
    usable = len(samples) - len(samples) % 2
    return sum(abs(number) for (number,) in struct.iter_unpack("<h", samples[:usable]))
