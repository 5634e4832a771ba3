"""Texts to vectors, each text once in its life (P13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gristmill.base.ids import digest
from gristmill.ports.cache import StageCache
from gristmill.ports.model import Embedder

KIND = "vector"
Report = Callable[[float, str], None]
Pace = Callable[[], None]  # waits until one more request may be made


@dataclass(frozen=True)
class Embedded:
    """A vector for each text, in order, and how many of them had to be computed."""

    vectors: list[bytes]
    computed: int


def vector_key(embedder: Embedder, text: str) -> str:
    """The cache key of a passage's vector."""
    return digest(embedder.id, str(embedder.dim), "passage", text)


def at_once() -> None:
    """No rate to keep."""


def embed(
    texts: Sequence[str], embedder: Embedder, cache: StageCache, report: Report, *, pace: Pace = at_once
) -> Embedded:
    """A vector for each text, in order. ``pace`` is called before each batch.

    Known texts come from the cache; the others are embedded in batches of like length, and each batch is kept as soon as
    it is there, so that a crash repeats at most one batch.
    """
    keys = [vector_key(embedder, text) for text in texts]
    known = cache.get_many(KIND, list(dict.fromkeys(keys)))
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    done = 0
    for batch in _batches(missing, embedder.batch):
        pace()
        vectors = embedder.embed([missing[key] for key in batch], "passage")
        fresh = dict(zip(batch, vectors, strict=True))
        cache.put_many(KIND, fresh)
        known.update(fresh)
        done += len(batch)
        report(done / len(missing), f"embedded {done} of {len(missing)} new chunks")
    return Embedded([known[key] for key in keys], len(missing))


def _batches(texts: dict[str, str], size: int) -> Iterator[list[str]]:
    """Keys by length of their text: padding is wasted work."""
    order = sorted(texts, key=lambda key: len(texts[key]))
    for first in range(0, len(order), size):
        yield order[first : first + size]
