"""Texts to vectors through an OpenAI-compatible endpoint."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np

from gristmill.base.clock import Clock
from gristmill.base.errors import ModelRefused
from gristmill.base.ids import digest
from gristmill.base.tokens import count_tokens
from gristmill.ports.model import Embedder, Purpose
from gristmill.providers.openai.client import Client
from gristmill.providers.openai.endpoint import Pause, TooLong
from gristmill.search.vectors import Floats, average, halves, pack

SHORTEST = 64  # characters: a text that no model finds too long; who refuses it means something else
BLANK = "."  # sent for a text without words: endpoints refuse empty ones


class Item(msgspec.Struct):
    """One vector: floats, or little-endian float32 as base64."""

    embedding: list[float] | str
    index: int | None = None


class Answer(msgspec.Struct):
    """What the endpoint sends back."""

    data: list[Item]


class OpenAIEmbedder(Embedder):
    """Any endpoint that speaks ``POST {base_url}/embeddings``.

    ``dimensions`` is sent along and checked; without it the model's own number is asked for once. ``batch`` texts go into
    one request, up to ``concurrency`` requests are in flight, fewer while the endpoint throttles. Failures that may pass
    are repeated for ``patience`` seconds (``query_patience`` for a question: somebody waits), then ModelUnavailable says
    when to come back. ``query_prefix`` and ``passage_prefix`` are for models that want them (E5: ``query: ``). Texts over
    ``max_tokens``, or that the endpoint calls too long, are embedded in pieces and averaged. The key appears in no
    message, log line or repr. Safe for several threads.
    """

    name: ClassVar[str] = "openai"

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str = "",
        dimensions: int | None = None,
        batch: int = 32,
        concurrency: int = 4,
        timeout: float = 60.0,
        patience: float = 60.0,
        query_patience: float = 10.0,
        max_tokens: int = 8_000,
        encoding_format: Literal["float", "base64"] = "float",
        query_prefix: str = "",
        passage_prefix: str = "",
        headers: Mapping[str, str] | None = None,
        trust_env: bool = True,
        breaker_failures: int = 8,
        breaker_rest: float = 30.0,
        clock: Clock | None = None,
        pause: Pause | None = None,
    ) -> None:
        self.model = model
        self.id = _identity(model, dimensions, query_prefix, passage_prefix)
        self.batch = batch
        self.max_tokens = max_tokens
        self._dimensions = dimensions
        self._encoding = encoding_format
        self._patience: dict[Purpose, float] = {"passage": patience, "query": query_patience}
        self._prefix: dict[Purpose, str] = {"passage": passage_prefix, "query": query_prefix}
        self._client = Client(
            "embedding",
            "/embeddings",
            base_url=base_url,
            model=model,
            api_key=api_key,
            concurrency=concurrency,
            timeout=timeout,
            headers=headers,
            trust_env=trust_env,
            breaker_failures=breaker_failures,
            breaker_rest=breaker_rest,
            clock=clock,
            pause=pause,
        )
        self.throttle = self._client.throttle

    def __repr__(self) -> str:
        return f"OpenAIEmbedder({self.id!r}, {self._client.shown!r})"

    @cached_property
    def dim(self) -> int:  # type: ignore[override]  # known at once, or asked for when it is needed
        """The length of the vectors; without ``dimensions`` the endpoint is asked once."""
        if self._dimensions is not None:
            return self._dimensions
        with self._client.call() as abandoned:
            answer = self._ask([BLANK], "query", abandoned)
        return len(_floats(answer.data[0]))

    def embed(self, texts: Sequence[str], purpose: Purpose) -> list[bytes]:
        """A vector for each text, in order. Raises ModelUnavailable (with ``retry_after``) or ModelRefused."""
        prefix = self._prefix[purpose]
        pieces = [[prefix + piece for piece in _pieces(_sendable(text), self.max_tokens)] for text in texts]
        flat = [piece for of_text in pieces for piece in of_text]
        vectors = iter(self._all(flat, purpose))
        return [_mean([next(vectors) for _ in of_text], of_text) for of_text in pieces]

    def close(self) -> None:
        """Give up connections; calls that wait for another attempt end with ModelUnavailable."""
        self._client.close()

    def _all(self, texts: Sequence[str], purpose: Purpose) -> list[bytes]:
        def send(batch: Sequence[str], abandoned: threading.Event) -> list[bytes]:
            return self._batch(batch, purpose, abandoned)

        batches = [texts[at : at + self.batch] for at in range(0, len(texts), self.batch)]
        return [vector for vectors in self._client.each(batches, send) for vector in vectors]

    def _batch(self, texts: Sequence[str], purpose: Purpose, abandoned: threading.Event) -> list[bytes]:
        try:
            answer = self._ask(texts, purpose, abandoned)
        except TooLong:
            if len(texts) == 1 and len(texts[0]) <= SHORTEST:
                raise
            return self._smaller(texts, purpose, abandoned)
        return self._vectors(answer, len(texts))

    def _smaller(self, texts: Sequence[str], purpose: Purpose, abandoned: threading.Event) -> list[bytes]:
        """Too long: fewer texts at a time, and a text that is too long alone in halves."""
        if len(texts) > 1:
            middle = len(texts) // 2
            return [
                *self._batch(texts[:middle], purpose, abandoned),
                *self._batch(texts[middle:], purpose, abandoned),
            ]
        text = texts[0]
        if len(text) < 2:
            raise ModelRefused(f"{self._client.shown} calls a text of {len(text)} character too long: check the model")
        parts = halves(text)
        return [_mean([vector for part in parts for vector in self._batch([part], purpose, abandoned)], parts)]

    def _ask(self, texts: Sequence[str], purpose: Purpose, abandoned: threading.Event) -> Answer:
        payload: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": self._encoding}
        if self._dimensions is not None:
            payload["dimensions"] = self._dimensions
        content = msgspec.json.encode(payload)
        patience = self._patience[purpose]
        answer = self._client.post(content, "application/json", _answer, abandoned, patience=patience)
        if len(answer.data) != len(texts):
            raise ModelRefused(
                f"{self._client.shown} answered {len(answer.data)} vectors for {len(texts)} texts: the server is at fault"
            )
        return answer

    def _vectors(self, answer: Answer, expected: int) -> list[bytes]:
        vectors = [_floats(item) for item in _ordered(answer.data, expected)]
        for vector in vectors:
            if len(vector) != self.dim:
                raise ModelRefused(
                    f"{self._client.shown} answered a vector of {len(vector)} dimensions where {self.dim} were expected:"
                    " check the model and the setting dimensions"
                )
        try:
            return [pack(vector) for vector in vectors]
        except ValueError as exc:
            raise ModelRefused(
                f"{self._client.shown} answered {exc} (zero or not a number) with model {self.model!r}: check the server"
            ) from exc


def _answer(content: bytes, kind: str) -> Answer:
    return msgspec.json.decode(content, type=Answer)


def _identity(model: str, dimensions: int | None, query_prefix: str, passage_prefix: str) -> str:
    """Name and version of what makes the vectors: all that changes them is in it."""
    prefixes = digest(query_prefix, passage_prefix)[:8] if query_prefix or passage_prefix else ""
    parts = [f"openai:{model}", str(dimensions or ""), prefixes]
    return "/".join(part for part in parts if part) + "@1"


def _sendable(text: str) -> str:
    """The text as valid UTF-8 and not empty."""
    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return clean if clean.strip() else BLANK


def _pieces(text: str, max_tokens: int) -> Iterator[str]:
    """The text in pieces of at most ``max_tokens`` tokens. A token has at least one byte, so short texts are not counted."""
    waiting = [text]
    while waiting:
        piece = waiting.pop()
        if len(piece) < 2 or len(piece.encode()) <= max_tokens or count_tokens(piece) <= max_tokens:
            yield piece
        else:
            waiting.extend(reversed(halves(piece)))


def _mean(vectors: Sequence[bytes], texts: Sequence[str]) -> bytes:
    return average(vectors, [len(text) for text in texts])


def _ordered(items: Sequence[Item], expected: int) -> list[Item]:
    """In the order of the texts: by ``index`` where the server gives it."""
    indexes = [item.index for item in items]
    if all(index is None for index in indexes):
        return list(items)
    by_index = {item.index: item for item in items}
    if set(by_index) != set(range(expected)):
        raise ModelRefused("the endpoint's answer numbers its vectors wrongly (index): the server is at fault")
    return [by_index[at] for at in range(expected)]


def _floats(item: Item) -> Floats:
    if not isinstance(item.embedding, str):
        return np.asarray(item.embedding, dtype=np.float32)
    try:
        return np.frombuffer(base64.b64decode(item.embedding, validate=True), dtype="<f4")
    except (binascii.Error, ValueError) as exc:
        raise ModelRefused(
            f"the endpoint's base64 vector cannot be read ({exc}): set encoding_format to float"
        ) from exc
