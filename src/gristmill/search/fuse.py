"""Two legs to one order. Pure.

Word scores (BM25) have no upper bound and cosines of most models lie in a narrow band, so neither can be added as it
is. Both are brought to 0..1 within the candidates of one search: words by the best of them, vectors by the band between
the best and the ordinary, which is the last that the vector leg itself put forward.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gristmill.ports.docstore import Hit

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Fused(Generic[K]):
    """A candidate with its fused score and each leg's part in it, all 0..1; ``cosine`` as the store measured it."""

    key: K
    score: float
    term_score: float
    vector_score: float
    cosine: float


def fuse(terms: Mapping[K, float], cosines: Mapping[K, float], *, floor: float, weight: float) -> list[Fused[K]]:
    """All candidates of either leg, best first.

    ``terms`` and ``cosines`` are the legs' own scores after the missing ones were filled in; who is in one of them only
    has nothing of the other (0). ``floor`` is the cosine that counts as nothing. ``weight`` is the vectors' part. Of
    equal scores the one with more in words comes first, for words are the surer sign; then the one that was given first.
    """
    best_term = max(terms.values(), default=0.0)
    best_cosine = max(cosines.values(), default=0.0)
    fused = []
    for key in dict.fromkeys([*terms, *cosines]):
        term = _part(terms.get(key, 0.0), 0.0, best_term)
        cosine = cosines.get(key)
        vector = 0.0 if cosine is None else _part(cosine, floor, best_cosine)
        score = (1 - weight) * term + weight * vector
        fused.append(Fused(key, score, term, vector, 0.0 if cosine is None else cosine))
    return sorted(fused, key=lambda one: (-one.score, -one.term_score))


def floor_of(hits: Sequence[Hit], depth: int) -> float:
    """The cosine that counts as nothing: that of the ``depth``-th neighbour, an ordinary chunk to this question."""
    ranked = sorted((hit.score for hit in hits), reverse=True)[:depth]
    return ranked[-1] if ranked else 0.0


def _part(score: float, floor: float, best: float) -> float:
    """Where the score lies between nothing (0) and the best (1)."""
    if best <= floor:  # nothing stands out: there is one candidate, or all are alike
        return 1.0 if score >= best > 0 else 0.0
    return min(1.0, max(0.0, (score - floor) / (best - floor)))
