"""Words hashed to a vector: no weights, no download, 2,000 chunks a second. It knows words, not meanings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import xxhash

from gristmill.ports.model import Embedder, Purpose
from gristmill.search.tokens import STOP_WORDS, tokenize
from gristmill.search.vectors import pack

STOP_WEIGHT = 0.1  # words that every text has say little about this one


class LexicalEmbedder(Embedder):
    """Feature hashing with signs: each word falls on one of 384 places as +1 or -1, so that collisions cancel out.

    Deterministic everywhere and for ever under this id. Repetition counts by its logarithm. Chinese characters also count
    in pairs, which bridges different cuts of one word.
    """

    name: ClassVar[str] = "lexical"
    local: ClassVar[bool] = True
    semantic: ClassVar[bool] = False

    def __init__(self, *, batch: int = 256) -> None:
        self.id = "lexical-384@2"
        self.dim = 384
        self.batch = batch

    def embed(self, texts: Sequence[str], purpose: Purpose) -> list[bytes]:
        """A vector for each text, of any length; the purpose makes no difference."""
        return [_embed(text, self.dim) for text in texts]


def _embed(text: str, dim: int) -> bytes:
    sums = [0.0] * dim
    for feature, count in Counter(_features(text)).items():
        place, sign = _place(feature, dim)
        sums[place] += sign * (1 + math.log(count)) * (STOP_WEIGHT if feature in STOP_WORDS else 1)
    vector = np.array(sums)
    try:
        return pack(vector)
    except ValueError:  # no words at all, or words that cancel out to the last
        vector[_place("", dim)[0]] = 1
        return pack(vector)


def _features(text: str) -> Iterator[str]:
    for token in tokenize(text):
        yield token
        if len(token) > 2 and not token.isascii() and "\u3400" <= token[0] <= "\u9fff":
            yield from (token[at : at + 2] for at in range(len(token) - 1))


def _place(feature: str, dim: int) -> tuple[int, int]:
    code = xxhash.xxh3_64_intdigest(feature.encode("utf-8"))
    return code % dim, 1 if code >> 63 else -1
