"""Models without a model: fakes behind the ports, and a server that speaks the API of the real ones."""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from typing import Any

import msgspec

from gristmill.ports.model import Chat, Described, Describer, Sound, Spoken, Transcriber
from gristmill.testing.endpoints import FakeEndpoint, Reply, refusal


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


class FakeModelServer(FakeEndpoint[Asked]):
    """An OpenAI-compatible server on the loopback for speech, pictures and chat.

    ``replies`` are used up first, one for each request. ``said`` makes the answer to any other: what was said, seen or
    answered. ``meeting``: each request waits there, so that a test sees how many are in flight together.
    """

    def __init__(
        self,
        said: Callable[[Asked], str] = lambda asked: "an answer",
        *,
        api_key: str = "",
        meeting: threading.Barrier | None = None,
    ) -> None:
        super().__init__(api_key=api_key, meeting=meeting)
        self.said = said

    def understand(self, path: str, headers: Message, raw: bytes) -> Asked | Reply:
        return _asked(path, headers, raw)

    def refuse(self, asked: Asked) -> Reply | None:
        return None if asked.path in _ANSWERS else Reply(404, refusal(f"no route {asked.path}"))

    def answer(self, asked: Asked) -> dict[str, Any]:
        return _ANSWERS[asked.path](asked, self.said(asked))


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


_ANSWERS = {"/v1/audio/transcriptions": _transcript, "/v1/chat/completions": _completion}


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
