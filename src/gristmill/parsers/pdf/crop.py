"""The part of a PDF that boxes frame, as one picture. Drawn in a process of its own, which has bounds.

``python -m gristmill.parsers.pdf.crop`` is that process: it reads a ``Job`` from its input and writes a PNG.
"""

from __future__ import annotations

import math
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium

from gristmill.base.confine import confined
from gristmill.base.errors import DamagedDocument
from gristmill.ports.document import Box

Pixels = npt.NDArray[np.uint8]

MOST_PAGES = 8  # of one picture
SECONDS = 30
MEMORY = 1024**3  # bytes beyond those that the process begins with
_SCALE = 3.0  # pixels of a point
_MOST_PIXELS = 12_000_000  # of all pages together
_MARGIN = 4.0  # points around the boxes of a page
_WHITE = 255


class Job(msgspec.Struct, array_like=True):
    """What is to be drawn."""

    boxes: list[Box]
    data: bytes


class Frame(msgspec.Struct, frozen=True):
    """What all boxes of one page lie in, with a margin; within the page."""

    page: int
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


def crop(name: str, data: bytes, boxes: Sequence[Box]) -> bytes:
    """A PNG of what the boxes frame, one page below the other, of the first ``MOST_PAGES`` pages.

    Whatever the document does, this ends within ``SECONDS`` and its process keeps within ``MEMORY``. Raises DamagedDocument.
    """
    job = msgspec.msgpack.encode(Job(list(boxes), data))
    command = [sys.executable, "-P", "-m", __name__]  # modules of the working folder are none of ours
    try:
        done = subprocess.run(command, input=job, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603  our own module
    except subprocess.TimeoutExpired as exc:
        raise DamagedDocument(f"{name}: the page could not be drawn within {SECONDS} seconds") from exc
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DamagedDocument(f"{name}: the page cannot be drawn ({said[0]})")
    return done.stdout


def drawn(job: Job) -> bytes:
    """The PNG of a job, in this process. Raises ValueError where no box lies on a page."""
    document: Any = pdfium.PdfDocument(job.data)
    try:
        frames = list(_frames(document, job.boxes))
        if not frames:
            raise ValueError("no box lies on a page of it")
        scale = min(_SCALE, math.sqrt(_MOST_PIXELS / sum(frame.area for frame in frames)))
        return png(stacked([_pixels(document[frame.page - 1], frame, scale) for frame in frames]))
    finally:
        document.close()


def _frames(document: Any, boxes: Iterable[Box]) -> Iterator[Frame]:
    by_page: dict[int, list[Box]] = {}
    for box in boxes:
        if 1 <= box.page <= len(document) and all(map(math.isfinite, (box.x0, box.y0, box.x1, box.y1))):
            by_page.setdefault(box.page, []).append(box)
    for page in sorted(by_page)[:MOST_PAGES]:
        width, height = document[page - 1].get_size()
        mine = by_page[page]
        frame = Frame(
            page,
            max(0.0, min(box.x0 for box in mine) - _MARGIN),
            max(0.0, min(box.y0 for box in mine) - _MARGIN),
            min(width, max(box.x1 for box in mine) + _MARGIN),
            min(height, max(box.y1 for box in mine) + _MARGIN),
        )
        if frame.left < frame.right and frame.top < frame.bottom:
            yield frame


def _pixels(page: Any, frame: Frame, scale: float) -> Pixels:
    width, height = page.get_size()
    cut = (frame.left, height - frame.bottom, width - frame.right, frame.top)  # from the left, bottom, right, top
    bitmap = page.render(scale=scale, crop=cut, rev_byteorder=True)
    try:
        return np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])
    finally:
        bitmap.close()


def stacked(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures one below the other, on white."""
    width = max(picture.shape[1] for picture in pictures)
    whole = np.full((sum(picture.shape[0] for picture in pictures), width, 3), _WHITE, dtype=np.uint8)
    top = 0
    for picture in pictures:
        whole[top : top + picture.shape[0], : picture.shape[1]] = picture
        top += picture.shape[0]
    return whole


def png(picture: Pixels) -> bytes:
    """A picture as PNG."""
    height, width, _ = picture.shape
    lines = np.zeros((height, 1 + width * 3), dtype=np.uint8)  # each begins with its filter: none
    lines[:, 1:] = picture.reshape(height, width * 3)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _part(b"IHDR", head)
        + _part(b"IDAT", zlib.compress(lines.tobytes(), 6))
        + _part(b"IEND", b"")
    )


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _main() -> None:
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    with confined("drawing a page"):
        picture = drawn(job)
    sys.stdout.buffer.write(picture)


if __name__ == "__main__":
    _main()
