"""A TCP connection with nothing between a command and the socket: a round trip costs half of what a general stream takes."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import anyio
from anyio.abc import ByteStream


class Plain(ByteStream):
    """One task may send and one receive at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._emptied = True  # the last read took all there was

    def send_now(self, data: bytes) -> bytes:
        """Send what the network takes without waiting; returns the rest. Raises OSError."""
        try:
            return data[self._sock.send(data) :]
        except BlockingIOError:
            return data

    async def send(self, item: bytes) -> None:
        while item := self.send_now(item):
            await anyio.wait_writable(self._sock)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        while True:
            if self._emptied:
                await anyio.wait_readable(self._sock)
            try:
                data = self._sock.recv(max_bytes)
            except BlockingIOError:
                self._emptied = True
                continue
            if not data:
                raise anyio.EndOfStream
            self._emptied = len(data) < max_bytes
            return data

    async def send_eof(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()
        await anyio.lowlevel.checkpoint()


async def open_plain(host: str, port: int) -> Plain:
    """Connected to the first address of that name that answers. Raises OSError."""
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            await _connect(sock, address)
        except OSError as exc:
            failure = exc
        else:
            return Plain(sock)
    raise failure


async def _connect(sock: socket.socket, address: tuple[str, int]) -> None:
    connected = False
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            sock.connect(address)
        await anyio.wait_writable(sock)
        if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        connected = True
    finally:
        if not connected:
            sock.close()
