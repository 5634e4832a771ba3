"""One connection: commands go out in one stream, answers come back in the same order."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import hiredis
from anyio.abc import ByteStream

from gristmill.brokers.redis.plain import Plain, open_plain
from gristmill.brokers.redis.url import Address

CHUNK = 65_536
_UNREADABLE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, hiredis.ProtocolError)
_NOT_YET = object()

Push = Callable[[list[Any]], None]


class Lost(Exception):
    """The connection is no more, or silent; whether the command was carried out is not known."""


class Refused(Lost):
    """The server does not want us as we come: the wrong password, an unknown authority. Repeating does not help."""


def packed(*words: bytes | str | int | float) -> bytes:
    """A command as it travels."""
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub means one argument
    return command


class _Asked:
    """A command that waits for its answer."""

    __slots__ = ("answer", "answered", "gone")

    def __init__(self) -> None:
        self.answer: Any = None
        self.answered = anyio.Event()
        self.gone = False


class Connection:
    """Runs inside ``run``; usable from the moment it is entered until that returns.

    ``push``: it is a subscriber, and whatever comes goes there.
    """

    def __init__(self, stream: ByteStream, address: Address, *, push: Push | None = None) -> None:
        self.address = address
        self.reason = "closed"
        self.heard = anyio.current_time()
        self._stream = stream
        self._push = push
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._asked: deque[_Asked] = deque()
        self._now = stream.send_now if isinstance(stream, Plain) else None
        self._out: list[bytes] = []
        self._writing = False
        self._more = anyio.Event()
        self._scope = anyio.CancelScope()
        self.closed = False
        self.over = anyio.Event()

    async def run(self) -> None:
        """Carry commands and answers until the connection is lost; ``reason`` says why."""
        try:
            with self._scope:
                async with anyio.create_task_group() as children:
                    children.start_soon(self._write)
                    children.start_soon(self._read)
        finally:
            self._fail()
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(self._stream)

    def close(self, reason: str) -> None:
        """Give the connection up: all who wait learn that it is lost."""
        if not self.closed:
            self.reason = reason
            self._fail()
            self._scope.cancel()

    def send(self, command: bytes) -> None:
        """Send without waiting for any answer (of a subscriber)."""
        self._put(command)

    async def ask(self, command: bytes, *, timeout: float) -> Any:
        """The answer; errors of the server are returned, too. Raises Lost."""
        if self.closed:
            raise Lost(self.reason)
        asked = _Asked()
        self._asked.append(asked)
        self._put(command)
        with anyio.move_on_after(timeout):
            await asked.answered.wait()
        if not asked.answered.is_set():
            self.close(f"no answer within {timeout:g} s")
        if asked.gone:
            raise Lost(self.reason)
        return asked.answer

    def _fail(self) -> None:
        self.closed = True
        self.over.set()
        while self._asked:
            asked = self._asked.popleft()
            asked.gone = True
            asked.answered.set()

    def _put(self, command: bytes) -> None:
        """Send it at once where nothing is before it and the network takes it; the rest goes by ``_write``."""
        if self._now is not None and not self._writing and not self._out:
            try:
                command = self._now(command)
            except OSError as exc:
                return self.close(str(exc) or type(exc).__name__)
            if not command:
                return None
        self._out.append(command)
        self._more.set()
        return None

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._writing = True
            try:
                await self._stream.send(data)
            except _UNREADABLE as exc:
                return self.close(str(exc) or type(exc).__name__)
            self._writing = False

    async def _read(self) -> None:
        reader = self._reader
        while True:
            try:
                reader.feed(await self._stream.receive(CHUNK))
                while (answer := reader.gets()) is not _NOT_YET:
                    self._take(answer)
            except _UNREADABLE as exc:
                why = "closed by the server" if isinstance(exc, anyio.EndOfStream) else str(exc) or type(exc).__name__
                return self.close(why)
            self.heard = anyio.current_time()

    def _take(self, answer: Any) -> None:
        if self._push is not None and not self._asked:
            self._push(answer)
        elif self._asked:
            asked = self._asked.popleft()
            asked.answer = answer
            asked.answered.set()
        else:
            self.close("an answer that nobody asked for")


async def connect(address: Address, context: ssl.SSLContext | None, *, timeout: float) -> ByteStream:
    """A connection to that place. Raises Lost."""
    try:
        with anyio.fail_after(timeout):
            if context is None:
                return await open_plain(address.host, address.port)
            return await anyio.connect_tcp(
                address.host,
                address.port,
                ssl_context=context,
                tls_standard_compatible=False,
                tls_hostname=address.host,
            )
    except TimeoutError:
        raise Lost(f"{address}: no connection within {timeout:g} s") from None
    except ssl.SSLCertVerificationError as exc:
        raise Refused(
            f"the certificate of {address} is not trusted (ssl_ca_certs= names the authority): {exc}"
        ) from exc
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        raise Lost(f"{address}: {str(exc) or type(exc).__name__}") from exc
