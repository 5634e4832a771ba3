"""Fakes: real enough to be talked to, small enough to be read."""

from __future__ import annotations

import base64
import math
import operator
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

import msgspec

from gristmill.base.errors import Conflict, NotFound
from gristmill.base.ids import digest
from gristmill.ports.catalog import Dataset
from gristmill.ports.docstore import Condition, DocStore, Filter, Flaw, Hit, Record, Space, View
from gristmill.providers.lexical import LexicalEmbedder
from gristmill.search.tokens import tokenize
from gristmill.search.vectors import unpack
from gristmill.testing.endpoints import FakeEndpoint, Reply, refusal


class FakeCatalog:
    """As much of a catalog as readers need: datasets, and which generations of them are seen."""

    def __init__(self) -> None:
        self._datasets: dict[str, Dataset] = {}
        self._views: dict[str, View] = {}

    def add(self, dataset: Dataset) -> Space:
        """Keep a dataset; everything in it is seen."""
        self._datasets[dataset.id] = dataset
        self._views[dataset.id] = View(hi=10**9, hidden=frozenset())
        return Space(dataset.tenant, dataset.id, dataset.dim)

    def show(self, dataset_id: str, view: View) -> None:
        """From now on readers see this."""
        self._views[dataset_id] = view

    def dataset(self, tenant: str, name_or_id: str) -> Dataset:
        for dataset in self._datasets.values():
            if dataset.tenant == tenant and name_or_id in (dataset.id, dataset.name):
                return dataset
        raise NotFound(f"no dataset {name_or_id!r}")

    def view(self, dataset_id: str) -> View:
        return self._views[dataset_id]


class FakeDocStore(DocStore):
    """Chunks in a dict, every score computed from scratch: slow, and easy to believe."""

    def __init__(self) -> None:
        self._rooms: dict[tuple[str, str], dict[int, Record]] = {}
        self._ids: dict[int, str] = {}  # as they were written
        self._dims: dict[tuple[str, str], int] = {}

    def write(self, space: Space, records: Sequence[Record]) -> None:
        key = (space.tenant, space.dataset_id)
        self._check_dim(key, space.dim, [len(record.vector) // 4 for record in records])
        room = self._rooms.setdefault(key, {})
        for record in records:
            for rid in [rid for rid, old in room.items() if _place(old) == _place(record)]:
                del room[rid]
            rid = max(self._ids, default=0) + 1
            room[rid], self._ids[rid] = record, record.chunk_id

    def trim(self, space: Space, gen: int, part: int, count: int) -> None:
        self._remove(space, lambda one: one.gen == gen and one.part == part and one.ord >= count)

    def seal(self, space: Space, gen: int) -> int:
        seen: Counter[tuple[str, str]] = Counter()
        mine = [(_place(one), rid) for rid, one in self._room(space).items() if one.gen == gen]
        for _, rid in sorted(mine):
            record, base = self._room(space)[rid], self._ids[rid]
            seen[record.document_id, base] += 1
            number = seen[record.document_id, base]
            own = base if number == 1 else digest(base, str(number))
            self._room(space)[rid] = msgspec.structs.replace(record, chunk_id=own)
        return len(mine)

    def find_terms(self, space: Space, view: View, terms: Sequence[str], limit: int, where: Filter) -> list[Hit]:
        return _best(self.score_terms(space, terms, self._seen(space, view, where)), limit)

    def find_vector(self, space: Space, view: View, vector: bytes, limit: int, where: Filter) -> list[Hit]:
        self._check_dim((space.tenant, space.dataset_id), 0, [len(vector) // 4])
        return _best(self.score_vector(space, vector, self._seen(space, view, where)), limit)

    def score_terms(self, space: Space, terms: Sequence[str], rids: Sequence[int]) -> dict[int, float]:
        room = self._room(space)
        words = {rid: Counter(tokenize(" ".join([one.title, *one.path, one.content]))) for rid, one in room.items()}
        rarity = {
            term: math.log(1 + len(room) / (0.5 + sum(term in of for of in words.values()))) for term in set(terms)
        }
        scores = {
            rid: sum(rarity[term] * words[rid][term] / (1 + words[rid][term]) for term in rarity)
            for rid in rids
            if rid in room
        }
        return {rid: score for rid, score in scores.items() if score}

    def score_vector(self, space: Space, vector: bytes, rids: Sequence[int]) -> dict[int, float]:
        room = self._room(space)
        return {rid: float(unpack(room[rid].vector) @ unpack(vector)) for rid in rids if rid in room}

    def get(self, space: Space, rids: Sequence[int]) -> dict[int, Record]:
        room = self._room(space)
        above = self.parents(space, rids)
        names = {rid: room[above[rid]].chunk_id for rid in above}
        return {
            rid: msgspec.structs.replace(room[rid], vector=b"", parent_id=names.get(rid, ""))
            for rid in rids
            if rid in room
        }

    def parents(self, space: Space, rids: Sequence[int]) -> dict[int, int]:
        room = self._room(space)
        places = {_place(one): rid for rid, one in room.items()}
        above = {rid: (room[rid].gen, room[rid].part, room[rid].parent) for rid in rids if rid in room}
        return {rid: places[place] for rid, place in above.items() if place in places}

    def named(self, space: Space, view: View, beginning: str, limit: int = 2) -> list[Record]:
        mine = [
            rid for rid, one in self._room(space).items() if _visible(one, view) and one.chunk_id.startswith(beginning)
        ]
        return sorted(self.get(space, mine).values(), key=lambda one: one.chunk_id)[:limit]

    def chunks(
        self, space: Space, view: View, document_id: str, offset: int = 0, limit: int | None = None
    ) -> list[Record]:
        seen = self.get(space, self._seen(space, view, Filter(documents=(document_id,))))
        ordered = sorted(seen.values(), key=_place)
        return ordered[offset : None if limit is None else offset + limit]

    def generations(self, space: Space) -> dict[int, int]:
        return dict(Counter(one.gen for one in self._room(space).values()))

    def sweep(self, space: Space, gens: Iterable[int], limit: int = 10_000) -> int:
        gone = set(gens)
        left = iter(range(limit))
        return self._remove(space, lambda one: one.gen in gone and next(left, None) is not None)

    def check(self, space: Space) -> list[Flaw]:
        return []

    def drop(self, space: Space) -> None:
        self._rooms.pop((space.tenant, space.dataset_id), None)
        self._dims.pop((space.tenant, space.dataset_id), None)

    def spaces(self) -> list[tuple[str, str]]:
        return sorted(self._rooms)

    def maintain(self, space: Space) -> None:
        """Nothing to do."""

    def _room(self, space: Space) -> dict[int, Record]:
        return self._rooms.get((space.tenant, space.dataset_id), {})

    def _check_dim(self, key: tuple[str, str], dim: int, found: Sequence[int]) -> None:
        wanted = self._dims.setdefault(key, dim) if dim else self._dims.get(key)
        if wanted is not None and any(one != wanted for one in found):
            raise Conflict(f"vectors of {found} numbers, but the dataset's have {wanted}")

    def _seen(self, space: Space, view: View, where: Filter) -> list[int]:
        return [
            rid
            for rid, one in self._room(space).items()
            if _visible(one, view)
            and one.available
            and (not where.documents or one.document_id in where.documents)
            and (not where.kinds or one.kind in where.kinds)
            and (not where.tags or set(one.tags) & set(where.tags))
            and (not where.pages or any(first <= page <= last for page in one.pages for first, last in where.pages))
            and all(_meets(one, condition) for condition in where.conditions)
        ]

    def _remove(self, space: Space, gone: Callable[[Record], bool]) -> int:
        room = self._room(space)
        rids = [rid for rid, one in room.items() if gone(one)]
        for rid in rids:
            del room[rid]
        return len(rids)


def _place(record: Record) -> tuple[int, int, int]:
    return record.gen, record.part, record.ord


def _visible(record: Record, view: View) -> bool:
    return record.gen <= view.hi and record.gen not in view.hidden


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _meets(record: Record, condition: Condition) -> bool:
    """Whether one of the record's fields does."""
    sides = condition.sides()
    mine = [(record.fields[key], side) for key, side in sides.items() if key in record.fields]
    if condition.op == "!=":
        return any(side is None or value != side for value, side in mine)
    return any(side is not None and _COMPARED[condition.op](value, side) for value, side in mine)


def _best(scores: Mapping[int, float], limit: int) -> list[Hit]:
    return [Hit(rid, score) for rid, score in sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:limit]]


@dataclass(frozen=True)
class SeenRequest:
    """A request as the server got it."""

    texts: list[str]
    body: dict[str, Any]
    authorization: str


class FakeOpenAI(FakeEndpoint[SeenRequest]):
    """An OpenAI-compatible embeddings server on the loopback, without a model: vectors are hashed words.

    ``limit``: longer texts are refused as over-long.
    """

    def __init__(
        self, *, api_key: str = "", limit: int | None = None, meeting: threading.Barrier | None = None
    ) -> None:
        super().__init__(api_key=api_key, meeting=meeting)
        self.limit = limit
        self.refuse_long = Reply(400, refusal("This model's maximum context length is exceeded: too many tokens"))
        self._embedder = LexicalEmbedder()

    def understand(self, path: str, headers: Message, raw: bytes) -> SeenRequest | Reply:
        if path != "/v1/embeddings":
            return Reply(404, refusal(f"no route {path}"))
        body = msgspec.json.decode(raw, type=dict[str, Any])
        return SeenRequest(body["input"], body, headers.get("Authorization", ""))

    def refuse(self, asked: SeenRequest) -> Reply | None:
        if self.limit is not None and any(len(text) > self.limit for text in asked.texts):
            return self.refuse_long
        if any(not text for text in asked.texts):
            return Reply(400, refusal("input cannot be an empty string"))
        return None

    def answer(self, asked: SeenRequest) -> dict[str, Any]:
        vectors = [unpack(raw).tolist() for raw in self._embedder.embed(asked.texts, "passage")]
        dimensions = asked.body.get("dimensions") or self._embedder.dim
        encode = as_base64 if asked.body.get("encoding_format") == "base64" else list
        return {
            "object": "list",
            "model": asked.body["model"],
            "data": [
                {"object": "embedding", "index": number, "embedding": encode(vector[:dimensions])}
                for number, vector in enumerate(vectors)
            ],
        }


def as_base64(vector: list[float]) -> str:
    """Floats as the API's base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
