"""What servers that stand in for a model's endpoint share: they run on the loopback, and fail as they are told."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec

Edit = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Reply:
    """What the server does instead of answering: an error, a dropped connection (``status`` 0), or an edited answer."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    edit: Edit | None = None


class Authorized(Protocol):
    """A request with what it is allowed by."""

    @property
    def authorization(self) -> str: ...


Asked = TypeVar("Asked", bound=Authorized)


class FakeEndpoint(ABC, Generic[Asked]):
    """``replies`` are used up first, one for each request. ``meeting``: each request waits there, so that a test sees how
    many are in flight together. ``seen``: what was asked.
    """

    def __init__(self, *, api_key: str = "", meeting: threading.Barrier | None = None) -> None:
        self.api_key = api_key
        self.meeting = meeting
        self.replies: deque[Reply] = deque()
        self.seen: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @abstractmethod
    def understand(self, path: str, headers: Message, raw: bytes) -> Asked | Reply:
        """The request, or the error that it is."""

    @abstractmethod
    def refuse(self, asked: Asked) -> Reply | None:
        """The error that this request gets, if it gets one."""

    @abstractmethod
    def answer(self, asked: Asked) -> dict[str, Any]:
        """The answer as the API has it."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[Self]:
        """The server answers within this block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="fake-model")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def reply(self, asked: Asked) -> Reply:
        """What to answer."""
        self.seen.append(asked)
        planned = self.replies.popleft() if self.replies else Reply()
        if planned.status != 200 or planned.body is not None:
            return planned
        if self.api_key and asked.authorization != f"Bearer {self.api_key}":
            return Reply(401, refusal(f"Incorrect API key provided: {asked.authorization}"))
        refused = self.refuse(asked)
        if refused is not None:
            return refused
        if self.meeting:
            self.meeting.wait()
        answer = self.answer(asked)
        return Reply(200, msgspec.json.encode(planned.edit(answer) if planned.edit else answer))


def refusal(message: str) -> bytes:
    """An error as the API words it."""
    return msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error", "code": None}})


def _handler(fake: FakeEndpoint[Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            asked = fake.understand(self.path, self.headers, raw)
            self._send(asked if isinstance(asked, Reply) else fake.reply(asked))

        def _send(self, reply: Reply) -> None:
            if not reply.status:  # drop the connection without a word
                self.close_connection = True
                return
            body = reply.body or b""
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    return Handler
