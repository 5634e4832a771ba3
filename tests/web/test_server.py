"""The server on a real socket: it finishes what was asked, and nobody holds it up."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from gristmill.engine.front import listening
from gristmill.http.app import make_app
from gristmill.http.server import MOST_HEADERS, Server
from gristmill.testing.processes import settles
from web.slow import opened, slow

pytestmark = pytest.mark.anyio


class Desk:
    """A server, and where it answers. ``/slow`` waits for ``go``."""

    def __init__(self, server: Server, port: int, go: anyio.Event, asked: anyio.Event) -> None:
        self.server, self.port, self.go, self.asked = server, port, go, asked

    async def connect(self) -> ByteStream:
        return await anyio.connect_tcp("127.0.0.1", self.port)

    async def open(self) -> bool:
        """Whether one can connect."""
        try:
            await (await self.connect()).aclose()
        except OSError:
            return False
        return True

    async def ask(self, path: str) -> bytes:
        """The whole answer."""
        async with await self.connect() as stream:
            await stream.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            return await rest(stream)


async def rest(stream: ByteStream) -> bytes:
    """What comes until the other side closes."""
    got = b""
    try:
        while True:
            got += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return got


@asynccontextmanager
async def serving(home: Path, *, idle: float = 30.0) -> AsyncIterator[Desk]:
    listener = listening("127.0.0.1:0")
    port = listener.getsockname()[1]
    go, asked = anyio.Event(), anyio.Event()

    async def wait() -> None:
        asked.set()
        await go.wait()

    async with opened(home) as services:
        app = make_app(services, timeout=60.0, more=[slow(wait)])
        server = Server(app, listener, name="web", idle=idle)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                await group.start(server.run)
                yield Desk(server, port, go, asked)
                server.drain(grace=0.0)


async def test_a_draining_server_answers_what_was_asked_and_lets_nobody_in(tmp_path: Path) -> None:
    """P9."""
    async with serving(tmp_path) as desk:
        got: list[bytes] = []

        async def ask() -> None:
            got.append(await desk.ask("/slow"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await desk.asked.wait()
            assert desk.server.held() == ["GET /slow"]
            idle = await desk.connect()
            desk.server.drain(grace=60.0)
            async with idle:
                assert await rest(idle) == b""
            await anyio.wait_all_tasks_blocked()
            while await desk.open():  # its socket is closed with the same word
                pass
            desk.go.set()
        assert got[0].startswith(b"HTTP/1.1 200")
        assert (desk.server.held(), desk.server.done) == ([], 1)


@pytest.mark.parametrize("graces", [[0.0], [60.0, 0.0]], ids=["at once", "told twice"])
async def test_a_server_in_a_hurry_waits_for_nobody(tmp_path: Path, graces: list[float]) -> None:
    async with serving(tmp_path) as desk, anyio.create_task_group() as group:
        got: list[bytes] = []

        async def ask() -> None:
            got.append(await desk.ask("/slow"))

        group.start_soon(ask)
        await desk.asked.wait()
        for grace in graces:
            desk.server.drain(grace=grace)
        await settles(lambda: bool(got))
        assert b" 503" in got[0]
        assert got[0].endswith(b'{"code":503,"message":"the server is stopping"}')


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost:"], ids=["nothing", "half a head"])
async def test_who_connects_and_asks_nothing_is_sent_away(tmp_path: Path, sent: bytes) -> None:
    async with serving(tmp_path, idle=0.05) as desk, await desk.connect() as stream:
        if sent:
            await stream.send(sent)
        assert b" 200" not in await rest(stream)


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk, await desk.connect() as stream:
        await stream.send(b"GET /health HTTP/1.1\r\nA: " + b"a" * (MOST_HEADERS + 70_000))
        assert b" 200" not in await rest(stream)


async def test_numbers_of_answers_are_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        for path in ("/health", "/nothing"):
            await desk.ask(path)
        assert (desk.server.done, desk.server.failed) == (2, 0)


def test_an_address_that_is_taken_is_named() -> None:
    with listening("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"nothing can listen on {address}"):
            listening(address)
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
