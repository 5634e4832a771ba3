"""DocStore: where chunks live, and the two legs by which they are found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from gristmill.ports.document import Box


class Space(msgspec.Struct, frozen=True):
    """One dataset's room in a doc store."""

    tenant: str
    dataset_id: str
    dim: int


# What ends the key of a field: whole number, number, "YYYY-MM-DD HH:MM:SS", "yes" or "no", text.
FIELD_TYPES = ("_long", "_flt", "_dt", "_kwd", "_raw")
Operator = Literal["=", "!=", "<", "<=", ">", ">="]


class Record(msgspec.Struct):
    """A chunk as stored. ``(gen, part, ord)`` is its technical identity: writing it again overwrites itself.

    ``chunk_id`` is xxh3-128 of document, normalised text and occurrence: stable over re-ingestions. ``content`` is what
    is shown; ``path`` are the headings above it; ``vector`` is ``dim`` little-endian float32, normalised.

    ``parent`` is the ``ord`` of the record, in the same generation and part, that this is a piece of (-1: none);
    ``parent_id`` is that one's ``chunk_id``, which stores fill in when they read. ``title`` is searched like a heading.
    ``fields`` are values of a row: the key is the column's name and one of ``FIELD_TYPES``, which says how it is compared.
    """

    gen: int
    part: int
    ord: int
    chunk_id: str
    document_id: str
    document: str  # name
    content: str
    vector: bytes
    tokens: int = 0
    kind: str = "text"
    pages: list[int] = []
    boxes: list[Box] = []
    path: list[str] = []
    asset: str = ""
    keywords: list[str] = []
    questions: list[str] = []
    tags: list[str] = []
    available: bool = True
    created: float = 0.0
    parent: int = -1
    parent_id: str = ""
    title: str = ""
    fields: dict[str, int | float | str] = {}


class View(msgspec.Struct, frozen=True):
    """What a reader may see: generations up to ``hi`` that are not hidden (P4)."""

    hi: int
    hidden: frozenset[int]


class Condition(msgspec.Struct, frozen=True):
    """What a field of a record is compared with. A record without the column never meets it.

    Fields that are numbers are compared with ``number``, dates with ``moment``, yes and no with ``flag``, texts with
    ``text``; where that is missing, the two are different. Texts are compared character by character, and as larger or
    smaller only where ``number`` is missing: ``"9"`` is not more than 10.
    """

    column: str
    op: Operator
    text: str
    number: int | float | None = None
    moment: str | None = None
    flag: str | None = None

    def sides(self) -> dict[str, int | float | str | None]:
        """By the key of a field: what it is compared with."""
        ordered = self.op not in ("=", "!=")
        text = None if ordered and self.number is not None else self.text
        sides = (self.number, self.number, self.moment, None if ordered else self.flag, text)
        return {self.column + ending: side for ending, side in zip(FIELD_TYPES, sides, strict=True)}


class Filter(msgspec.Struct, frozen=True):
    """Narrows a search. Empty means all; a record meets every one that is given.

    ``documents``, ``kinds``, ``tags``: one of these. ``pages``: on a page of one of these ranges, both ends included.
    ``conditions``: all of them.
    """

    documents: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    pages: tuple[tuple[int, int], ...] = ()
    conditions: tuple[Condition, ...] = ()


class Hit(msgspec.Struct):
    """A candidate of one leg. ``score`` is the leg's own: BM25 (higher is better) or cosine (-1..1)."""

    rid: int
    score: float


class Flaw(msgspec.Struct, frozen=True):
    """Damage inside a store, as a sentence, with the document and the generation that it is in ("" and 0: all of it)."""

    message: str
    document_id: str = ""
    gen: int = 0


class DocStore(ABC):
    """Chunks by dataset. Readers pass a View and see whole generations only; writers append, the sweep deletes.

    A room is found by tenant and dataset; its dimension is that of the first vector written, and others are refused with
    Conflict. Safe for several processes at once. Raises StoreUnavailable when the store does not answer.
    """

    @abstractmethod
    def write(self, space: Space, records: Sequence[Record]) -> None:
        """Store records, all or none of one call. A record with the same (gen, part, ord) is replaced."""

    @abstractmethod
    def trim(self, space: Space, gen: int, part: int, count: int) -> None:
        """Remove the records of this part from ``ord >= count`` on: an earlier attempt may have made more."""

    @abstractmethod
    def seal(self, space: Space, gen: int) -> int:
        """Make all of a generation findable, give repeated texts their own chunk_id by order of (part, ord).

        Called once or several times before the commit. Returns the number of its chunks.
        """

    @abstractmethod
    def find_terms(self, space: Space, view: View, terms: Sequence[str], limit: int, where: Filter) -> list[Hit]:
        """The word leg, best first. ``terms`` are our own tokens; any of them may match."""

    @abstractmethod
    def find_vector(self, space: Space, view: View, vector: bytes, limit: int, where: Filter) -> list[Hit]:
        """The vector leg, best first."""

    @abstractmethod
    def score_terms(self, space: Space, terms: Sequence[str], rids: Sequence[int]) -> dict[int, float]:
        """The word score of given records (missing: no term matches)."""

    @abstractmethod
    def score_vector(self, space: Space, vector: bytes, rids: Sequence[int]) -> dict[int, float]:
        """The cosine of given records."""

    @abstractmethod
    def get(self, space: Space, rids: Sequence[int]) -> dict[int, Record]:
        """Records by rid, without their vectors."""

    @abstractmethod
    def parents(self, space: Space, rids: Sequence[int]) -> dict[int, int]:
        """The rid of the parent of each of these that has one."""

    @abstractmethod
    def named(self, space: Space, view: View, beginning: str, limit: int = 2) -> list[Record]:
        """The records whose ``chunk_id`` begins so, those that searches do not see included, without their vectors."""

    @abstractmethod
    def chunks(
        self, space: Space, view: View, document_id: str, offset: int = 0, limit: int | None = None
    ) -> list[Record]:
        """The visible chunks of a document in reading order, without their vectors."""

    @abstractmethod
    def generations(self, space: Space) -> dict[int, int]:
        """Every generation that has records, with their number (whatever its state)."""

    @abstractmethod
    def sweep(self, space: Space, gens: Iterable[int], limit: int = 10_000) -> int:
        """Delete up to ``limit`` records of these generations. Returns how many; 0 means none are left."""

    @abstractmethod
    def check(self, space: Space) -> list[Flaw]:
        """Damage inside the store itself: index out of step, missing texts or vectors, doubled ids, mixed generations."""

    @abstractmethod
    def drop(self, space: Space) -> None:
        """Remove the dataset's room with all in it."""

    @abstractmethod
    def spaces(self) -> list[tuple[str, str]]:
        """(tenant, dataset_id) of every room that exists."""

    @abstractmethod
    def maintain(self, space: Space) -> None:
        """Checkpoint, merge, compact: called now and then by the janitor."""

    def close(self) -> None:  # noqa: B027
        """Give up connections."""
