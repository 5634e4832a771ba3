"""Models: what turns texts into vectors, speech and pictures into text, and text into answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from gristmill.base.errors import InputRefused

Purpose = Literal["passage", "query"]


class Embedder(ABC):
    """Texts to unit vectors.

    ``id`` (name and version of provider and weights) is part of every cache key and is frozen with the dimension at a
    dataset's first ingestion. ``local`` embedders compute in this process, on one thread.
    """

    name: ClassVar[str]
    local: ClassVar[bool] = False
    semantic: ClassVar[bool] = True

    id: str
    dim: int
    batch: int = 16  # texts for one call of `embed` that suit the provider
    max_tokens: int = 8192

    @abstractmethod
    def embed(self, texts: Sequence[str], purpose: Purpose) -> list[bytes]:
        """A normalised vector for each text as ``dim`` little-endian float32.

        Over-long texts are cut into pieces whose vectors are averaged. Raises ModelUnavailable after the provider's own
        back-off is used up, ModelRefused where repeating is of no use.
        """

    def close(self) -> None:  # noqa: B027  most providers hold nothing
        """Give up connections and weights."""


class Reader(ABC):
    """What the models that read documents share.

    ``id`` (name and version of provider, weights and prompt) is part of every cache key: what an answer depends on is in it.
    All calls raise ModelUnavailable after the provider's own back-off is used up, InputRefused where this input is of no use
    to the model, and ModelRefused where no input is.
    """

    name: ClassVar[str]

    id: str

    def close(self) -> None:  # noqa: B027  most providers hold nothing
        """Give up connections and weights; calls in other threads end soon."""


class Sound(msgspec.Struct, frozen=True):
    """A recording as its file holds it. The name is for messages and for what the ending says of the format."""

    name: str
    mime: str
    data: bytes


class Spoken(msgspec.Struct, frozen=True, array_like=True):
    """What was said from ``start`` to ``end``, in seconds."""

    text: str
    start: float
    end: float


class Transcriber(Reader):
    """Speech to text."""

    @abstractmethod
    def transcribe(self, sound: Sound) -> list[Spoken]:
        """What was said, in its order; nothing where nobody speaks. Raises InputRefused for sound that it cannot read."""


class Described(msgspec.Struct, frozen=True, array_like=True):
    """A picture's description; empty where there is nothing to say, with the reason in ``refused`` where it was refused."""

    text: str
    refused: str = ""


class Describer(Reader):
    """Pictures to text."""

    batch: int = 4  # pictures for one call that suit the provider

    @abstractmethod
    def describe(self, pictures: Sequence[bytes]) -> list[Described]:
        """A description for each picture (the bytes of its file), in order. One that is refused costs the others nothing."""


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """A model's answer, or the reason in ``refused`` where it gave none."""

    text: str
    refused: str = ""


class Chat(Reader):
    """A language model that answers."""

    batch: int = 4  # texts for one call of `answers` that suit the provider
    max_input: int = 24_000  # characters of the longest text that is sent

    @abstractmethod
    def answer(self, instruction: str, text: str) -> str:
        """The model's answer, a JSON object as text, to an instruction about a text."""

    def answers(self, instruction: str, texts: Sequence[str]) -> list[Answered]:
        """The answer to the same instruction about each text, in order. One that is refused costs the others nothing."""
        return [self._answered(instruction, text) for text in texts]

    def _answered(self, instruction: str, text: str) -> Answered:
        try:
            return Answered(self.answer(instruction, text))
        except InputRefused as exc:
            return Answered("", str(exc))
