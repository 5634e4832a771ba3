"""Notices on their way to the watchers, whichever process left them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec
import sqlalchemy as sa
from anyio.streams.memory import MemoryObjectSendStream

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.brokers.sql.tables import notice
from gristmill.engine.message import Notice

log = get_logger(__name__)

BUFFER = 10_000  # notices a watcher may lag behind before it misses some

_decode = msgspec.json.Decoder(Notice).decode
_newest = sa.select(sa.func.coalesce(sa.func.max(notice.c.n), 0))
_since = sa.select(notice.c.n, notice.c.body).where(notice.c.n > sa.bindparam("b_last")).order_by(notice.c.n)

Read = Callable[[Callable[[sa.Connection], Sequence[Any]]], Awaitable[Sequence[Any]]]


@dataclass(eq=False)
class _Watcher:
    stream: MemoryObjectSendStream[Notice]
    since: int


class NoticeBoard:
    """Reads new rows when it is told that there may be some, once for all watchers of this process."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._watchers: set[_Watcher] = set()
        self._last = 0
        self._news = anyio.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[AsyncIterator[Notice]]:
        """What is told from now on."""
        send, receive = anyio.create_memory_object_stream[Notice](BUFFER)
        with send, receive:
            since = await self._newest()
            if not self._watchers:
                self._last = max(self._last, since)
            watcher = _Watcher(send, since)
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
        last = self._last
        for row in await self._read(lambda c: c.execute(_since, {"b_last": last}).all()):
            self._last = row.n
            told = _decode(row.body)
            for watcher in [one for one in self._watchers if one.since < row.n]:
                try:
                    watcher.stream.send_nowait(told)
                except (anyio.WouldBlock, anyio.BrokenResourceError):
                    continue  # a notice is a hint; the record has the truth

    async def _newest(self) -> int:
        [row] = await self._read(lambda c: c.execute(_newest).all())
        return int(row[0])
