"""A TCP proxy that stands before a server and fails as networks fail, when it is told to.

    with Proxy(server.port) as proxy:
        broker = open_broker(server.url_for(port=proxy.port))
        proxy.cut(after=7, direction="down")    # the seventh byte from here is the last that the client gets
        proxy.blackhole()                       # packets get lost: connections stay, nothing arrives
        proxy.heal()

It runs in a thread of its own, so it serves other processes as well, and whatever the test's own loop does. Its
methods may be called from any thread; when one returns, it holds.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Literal, Self

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.lowlevel import checkpoint

from gristmill.testing.servers.process import free_port

Direction = Literal["up", "down"]  # to the server, to the client
_CHUNK = 65536


class Proxy:
    """Passes on what comes for 127.0.0.1:``port`` until told otherwise, and counts what went through."""

    def __init__(self, target: int, *, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.passed: Counter[Direction] = Counter()  # bytes
        self.accepted = 0  # connections
        self.cuts = 0  # connections that ``cut`` ended
        self._target = (host, target)
        self._stack = ExitStack()
        self._portal: BlockingPortal
        self._group: TaskGroup
        self._listener: _Listener | None = None
        self._connections: set[_Connection] = set()
        self._cut: _Cut | None = None
        self._delay = 0.0
        self._piece = _CHUNK
        self._stalled: frozenset[Direction] = frozenset()
        self._changed: anyio.Event

    # From now on.

    def heal(self) -> None:
        """Pass everything on again: what a blackhole held back arrives, new connections are accepted."""
        self._cut = None
        self._delay = 0.0
        self._piece = _CHUNK
        self._portal.call(self._stall)
        self._portal.call(self._accept)

    def cut(self, *, after: int, direction: Direction, reset: bool = False) -> None:
        """Once: end the connection when so many more bytes have gone this way (0: when the next one comes).

        Counted over all connections. Both ends see the end of the stream; with ``reset``, a reset.
        """
        self._cut = _Cut(direction, after, reset)

    def blackhole(self, direction: Direction | None = None) -> None:
        """Accept connections and pass nothing on, this way or both; once healed, it arrives, as after lost packets."""
        directions: tuple[Direction, ...] = (direction,) if direction else ("up", "down")
        self._portal.call(self._stall, *directions)

    def delay(self, seconds: float) -> None:
        """Every piece comes later by this, each way."""
        self._delay = seconds

    def split(self, size: int) -> None:
        """Nothing arrives in larger pieces than this."""
        self._piece = size

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        self._portal.call(self._refuse)

    # At once.

    def reset(self) -> None:
        """End all connections with a reset."""
        self._portal.call(self._end_all, True)

    def close(self) -> None:
        """End all connections in an orderly way."""
        self._portal.call(self._end_all, False)

    def half_open(self) -> None:
        """The server loses all connections and the clients are not told: nothing ever comes on them again."""
        self._portal.call(self._lose_all)

    @property
    def open(self) -> int:
        """How many connections there are, half-open ones too."""
        return len(self._connections)

    # Inside.

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(start_blocking_portal())
        self._stack.enter_context(self._portal.wrap_async_context_manager(self._running()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self._changed = anyio.Event()
        async with anyio.create_task_group() as self._group:
            await self._accept()
            yield
            self._group.cancel_scope.cancel()

    async def _accept(self) -> None:
        if self._listener is None:
            self._listener = await self._group.start(self._listen)

    async def _listen(self, *, task_status: TaskStatus[_Listener]) -> None:
        me = _Listener()
        async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port) as listener:
            with me.scope:
                task_status.started(me)
                await listener.serve(self._serve, self._group)
        me.closed.set()

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.scope.cancel()
            await self._listener.closed.wait()
            self._listener = None

    async def _stall(self, *directions: Direction) -> None:
        self._stalled = frozenset(directions)
        self._changed.set()
        self._changed = anyio.Event()

    async def _end_all(self, reset: bool) -> None:
        for connection in [*self._connections]:
            connection.end(reset=reset)
        while self._connections:
            await checkpoint()

    async def _lose_all(self) -> None:
        for connection in [*self._connections]:
            connection.lose()

    async def _serve(self, client: SocketStream) -> None:
        self.accepted += 1
        async with client:
            try:
                server = await anyio.connect_tcp(*self._target)
            except OSError:
                _reset_when_closed(client)
                return
            async with server:
                connection = _Connection(client, server)
                self._connections.add(connection)
                try:
                    await connection.run(self)
                finally:
                    self._connections.discard(connection)

    async def pass_on(self, direction: Direction, data: bytes, sink: SocketStream) -> _Cut | None:
        """Send it, as slowly and as far as told; the cut, if it is time for that."""
        for start in range(0, len(data), self._piece):
            piece = data[start : start + self._piece]
            if self._delay:
                await anyio.sleep(self._delay)
            while direction in self._stalled:
                await self._changed.wait()
            piece, cut = self._until_cut(direction, piece)
            if piece:
                self.passed[direction] += len(piece)  # first: who gets it finds it counted
                await sink.send(piece)
            if cut is not None:
                self.cuts += 1
                return cut
        return None

    def _until_cut(self, direction: Direction, piece: bytes) -> tuple[bytes, _Cut | None]:
        cut = self._cut
        if cut is None or cut.direction != direction:
            return piece, None
        piece = piece[: cut.after]
        cut.after -= len(piece)
        if cut.after > 0:
            return piece, None
        self._cut = None
        return piece, cut


class _Listener:
    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.closed = anyio.Event()


class _Cut:
    def __init__(self, direction: Direction, after: int, reset: bool) -> None:
        self.direction = direction
        self.after = after
        self.reset = reset


class _Connection:
    """What comes from one end goes to the other, until one end closes or we are told to."""

    def __init__(self, client: SocketStream, server: SocketStream) -> None:
        self._client = client
        self._server = server
        self._scope = anyio.CancelScope()
        self._silence = anyio.CancelScope()
        self._lost = False

    def end(self, *, reset: bool) -> None:
        if reset:
            _reset_when_closed(self._client)
            if not self._lost:  # that end is closed already
                _reset_when_closed(self._server)
        self._scope.cancel()
        self._silence.cancel()

    def lose(self) -> None:
        self._lost = True
        self._scope.cancel()

    async def run(self, proxy: Proxy) -> None:
        with self._scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self._pump, proxy, "up", self._client, self._server)
                group.start_soon(self._pump, proxy, "down", self._server, self._client)
        if self._lost:
            await self._server.aclose()
            with self._silence:
                await anyio.sleep_forever()

    async def _pump(self, proxy: Proxy, direction: Direction, source: SocketStream, sink: SocketStream) -> None:
        try:
            while True:
                cut = await proxy.pass_on(direction, await source.receive(_CHUNK), sink)
                if cut is not None:
                    self.end(reset=cut.reset)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self._scope.cancel()


def _reset_when_closed(stream: SocketStream) -> None:
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  not Django's
    raw.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
