"""Speech to text through an OpenAI-compatible endpoint."""

from __future__ import annotations

import math
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, ClassVar

import msgspec

from gristmill.base.errors import InputRefused
from gristmill.base.wavefile import read_wave
from gristmill.ports.model import Sound, Spoken, Transcriber
from gristmill.providers.openai.client import Client

MOST_BYTES = 25_000_000  # of an upload, as OpenAI has it
_ENDINGS = {  # servers go by the ending
    "audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg", "audio/aac": "aac",
    "audio/mp4": "m4a", "audio/webm": "webm", "audio/aiff": "aiff", "audio/basic": "au", "audio/amr": "amr",
    "audio/x-ms-wma": "wma",
}  # fmt: skip
_NO_SEGMENTS = re.compile(r"response_format|verbose_json", re.IGNORECASE)


class _Segment(msgspec.Struct):
    text: str = ""
    start: float = 0.0
    end: float = 0.0


class _Transcript(msgspec.Struct):
    text: str | None = None
    segments: list[_Segment] | None = None
    duration: float | str | None = None


class OpenAITranscriber(Transcriber):
    """Any endpoint that speaks ``POST {base_url}/audio/transcriptions``.

    Segments with their times where the server gives them (``verbose_json``), else one text without. A wave file over
    ``max_bytes`` is sent in pieces, cut where it is quiet; other formats over it are refused before they are sent. Further
    options are those of ``Client``.
    """

    name: ClassVar[str] = "openai"

    def __init__(self, *, model: str, language: str = "", max_bytes: int = MOST_BYTES, **client: Any) -> None:
        self.id = "/".join(filter(None, (f"openai:{model}", language))) + "@1"
        self._language = language
        self._max_bytes = max_bytes
        self._client = Client("transcription", "/audio/transcriptions", model=model, **client)
        self._verbose = True

    def __repr__(self) -> str:
        return f"OpenAITranscriber({self.id!r}, {self._client.shown!r})"

    def transcribe(self, sound: Sound) -> list[Spoken]:
        """What was said. Raises ModelUnavailable (with ``retry_after``), InputRefused or ModelRefused."""
        found: list[Spoken] = []
        with self._client.call() as abandoned:
            for begin, piece in self._pieces(sound):
                said = self._piece(msgspec.structs.replace(sound, data=piece), abandoned)
                found += [Spoken(one.text, begin + one.start, begin + one.end) for one in said]
        return found

    def close(self) -> None:
        """Give up connections; calls that wait for another attempt end with ModelUnavailable."""
        self._client.close()

    def _pieces(self, sound: Sound) -> Iterator[tuple[float, bytes]]:
        wave = read_wave(sound.data)
        if len(sound.data) <= self._max_bytes:
            yield 0.0, sound.data
        elif wave is None:
            raise InputRefused(
                f"{sound.name} has {len(sound.data)} bytes, and the transcription endpoint takes {self._max_bytes}"
                " (models.transcription.max_bytes): cut it, compress it, or save it as a wave file, which is sent in pieces"
            )
        else:
            yield from wave.pieces(sound.data, self._max_bytes)

    def _piece(self, sound: Sound, abandoned: threading.Event) -> list[Spoken]:
        try:
            transcript = self._send(sound, abandoned)
        except InputRefused as exc:
            if not self._verbose or not _NO_SEGMENTS.search(str(exc)):
                raise
            self._verbose = False  # newer models of OpenAI give no segments
            transcript = self._send(sound, abandoned)
        if transcript.segments:
            return list(_spoken(transcript.segments))
        text = (transcript.text or "").strip()
        return [Spoken(text, 0.0, _seconds(transcript.duration))] if text else []

    def _send(self, sound: Sound, abandoned: threading.Event) -> _Transcript:
        fields = {"model": self._client.model, "response_format": "verbose_json" if self._verbose else "json"}
        if self._verbose:
            fields["timestamp_granularities[]"] = "segment"
        if self._language:
            fields["language"] = self._language
        content, kind = _form(fields, _file_name(sound), sound)
        return self._client.post(content, kind, _transcript, abandoned)


def _spoken(segments: list[_Segment]) -> Iterator[Spoken]:
    for one in segments:
        start, end = _seconds(one.start), _seconds(one.end)
        if text := one.text.strip():
            yield Spoken(text, start, max(start, end))


def _seconds(value: float | str | None) -> float:
    try:
        seconds = float(value or 0.0)
    except ValueError:
        return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _transcript(content: bytes, kind: str) -> _Transcript:
    """JSON; or the text alone, from servers that know nothing else."""
    if kind.startswith("text/plain"):
        return _Transcript(content.decode("utf-8", "replace"))
    found = msgspec.json.decode(content, type=_Transcript)
    if found.text is None and found.segments is None:
        raise msgspec.ValidationError("neither text nor segments")
    return found


def _file_name(sound: Sound) -> str:
    """What the upload is called: never the document's name, which is nobody's business, but with the right ending."""
    ending = _ENDINGS.get(sound.mime) or PurePath(sound.name).suffix.lstrip(".").lower()
    return f"sound.{ending}" if re.fullmatch(r"[a-z0-9]{1,8}", ending) else "sound"


def _form(fields: dict[str, str], file_name: str, sound: Sound) -> tuple[bytes, str]:
    """A form of fields and one file, and its content type."""
    mark = secrets.token_hex(16)
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
        f"Content-Type: {sound.mime or 'application/octet-stream'}\r\n\r\n"
    )
    content = b"".join(("".join(parts).encode(), sound.data, f"\r\n--{mark}--\r\n".encode()))
    return content, f"multipart/form-data; boundary={mark}"
