"""What is asked: the request, checked and normalised. Pure."""

from __future__ import annotations

import unicodedata
from typing import Literal

import msgspec

from gristmill.base.errors import QueryError
from gristmill.ports.docstore import Filter
from gristmill.search.tokens import query_terms

Legs = Literal["hybrid", "terms", "vector"]

MAX_QUERY = 32_000  # characters
MAX_TERMS = 256  # the first different words of a question that are looked up; the vector knows the rest
MAX_TOP_K = 1_000
DEPTH = 64  # candidates of each leg
# The vectors' part in a hybrid score where the request does not say: the source's vector_similarity_weight. On each set of
# the retrieval benchmark both legs together beat either alone with it.
VECTOR_WEIGHT = 0.3


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A search in datasets of one tenant (names or ids; all of them built with one embedder).

    ``vector_weight``: what part of a hybrid score comes from the vector leg, 0..1. ``threshold``: hits below this score
    (0..1, relative to the best of this search) are left out. ``parents``: a parent stands in the place of its children
    that were found.
    """

    tenant: str
    datasets: tuple[str, ...]
    query: str
    top_k: int = 5
    vector_weight: float = VECTOR_WEIGHT
    threshold: float = 0.0
    where: Filter = Filter()
    highlight: bool = True
    legs: Legs = "hybrid"
    parents: bool = True


class Query(msgspec.Struct, frozen=True):
    """A request as the legs read it."""

    text: str
    terms: tuple[str, ...]
    depth: int


def understand(request: SearchRequest) -> Query:
    """The request normalised. Raises QueryError, which names the value that is wrong."""
    text = " ".join(unicodedata.normalize("NFKC", request.query).split())
    if not text:
        raise QueryError("the query is empty: give at least one word")
    if len(text) > MAX_QUERY:
        raise QueryError(f"the query has {len(text):,} characters; at most {MAX_QUERY:,} are possible: shorten it")
    _check(request)
    return Query(text, tuple(query_terms(text)[:MAX_TERMS]), max(DEPTH, request.top_k))


def _check(request: SearchRequest) -> None:
    if not request.datasets:
        raise QueryError("the search names no dataset")
    if not 1 <= request.top_k <= MAX_TOP_K:
        raise QueryError(f"top_k is {request.top_k}; it must be 1 to {MAX_TOP_K}")
    if not 0 <= request.vector_weight <= 1:
        raise QueryError(f"vector_weight is {request.vector_weight}; it must be 0 to 1")
    if not 0 <= request.threshold <= 1:
        raise QueryError(f"threshold is {request.threshold}; it must be 0 to 1")
    if request.legs not in ("hybrid", "terms", "vector"):
        raise QueryError(f"legs is {request.legs!r}; it must be hybrid, terms or vector")
