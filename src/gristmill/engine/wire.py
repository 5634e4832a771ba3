"""Frames between a worker and its children: a length, then MessagePack. Only our own processes are at the other end."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
import msgspec

from gristmill.base.meters import Change
from gristmill.base.traces import Stage
from gristmill.engine.message import Message
from gristmill.engine.outcome import Outcome
from gristmill.engine.task import Periodic, Policy

_HEAD = struct.Struct("<I")
_PIECE = 256 * 1024
SILENCE = 0.0002  # seconds


class Boot(msgspec.Struct, tag=True, frozen=True):
    """To the nursery: import this app."""

    app: str
    config: dict[str, Any]
    path: list[str] = []  # where the worker finds its modules


class Booted(msgspec.Struct, tag=True, frozen=True):
    """From the nursery: what the app has; or why it could not be imported."""

    policies: list[Policy] = []
    periodics: list[Periodic] = []
    error: str = ""


class Fork(msgspec.Struct, tag=True, frozen=True):
    """To the nursery: fork a runner; its socket (and the step table) come with the frame."""

    number: int
    is_async: bool


class Forked(msgspec.Struct, tag=True, frozen=True):
    number: int
    pid: int


class Died(msgspec.Struct, tag=True, frozen=True):
    """From the nursery: a runner is gone. ``status`` as from waitpid."""

    number: int
    status: int


class Work(msgspec.Struct, tag=True, frozen=True):
    """To a runner: run this. ``slot`` is the task's place in the step table of an async runner."""

    message: Message
    attempt: int
    slot: int = 0
    memory_limit: int | None = None


class Stop(msgspec.Struct, tag=True, frozen=True):
    """To an async runner: end this task."""

    id: str
    reason: str


class Done(msgspec.Struct, tag=True, frozen=True):
    """From a runner: how it came out, and how large the runner is now (bytes; 0: it has not looked)."""

    id: str
    outcome: Outcome
    rss: int = 0


class Said(msgspec.Struct, tag=True, frozen=True):
    """From a runner: progress."""

    id: str
    value: float
    message: str
    data: dict[str, Any]


class Ask(msgspec.Struct, tag=True, frozen=True):
    """From a runner: publish these."""

    number: int
    messages: list[Message]


class Book(msgspec.Struct, tag=True, frozen=True):
    """From a runner: book so much of the bucket of that name."""

    number: int
    name: str
    rate: float
    burst: float
    cost: float


class Answer(msgspec.Struct, tag=True, frozen=True):
    """To a runner: which messages were accepted; or in how many seconds what was booked may be used; or why neither."""

    number: int
    accepted: list[bool] = []
    wait: float = 0.0
    error: str = ""


class Beat(msgspec.Struct, tag=True, frozen=True):
    """From an async runner: its loop turns. ``heaviest`` is the task that took the most memory."""

    heaviest: str = ""


class Counted(msgspec.Struct, tag=True, frozen=True):
    """From a runner: what it has counted since it last told."""

    changes: list[Change]


class Staged(msgspec.Struct, tag=True, frozen=True):
    """From a runner: the stages of a task that somebody traces, before its end."""

    id: str
    stages: list[Stage]


class Unfit(msgspec.Struct, tag=True, frozen=True):
    """From a runner, as its last word: it could not begin to work."""

    error: str


Frame = (
    Boot
    | Booted
    | Fork
    | Forked
    | Died
    | Work
    | Stop
    | Done
    | Said
    | Ask
    | Book
    | Answer
    | Beat
    | Counted
    | Staged
    | Unfit
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def pack(frame: Frame) -> bytes:
    raw = _encoder.encode(frame)
    return _HEAD.pack(len(raw)) + raw


class Unpacker:
    """Bytes as they come to frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, end = 0, len(data)
        whole = memoryview(data)
        while end - at >= _HEAD.size:
            (size,) = _HEAD.unpack_from(data, at)
            start = at + _HEAD.size
            if end - start < size:
                break
            at = start + size
            frames.append(_decoder.decode(whole[start:at]))
        self._rest = data[at:]
        return frames


class BlockingChannel:
    """A child's end, for a process without a loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self.sock = sock
        self._unpacker = Unpacker()
        self._ready: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self.sock.sendall(pack(frame))

    def receive(self) -> Frame | None:
        """The next frame; None when the other end is gone."""
        while not self._ready:
            try:
                data = self.sock.recv(_PIECE)
            except ConnectionError:
                return None
            if not data:
                return None
            self._ready = self._unpacker.feed(data)
        return self._ready.pop(0)


class Channel:
    """An end in a process with an event loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._unpacker = Unpacker()
        self._emptied = True  # the last read took all there was
        self._sending = anyio.Lock()
        self._posted: list[bytes] = []
        self._more = anyio.Event()
        self._last = 0.0  # when something was posted
        self.over = False  # hung up

    def post(self, frame: Frame) -> None:
        """Send the frame behind those posted before: at once after a silence, otherwise by ``write``, with all that come
        together. Raises where it cannot be packed.
        """
        raw = pack(frame)
        now = time.monotonic()
        quiet, self._last = now - self._last > SILENCE, now
        if quiet and not self._posted and not self._sending.locked():
            with suppress(ConnectionError):  # ``write`` meets it, too
                raw = raw[self._try(raw) :]
        if raw:
            self._posted.append(raw)
            self._more.set()

    async def write(self) -> None:
        """Send what is posted, all of one turn of the loop together, until the other end is gone or this one hangs up."""
        with suppress(ConnectionError):
            while not self.over:
                await self._more.wait()
                self._more = anyio.Event()
                posted, self._posted = self._posted, []
                await self.send_packed(b"".join(posted))

    async def send(self, frame: Frame, fds: Sequence[int] = ()) -> None:
        """Send the frame whole, also when the caller is cancelled half way. Raises ConnectionError when the other is gone."""
        await self.send_packed(pack(frame), fds)

    async def send_packed(self, raw: bytes, fds: Sequence[int] = ()) -> None:
        """The same with frames that are packed already."""
        if not fds and not self._sending.locked():
            raw = raw[self._try(raw) :]
            if not raw:
                return
        with anyio.CancelScope(shield=True):
            async with self._sending:
                if fds:
                    sent = socket.send_fds(self.sock, [raw], list(fds))
                    raw = raw[sent:]
                while raw:
                    await anyio.wait_writable(self.sock)
                    raw = raw[self._try(raw) :]

    def _try(self, raw: bytes) -> int:
        if self.sock.fileno() < 0:
            raise ConnectionError("this end is closed")
        try:
            return self.sock.send(raw)
        except BlockingIOError:
            return 0

    async def receive(self) -> list[Frame]:
        """The next frames; empty when the other end is gone."""
        while True:
            if self._emptied:
                await anyio.wait_readable(self.sock)
            try:
                data = self.sock.recv(_PIECE)
            except BlockingIOError:
                self._emptied = True
                continue
            except ConnectionError:
                return []
            if not data:
                return []
            self._emptied = len(data) < _PIECE
            frames = self._unpacker.feed(data)
            if frames:
                return frames

    def receive_now(self) -> list[Frame]:
        """What has come already, without waiting."""
        frames: list[Frame] = []
        with suppress(BlockingIOError, ConnectionError):
            while self.sock.fileno() >= 0 and (data := self.sock.recv(_PIECE)):
                frames += self._unpacker.feed(data)
        return frames

    def hang_up(self) -> None:
        """End the talk: both sides' ``receive`` come back empty, and ``write`` comes to its end."""
        self.over = True
        self._more.set()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket up; nobody may be waiting on it."""
        self.sock.close()
