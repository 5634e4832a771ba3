"""What really happened, told by those who did it: bodies and keepers append to one file, outside of any broker.

Times are of CLOCK_MONOTONIC, which all processes of a host share and no jump of the wall clock moves. A line is written by
one call, so what was written before a SIGKILL stays, and whole.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import msgspec

ROOM = "FAULT_ROOM"  # the folder of the ledger, in the environment of workers and their runners
WORKER = "FAULT_WORKER"  # the name of the worker that a process belongs to

Call = Literal["claim", "extend", "finish", "release", "giving", "returning"]


class Began(msgspec.Struct, frozen=True, tag=True):
    """A body began. ``beside``: another body of the same task was running at that moment."""

    n: str
    id: str
    attempt: int
    worker: str
    pid: int
    nonce: str
    at: float
    beside: bool


class Left(msgspec.Struct, frozen=True, tag=True):
    """A body came to its end: ``done``, or left by an exception."""

    nonce: str
    done: bool
    at: float


class Item(msgspec.Struct, frozen=True):
    """One lease in a call. ``kept``: what the broker answered (None: nothing that reached us)."""

    id: str
    token: int
    attempt: int
    kept: bool | None
    what: str = ""  # the state of an end; "counted" or "uncounted" of a release


class Called(msgspec.Struct, frozen=True, tag=True):
    """A worker's call of its broker. ``giving`` is noted before the call: an uncounted release is on its way."""

    call: Call
    worker: str
    before: float
    after: float
    items: list[Item]


class Up(msgspec.Struct, frozen=True, tag=True):
    """A worker takes tasks."""

    worker: str


Entry = Began | Left | Called | Up
_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()


def room() -> Path:
    return Path(os.environ[ROOM])  # noqa: TID251  how the test tells its processes


def worker() -> str:
    return os.environ[WORKER]  # noqa: TID251  the same


def now() -> float:
    return time.monotonic()


class Pen:
    """Appends entries. May be used by a process and the forks of it."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, entry: Entry) -> None:
        os.write(self._fd, _encoder.encode(entry) + b"\n")


class Reader:
    """Reads what is new, again and again."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "ledger").open("rb")
        self._rest = b""

    def new(self) -> list[Entry]:
        lines = (self._rest + self._file.read()).split(b"\n")
        self._rest = lines.pop()
        return [_decoder.decode(line) for line in lines]

    def close(self) -> None:
        self._file.close()
