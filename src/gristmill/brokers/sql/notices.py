"""Notices on their way to the watchers, whichever process left them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import anyio
import msgspec
import sqlalchemy as sa
from anyio.streams.memory import MemoryObjectSendStream

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.brokers.sql.tail import Tail
from gristmill.engine.message import Notice

log = get_logger(__name__)

T = TypeVar("T")

BUFFER = 10_000  # notices a watcher may lag behind before it misses some

_decode = msgspec.json.Decoder(Notice).decode


class Read(Protocol):
    """Runs something on the reading connection."""

    def __call__(self, run: Callable[[sa.Connection], T], /) -> Awaitable[T]: ...


@dataclass(eq=False)
class _Watcher:
    stream: MemoryObjectSendStream[Notice]
    since: int
    late: frozenset[int]  # numbers before it that had not come yet

    def wants(self, n: int) -> bool:
        return n > self.since or n in self.late


class NoticeBoard:
    """Reads new rows when it is told that there may be some, once for all watchers of this process."""

    def __init__(self, read: Read, *, gaps: bool) -> None:
        self._read = read
        self._gaps = gaps
        self._watchers: set[_Watcher] = set()
        self._tail = Tail(gaps=gaps)
        self._news = anyio.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[AsyncIterator[Notice]]:
        """What is told from now on."""
        send, receive = anyio.create_memory_object_stream[Notice](BUFFER)
        with send, receive:
            tail = Tail(gaps=self._gaps)
            await self._read(tail.begin)
            if not self._watchers:
                self._tail = tail
            watcher = _Watcher(send, tail.last, frozenset(tail.holes))
            self._watchers.add(watcher)
            try:
                yield receive
            finally:
                self._watchers.discard(watcher)

    def look(self) -> None:
        """There may be new ones."""
        self._news.set()

    async def run(self) -> None:
        """Pass on what is new, for ever."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            if self._watchers:
                try:
                    await self._pass_on()
                except BrokerUnavailable as exc:
                    log.warning("notices could not be read", error=str(exc))

    async def _pass_on(self) -> None:
        before = self._tail.set_back
        rows = await self._read(self._tail.new)
        if self._tail.set_back > before:  # an older backup is in the place of what they know
            for watcher in self._watchers:
                watcher.since = 0
        for row in rows:
            if not row.body:
                continue  # it only says that there is work
            told = _decode(row.body)
            for watcher in [one for one in self._watchers if one.wants(row.n)]:
                try:
                    watcher.stream.send_nowait(told)
                except (anyio.WouldBlock, anyio.BrokenResourceError):
                    continue  # a notice is a hint; the record has the truth
