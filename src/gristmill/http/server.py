"""Serving an application on a socket until told to stop: then what was asked is still answered."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from itertools import count
from typing import Any

import anyio
from anycorn import Config
from anycorn.tcp_server import tcp_server_handler
from anycorn.utils import wrap_app
from anycorn.worker_context import WorkerContext
from anyio.abc import SocketStream, TaskStatus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gristmill.base.logs import get_logger
from gristmill.http import errors

log = get_logger(__name__)

MOST_HEADERS = 32 * 1024  # bytes of a request's head
MOST_CONNECTIONS = 512  # more wait in the kernel until one is closed
IDLE = 5.0  # seconds that a connection may be open without a whole request
STUCK = 30.0  # seconds that a client may leave an answer unread
FRESH = 0.5  # seconds that who was let in at the end has to say what it wants
LAST_WORDS = 1.0  # seconds beyond its grace that a server has to say that it stops
NO_FILES = 0.1  # seconds of rest when the process has too many files open


class Server:
    """One process's server. To a master it is like a worker: it has a name, holds requests, and drains."""

    def __init__(self, app: ASGIApp, listener: socket.socket, *, name: str, idle: float = IDLE) -> None:
        self.name = name
        self.done = self.failed = 0
        self._app, self._listener = app, listener
        self._open: dict[int, str] = {}
        self._scopes: set[anyio.CancelScope] = set()
        self._numbers = count()
        self._told = anyio.Event()
        self._until = math.inf  # when open requests are given up
        self._fresh: set[Any] = set()  # addresses of who was let in and has not asked yet
        self._asked = anyio.Event()
        self._room = anyio.CapacityLimiter(MOST_CONNECTIONS)
        self._config = Config()
        self._config.keep_alive_timeout = idle  # also for the head of the first request
        self._config.h11_max_incomplete_size = MOST_HEADERS
        self._config.include_server_header = False
        self._config.accesslog = self._config.errorlog = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Answer until drained. The socket is closed as soon as nobody is let in any more.

        First nobody new comes in; who was just let in is still heard; then connections without a request are closed, and
        the others after their answer.
        """
        context = WorkerContext(None)
        app: Any = self._counted  # anycorn has types of its own for the same
        talk = tcp_server_handler(wrap_app(app, 0, "asgi"), self._config, context, {})
        with suppress(AttributeError, OSError):  # Linux: a client that does not read is given up
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK * 1000))
        self._listener.setblocking(False)
        async with anyio.create_task_group() as connections:
            with self._listener:
                async with anyio.create_task_group() as letting_in:
                    letting_in.start_soon(self._let_in, talk, connections)
                    task_status.started()
                    await self._told.wait()
                    letting_in.cancel_scope.cancel()
            await self._hear_the_last()
            await context.terminated.set()
            connections.cancel_scope.deadline = self._until + LAST_WORDS

    def drain(self, *, grace: float = 30.0) -> None:
        """Let nobody in any more, and end when all open requests are answered. After ``grace`` seconds they get a 503."""
        self._until = min(self._until, anyio.current_time() + grace)
        for scope in self._scopes:
            scope.deadline = self._until
        self._told.set()

    def held(self) -> list[str]:
        """The requests that are open."""
        return list(self._open.values())

    async def _let_in(self, talk: Callable[[SocketStream], Any], connections: anyio.abc.TaskGroup) -> None:
        """Whoever is let in is served: between the two nothing can be cancelled."""
        while True:
            async with self._room:
                pass
            await anyio.wait_readable(self._listener)
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except ConnectionError:
                continue
            except OSError as exc:
                log.warning("nobody can be let in for now", error=str(exc))
                await anyio.sleep(NO_FILES)
                continue
            connections.start_soon(self._talk, talk, connection)

    async def _talk(self, talk: Callable[[SocketStream], Any], connection: socket.socket) -> None:
        try:
            client = connection.getpeername()[:2]
        except OSError:  # gone already
            connection.close()
            return
        self._fresh.add(client)
        try:
            async with self._room:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await talk(await SocketStream.from_socket(connection))
        finally:
            self._has_asked(client)

    def _has_asked(self, client: Any) -> None:
        self._fresh.discard(client)
        if not self._fresh:
            self._asked.set()

    async def _hear_the_last(self) -> None:
        with anyio.move_on_after(min(FRESH, max(0.0, self._until - anyio.current_time()))):
            await anyio.lowlevel.checkpoint()  # who was let in last is known from its first step on
            if self._fresh:
                self._asked = anyio.Event()
                await self._asked.wait()

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noticed(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._has_asked(tuple(scope.get("client") or ()))
        with anyio.CancelScope(deadline=self._until) as cut:
            await self._ask(cut, scope, receive, noticed)
        if cut.cancelled_caught and not status:
            await errors.answer(HTTPStatus.SERVICE_UNAVAILABLE, "the server is stopping")(scope, receive, noticed)
        self.done += 0 < status < 500
        self.failed += not 0 < status < 500

    async def _ask(self, cut: anyio.CancelScope, scope: Scope, receive: Receive, send: Send) -> None:
        number = next(self._numbers)
        self._open[number] = f"{scope['method']} {scope['path']}"[:200]
        self._scopes.add(cut)
        try:
            await self._app(scope, receive, send)
        finally:
            del self._open[number]
            self._scopes.discard(cut)
