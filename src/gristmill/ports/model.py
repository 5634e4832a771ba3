"""Models. Only what this release uses: embedders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

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
