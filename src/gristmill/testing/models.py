"""Models without a model: fakes behind the ports, and a server that speaks the API of the real ones."""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from gristmill.ports.model import Chat, Described, Describer, Sound, Spoken, Transcriber
from gristmill.testing.fakes import Reply


class FakeTranscriber(Transcriber):
    """Hears the same in every recording, and notes which it was given. ``trouble``: what happens instead, one a call."""

    name = "fake"

    def __init__(
        self, said: Sequence[Spoken] = (Spoken("words that were said", 0.0, 1.5),), *, id: str = "fake@1"
    ) -> None:
        self.id = id
        self.said = list(said)
        self.sounds: list[Sound] = []
        self.trouble: list[Exception] = []

    def transcribe(self, sound: Sound) -> list[Spoken]:
        if self.trouble:
            raise self.trouble.pop(0)
        self.sounds.append(sound)
        return list(self.said)


class FakeDescriber(Describer):
    """Says of each picture how many bytes it has; ``refused``: of which it says nothing. ``trouble``: as above."""

    name = "fake"

    def __init__(self, *, batch: int = 2, id: str = "fake@1") -> None:
        self.id = id
        self.batch = batch
        self.pictures: list[bytes] = []
        self.calls = 0
        self.refused: dict[bytes, str] = {}
        self.trouble: list[Exception] = []

    def describe(self, pictures: Sequence[bytes]) -> list[Described]:
        self.calls += 1
        if self.trouble:
            raise self.trouble.pop(0)
        self.pictures += pictures
        return [
            Described("", self.refused[one]) if one in self.refused else Described(f"a picture of {len(one)} bytes")
            for one in pictures
        ]


class FakeChat(Chat):
    """Gives the answers that it was made with, one a call, and notes what it was asked."""

    name = "fake"

    def __init__(self, *answers: str | Exception, id: str = "fake@1", max_input: int = 24_000) -> None:
        self.id = id
        self.max_input = max_input
        self.planned = deque(answers)
        self.asked: list[tuple[str, str]] = []

    def answer(self, instruction: str, text: str) -> str:
        self.asked.append((instruction, text))
        answer = self.planned.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(frozen=True)
class Asked:
    """A request as the server got it: JSON, or the fields of a form, whose file is ``upload``."""

    path: str
    body: dict[str, Any]
    authorization: str
    upload: bytes = b""
    file_name: str = ""
    file_type: str = ""


@dataclass
class FakeModelServer:
    """An OpenAI-compatible server on the loopback for speech, pictures and chat.

    ``replies`` are used up first, one for each request. ``said`` makes the answer to any other: what was said, seen or
    answered. ``meeting``: each request waits there, so that a test sees how many are in flight together.
    """

    said: Callable[[Asked], str] = lambda asked: "an answer"
    api_key: str = ""
    meeting: threading.Barrier | None = None
    replies: deque[Reply] = field(default_factory=deque)
    seen: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[FakeModelServer]:
        """The server answers within this block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="fake-models")
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
        if self.meeting:
            self.meeting.wait()
        answers = {"/v1/audio/transcriptions": _transcript, "/v1/chat/completions": _completion}
        if asked.path not in answers:
            return Reply(404, refusal(f"no route {asked.path}"))
        answer = answers[asked.path](asked, self.said(asked))
        return Reply(200, msgspec.json.encode(planned.edit(answer) if planned.edit else answer))


def refusal(message: str) -> bytes:
    """An error as the API words it."""
    return msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error", "code": None}})


def picture_of(asked: Asked) -> bytes:
    """The picture that a request shows."""
    [content] = [message["content"] for message in asked.body["messages"] if isinstance(message["content"], list)]
    [url] = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return base64.b64decode(str(url).partition(",")[2])


def _transcript(asked: Asked, said: str) -> dict[str, Any]:
    if asked.body["response_format"] != "verbose_json":
        return {"text": said}
    words = said.split(". ")
    segments = [{"id": n, "start": float(n), "end": n + 1.0, "text": f" {text}"} for n, text in enumerate(words)]
    return {"task": "transcribe", "duration": float(len(words)), "text": said, "segments": segments}


def _completion(asked: Asked, said: str) -> dict[str, Any]:
    return {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": said}}]}


def _handler(fake: FakeModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(fake.reply(_asked(self.path, self.headers, raw)))

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


def _asked(path: str, headers: Message, raw: bytes) -> Asked:
    authorization, kind = headers.get("Authorization", ""), headers["Content-Type"]
    if not kind.startswith("multipart/"):
        return Asked(path, msgspec.json.decode(raw, type=dict[str, Any]), authorization)
    form = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + raw)
    fields: dict[str, Any] = {}
    upload, file_name, file_type = b"", "", ""
    for part in form.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if name := part.get_filename():
            upload, file_name, file_type = content, name, part.get_content_type()
        else:
            fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
    return Asked(path, fields, authorization, upload, file_name, file_type)
