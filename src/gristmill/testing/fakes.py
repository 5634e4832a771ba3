"""Fakes: real enough to be talked to, small enough to be read."""

from __future__ import annotations

import base64
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from gristmill.providers.lexical import LexicalEmbedder
from gristmill.search.vectors import unpack

Edit = Callable[[dict[str, Any]], Any]


class FakeClock:
    """Time that only moves when somebody waits or says so. Safe for several threads."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.waits: list[float] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += seconds

    def pause(self, seconds: float) -> None:
        """In the place of a sleep: time passes at once, and the wait is noted."""
        with self._lock:
            self._now += seconds
            self.waits.append(seconds)


@dataclass(frozen=True)
class Reply:
    """What the server does instead of answering: an error, a dropped connection (``status`` 0), or an edited answer."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    edit: Edit | None = None


@dataclass(frozen=True)
class SeenRequest:
    """A request as the server got it."""

    texts: list[str]
    body: dict[str, Any]
    authorization: str


class FakeOpenAI:
    """An OpenAI-compatible embeddings server on the loopback, without a model: vectors are hashed words.

    ``replies`` are used up first, one for each request. ``limit``: longer texts are refused as over-long. ``meeting``: each
    request waits there, so that a test sees how many are in flight together.
    """

    def __init__(
        self, *, api_key: str = "", limit: int | None = None, meeting: threading.Barrier | None = None
    ) -> None:
        self.api_key = api_key
        self.limit = limit
        self.refuse_long = Reply(400, _error("This model's maximum context length is exceeded: too many tokens"))
        self.meeting = meeting
        self.replies: deque[Reply] = deque()
        self.seen: list[SeenRequest] = []
        self._embedder = LexicalEmbedder()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[FakeOpenAI]:
        """The server answers within this block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="fake-openai")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def reply(self, request: SeenRequest) -> Reply:
        """What to answer."""
        self.seen.append(request)
        planned = self.replies.popleft() if self.replies else Reply()
        if planned.status != 200 or planned.body is not None:
            return planned
        if self.api_key and request.authorization != f"Bearer {self.api_key}":
            return Reply(401, _error(f"Incorrect API key provided: {request.authorization}"))
        if self.limit is not None and any(len(text) > self.limit for text in request.texts):
            return self.refuse_long
        if any(not text for text in request.texts):
            return Reply(400, _error("input cannot be an empty string"))
        if self.meeting:
            self.meeting.wait()
        answer = self._answer(request)
        return Reply(200, msgspec.json.encode(planned.edit(answer) if planned.edit else answer))

    def _answer(self, request: SeenRequest) -> dict[str, Any]:
        vectors = [unpack(raw).tolist() for raw in self._embedder.embed(request.texts, "passage")]
        dimensions = request.body.get("dimensions") or self._embedder.dim
        encode = as_base64 if request.body.get("encoding_format") == "base64" else list
        return {
            "object": "list",
            "model": request.body["model"],
            "data": [
                {"object": "embedding", "index": number, "embedding": encode(vector[:dimensions])}
                for number, vector in enumerate(vectors)
            ],
        }


def as_base64(vector: list[float]) -> str:
    """Floats as the API's base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _error(message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error", "code": None}})


def _handler(fake: FakeOpenAI) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/v1/embeddings":
                return self._send(Reply(404, _error(f"no route {self.path}")))
            body = msgspec.json.decode(raw, type=dict[str, Any])
            return self._send(fake.reply(SeenRequest(body["input"], body, self.headers.get("Authorization", ""))))

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
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    return Handler
