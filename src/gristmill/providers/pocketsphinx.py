"""English speech to text on this machine, by a small model that comes with its package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, ClassVar

import miniaudio

from gristmill.base.errors import InputRefused
from gristmill.base.registry import imported
from gristmill.ports.model import Sound, Spoken, Transcriber

_sphinx = imported("pocketsphinx")  # its names are not exported in a way that type checkers see
_RATE = 16_000  # what the model was trained on
_LONGEST = 30.0  # seconds that are listened to in one go, where nobody pauses
_BLOCK = 16_000  # samples unpacked at a time


class PocketsphinxTranscriber(Transcriber):
    """Reads wav, flac, mp3 and ogg (vorbis), one channel of all; hears English, about as fast as it is spoken, and far from
    every word. For more, use an endpoint. Recordings over ``max_seconds`` are refused."""

    name: ClassVar[str] = "pocketsphinx"

    def __init__(self, *, max_seconds: float = 4 * 3600.0) -> None:
        self.id = f"pocketsphinx-{version('pocketsphinx')}"
        self._max_seconds = max_seconds

    def transcribe(self, sound: Sound) -> list[Spoken]:
        """What was said, sentence by sentence as the pauses are. Raises InputRefused for formats that it cannot read."""
        decoder: Any = None
        found: list[Spoken] = []
        for start, pcm in _utterances(self._frames(sound)):
            if decoder is None:  # a new one for each recording: it adapts to whom it hears
                decoder = _sphinx.Decoder(samprate=_RATE, loglevel="FATAL")
            if text := _heard(decoder, pcm):
                found.append(Spoken(text, round(start, 2), round(start + len(pcm) / 2 / _RATE, 2)))
        return found

    def _frames(self, sound: Sound) -> Iterator[bytes]:
        """The sound as 16-bit samples of one channel. Unpacked bit by bit: a small file may play for days."""
        seconds = 0.0
        try:
            for samples in miniaudio.stream_memory(
                sound.data, miniaudio.SampleFormat.SIGNED16, nchannels=1, sample_rate=_RATE, frames_to_read=_BLOCK
            ):
                seconds += len(samples) / _RATE
                if seconds > self._max_seconds:
                    raise InputRefused(f"{sound.name} plays for more than {self._max_seconds:.0f} seconds: cut it")
                yield samples.tobytes()
        except miniaudio.MiniaudioError as exc:
            raise InputRefused(
                f"{sound.name} cannot be unpacked here, which is done for wav, flac, mp3 and ogg (vorbis) only: convert it,"
                " or set an endpoint that reads it (models.transcription)"
            ) from exc


def _heard(decoder: Any, pcm: bytes) -> str:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def _utterances(blocks: Iterator[bytes]) -> Iterator[tuple[float, bytes]]:
    """Stretches with speech in them: the second at which each begins, and its samples."""
    ear = _sphinx.Endpointer(sample_rate=_RATE)
    size, at = ear.frame_bytes, 0.0
    taken: list[bytes] = []
    cut = False  # whether what comes belongs to a stretch that was too long
    for frame in _cut(blocks, size):
        speech = ear.process(frame) if len(frame) == size else ear.end_stream(frame)
        if speech is not None:
            if not taken and not cut:
                at = ear.speech_start
            taken.append(speech)
        length = len(taken) * size / 2 / _RATE
        if taken and (speech is None or not ear.in_speech or length >= _LONGEST):
            yield at, b"".join(taken)
            at += length
            taken, cut = [], True
        cut = cut and bool(ear.in_speech)
    if taken:
        yield at, b"".join(taken)


def _cut(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        rest += block
        whole = len(rest) // size * size
        yield from (rest[at : at + size] for at in range(0, whole, size))
        rest = rest[whole:]
    if rest:
        yield rest
