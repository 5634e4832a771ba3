"""Search: a question to hits, over one dataset or several."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import EmbedderChanged, QueryError
from gristmill.base.logs import get_logger
from gristmill.ports.catalog import Dataset
from gristmill.ports.docstore import DocStore, Hit, Record, Space, View
from gristmill.ports.document import Box
from gristmill.ports.model import Embedder
from gristmill.search.fuse import Fused, floor_of, fuse
from gristmill.search.highlight import Span, mark, matches
from gristmill.search.query import Query, SearchRequest, understand

log = get_logger(__name__)

Key = tuple[int, int]  # which of the searched rooms, rid


class Reader(Protocol):
    """What a search needs of the catalog."""

    def dataset(self, tenant: str, name_or_id: str) -> Dataset: ...
    def view(self, dataset_id: str) -> View: ...


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was found.

    ``score``, ``term_score`` and ``vector_score`` are 0..1 within this search; ``cosine`` is the plain similarity of
    question and chunk (0 without a vector leg). ``matches`` are the ranges of ``content`` that match a word of the
    question; ``highlight`` is the content as HTML, escaped, with those ranges in ``<mark>`` ("" if not asked for).

    Where a parent stands in the place of its children, text, heading and ids are the parent's, scores those of the best
    child, pages and positions those of all children that were found; ``children`` are their ids, best first. ``record``
    is what is stored of the chunk itself.
    """

    chunk_id: str
    document_id: str
    document: str
    dataset_id: str
    dataset: str
    content: str
    score: float
    term_score: float
    vector_score: float
    cosine: float
    kind: str
    pages: list[int]
    positions: list[Box]
    path: list[str]
    tags: list[str]
    asset: str
    matches: list[Span]
    highlight: str
    children: list[str]
    record: Record


@dataclass(frozen=True)
class _Place:
    """A place in the list of hits: whose text stands there, and who was found, best first."""

    shown: Key
    found: list[Fused[Key]]


@dataclass(frozen=True)
class _Room:
    """One dataset, as it is read in one search."""

    dataset: Dataset
    space: Space
    view: View


@dataclass
class _Found:
    """What the legs said: scores by key."""

    terms: dict[Key, float] = field(default_factory=dict)
    cosines: dict[Key, float] = field(default_factory=dict)
    floor: float = 0.0


class SearchService:
    """Searches datasets. Synchronous: async faces call it in a thread. Safe for several threads at once.

    ``embedder_for`` gives the embedder that a dataset was built with. Readers see whole generations only (P4) and only
    datasets of the tenant who asks (P12). Vectors of the latest questions are kept in memory.
    """

    def __init__(
        self,
        catalog: Reader,
        docstore: DocStore,
        embedder_for: Callable[[Dataset], Embedder],
        *,
        remembered: int = 256,
        clock: Clock | None = None,
    ) -> None:
        self._catalog = catalog
        self._docstore = docstore
        self._embedder_for = embedder_for
        self._vectors = _Recent(remembered)
        self._clock = clock or SystemClock()

    def search(self, request: SearchRequest) -> list[SearchHit]:
        """The best hits, best first; fewer than ``top_k`` where there are no more.

        Raises QueryError where the request is wrong, NotFound where the tenant has no such dataset, EmbedderChanged where
        the embedder is not the one that the dataset was built with, and what the stores and the model raise.
        """
        began = self._clock.monotonic()
        query = understand(request)
        rooms = self._rooms(request)
        embedder = None if request.legs == "terms" else self._embedder(rooms)
        found = self._find(rooms, request, query, self._vector(embedder, query.text) if embedder else None)
        order = fuse(found.terms, found.cosines, floor=found.floor, weight=_weight(request))
        places = self._places(rooms, [one for one in order if one.score >= request.threshold], request)
        hits = self._hits(rooms, places[: request.top_k], request, query)
        seconds = self._clock.monotonic() - began
        log.debug("searched", legs=request.legs, candidates=len(order), hits=len(hits), seconds=round(seconds, 4))
        return hits

    def _rooms(self, request: SearchRequest) -> list[_Room]:
        found = {one.id: one for one in (self._catalog.dataset(request.tenant, name) for name in request.datasets)}
        return [
            _Room(dataset, Space(dataset.tenant, dataset.id, dataset.dim), self._catalog.view(dataset.id))
            for dataset in found.values()
        ]

    def _embedder(self, rooms: Sequence[_Room]) -> Embedder:
        first = rooms[0].dataset
        for room in rooms[1:]:
            if (room.dataset.embedder, room.dataset.dim) != (first.embedder, first.dim):
                raise QueryError(
                    f"datasets {first.name!r} ({first.embedder}) and {room.dataset.name!r} ({room.dataset.embedder}) were"
                    " built with different embedders, so their vectors cannot be compared: search them one at a time,"
                    " or by words only (legs: terms)"
                )
        embedder = self._embedder_for(first)
        if (embedder.id, embedder.dim) != (first.embedder, first.dim):
            raise EmbedderChanged(
                f"dataset {first.name!r} was built with embedder {first.embedder} ({first.dim} dimensions), but"
                f" {embedder.id} ({embedder.dim}) is configured: configure the first again, search by words only"
                " (legs: terms), or ingest the documents into a new dataset"
            )
        return embedder

    def _vector(self, embedder: Embedder, text: str) -> bytes:
        key = (embedder.id, text)
        vector = self._vectors.get(key)
        if vector is None:
            vector = embedder.embed([text], "query")[0]
            self._vectors.put(key, vector)
        return vector

    def _find(self, rooms: Sequence[_Room], request: SearchRequest, query: Query, vector: bytes | None) -> _Found:
        """Each leg finds its own candidates; then each candidate gets the score of the other leg, too."""
        found = _Found()
        neighbours: list[Hit] = []
        for number, room in enumerate(rooms):
            by_words, by_vector = self._legs(room, request, query, vector)
            neighbours += by_vector
            terms = {hit.rid: hit.score for hit in by_words}
            cosines = {hit.rid: hit.score for hit in by_vector}
            if request.legs != "vector" and query.terms:
                terms |= self._docstore.score_terms(room.space, query.terms, sorted(cosines.keys() - terms.keys()))
            if vector is not None:
                cosines |= self._docstore.score_vector(room.space, vector, sorted(terms.keys() - cosines.keys()))
            found.terms |= {(number, rid): terms[rid] for rid in sorted(terms)}
            found.cosines |= {(number, rid): cosines[rid] for rid in sorted(cosines)}
        found.floor = floor_of(neighbours, query.depth)
        return found

    def _legs(
        self, room: _Room, request: SearchRequest, query: Query, vector: bytes | None
    ) -> tuple[list[Hit], list[Hit]]:
        store, where = self._docstore, request.where
        by_words: list[Hit] = []
        by_vector: list[Hit] = []
        if request.legs != "vector" and query.terms:
            by_words = store.find_terms(room.space, room.view, query.terms, query.depth, where)
        if vector is not None:
            by_vector = store.find_vector(room.space, room.view, vector, query.depth, where)
        return by_words, by_vector

    def _places(self, rooms: Sequence[_Room], order: Sequence[Fused[Key]], request: SearchRequest) -> list[_Place]:
        """Each hit with a place of its own, or children of one parent together in the place of the best."""
        above: dict[Key, Key] = {}
        if request.parents:
            for number, room in enumerate(rooms):
                rids = [one.key[1] for one in order if one.key[0] == number]
                for rid, parent in self._docstore.parents(room.space, rids).items():
                    above[number, rid] = (number, parent)
        places: dict[Key, _Place] = {}
        for one in order:
            shown = above.get(one.key, one.key)
            places.setdefault(shown, _Place(shown, [])).found.append(one)
        return list(places.values())

    def _hits(
        self, rooms: Sequence[_Room], places: Sequence[_Place], request: SearchRequest, query: Query
    ) -> list[SearchHit]:
        records: dict[Key, Record] = {}
        wanted = {key for place in places for key in (place.shown, *(one.key for one in place.found))}
        for number, room in enumerate(rooms):
            rids = sorted(rid for at, rid in wanted if at == number)
            if rids:
                records |= {(number, rid): record for rid, record in self._docstore.get(room.space, rids).items()}
        # A record can only be missing when the sweep outran a search that took longer than the grace of its generation.
        there = [place for place in places if all(one.key in records for one in place.found) and place.shown in records]
        return [_hit(rooms[place.shown[0]].dataset, records, place, request, query) for place in there]


def _weight(request: SearchRequest) -> float:
    """The vectors' part in the score."""
    return {"terms": 0.0, "vector": 1.0}.get(request.legs, request.vector_weight)


def _hit(
    dataset: Dataset, records: Mapping[Key, Record], place: _Place, request: SearchRequest, query: Query
) -> SearchHit:
    record, best = records[place.shown], place.found[0]
    found = [records[one.key] for one in place.found]
    spans = matches(record.content, query.terms)
    in_order = sorted(found, key=lambda one: (one.part, one.ord))
    return SearchHit(
        chunk_id=record.chunk_id,
        document_id=record.document_id,
        document=record.document,
        dataset_id=dataset.id,
        dataset=dataset.name,
        content=record.content,
        score=best.score,
        term_score=best.term_score,
        vector_score=best.vector_score,
        cosine=best.cosine,
        kind=record.kind,
        pages=sorted({page for one in found for page in one.pages}),
        positions=list(dict.fromkeys(box for one in in_order for box in one.boxes)),
        path=record.path,
        tags=record.tags,
        asset=record.asset,
        matches=spans,
        highlight=mark(record.content, spans) if request.highlight else "",
        children=[] if best.key == place.shown else [one.chunk_id for one in found],
        record=record,
    )


class _Recent:
    """The vectors of the latest questions."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str]) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, str], vector: bytes) -> None:
        with self._lock:
            self._kept[key] = vector
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
