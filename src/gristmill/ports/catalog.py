"""Catalog: the record of intent. Datasets, documents, runs, parts, generations, the operation log.

Every method is one transaction. Times are seconds since the epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from gristmill.ports.docstore import Flaw, Space, View


class RunState(StrEnum):
    """Where a run is. The last three are final (P2)."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class GenState(StrEnum):
    """pending: being written; live: readers see it; retired: replaced, to be swept; dead: never to be seen."""

    PENDING = "pending"
    LIVE = "live"
    RETIRED = "retired"
    DEAD = "dead"


class Failure(msgspec.Struct, frozen=True):
    """Why a run failed (P10). ``final`` failures are not repeated for the same bytes and settings."""

    stage: str
    type: str
    message: str
    final: bool = True


class Dataset(msgspec.Struct, frozen=True):
    """A knowledge base. Embedder and dimension are frozen once set (``embedder`` is the Embedder's id)."""

    id: str
    tenant: str
    name: str
    embedder: str
    dim: int
    settings: dict[str, Any]
    created: float
    documents: int = 0
    chunks: int = 0


class Document(msgspec.Struct, frozen=True):
    """A document. ``source`` is its identity inside the dataset (an absolute path, an upload's id).

    ``state`` and ``failure`` are those of its latest run; chunks, tokens and pages those of what readers see (``live``).
    """

    id: str
    tenant: str
    dataset_id: str
    dataset: str
    source: str
    name: str
    digest: str
    size: int
    format: str
    run_id: str
    state: RunState
    want: int
    live: int | None
    chunks: int
    tokens: int
    pages: int
    created: float
    updated: float
    seconds: float = 0.0
    failure: Failure | None = None


class Run(msgspec.Struct, frozen=True):
    """One ingestion of one document with one set of settings."""

    id: str
    tenant: str
    dataset_id: str
    document_id: str
    ver: int
    gen: int
    digest: str
    format: str
    settings: dict[str, Any]
    state: RunState
    planned: bool
    parts: int
    parts_done: int
    progress: float
    chunks: int  # of the parts that are done
    created: float
    started: float | None = None
    ended: float | None = None
    failure: Failure | None = None


class Part(msgspec.Struct, frozen=True):
    """A piece of a run, one task. ``first``/``last``: the pages or the window that it is about (None: all).

    ``chunk_first``/``chunk_last``: the slice of the piece's chunks that this part embeds and writes (None: all). A part
    whose slice is empty only reads its pages, for the part that makes chunks of all pages.
    """

    run_id: str
    number: int
    first: int | None = None
    last: int | None = None
    chunk_first: int | None = None
    chunk_last: int | None = None
    done: bool = False
    progress: float = 0.0
    chunks: int = 0
    tokens: int = 0
    pages: int = 0

    @property
    def only_reads(self) -> bool:
        """Whether it makes no chunks."""
        return self.chunk_last == 0


class Submission(msgspec.Struct, frozen=True):
    """The answer to a submit. ``fresh`` is False where the same content with the same settings is there or on its way."""

    document: Document
    run: Run
    fresh: bool


class LogLine(msgspec.Struct, frozen=True):
    """A line of a run's log."""

    at: float
    stage: str
    message: str
    part: int | None = None


class Operation(msgspec.Struct, frozen=True):
    """A row of the operation log: one ended run."""

    id: int
    run_id: str
    document_id: str
    document: str
    dataset_id: str
    state: RunState
    started: float
    seconds: float
    chunks: int
    tokens: int
    failure: Failure | None = None


class Released(msgspec.Struct, frozen=True):
    """Something that was given up: a ``blob`` by its digest, or a ``room`` by its dataset's id."""

    tenant: str
    kind: str
    name: str
    at: float


class NewDocument(msgspec.Struct, frozen=True):
    """What is submitted."""

    source: str
    name: str
    digest: str
    size: int
    format: str


class Catalog(ABC):
    """Raises NotFound, Conflict, StoreUnavailable. Every read takes a tenant or an id that was given out with one (P12)."""

    # -- datasets
    @abstractmethod
    def create_dataset(self, tenant: str, name: str, *, embedder: str, dim: int, settings: dict[str, Any]) -> Dataset:
        """The dataset of that name, made if there is none. An existing one keeps its embedder."""

    @abstractmethod
    def dataset(self, tenant: str, name_or_id: str) -> Dataset:
        """The dataset of that name, or else of that id, with its counts."""

    @abstractmethod
    def space(self, tenant: str, dataset_id: str) -> Space:
        """Where a dataset's chunks are: a look-up that costs the same however large the dataset is."""

    @abstractmethod
    def tenants(self) -> list[str]:
        """Everyone who has a dataset. For upkeep only."""

    @abstractmethod
    def datasets(self, tenant: str) -> list[Dataset]: ...

    @abstractmethod
    def delete_dataset(self, tenant: str, dataset_id: str) -> None:
        """Forget the dataset with its documents, runs and generations. Runs that have not ended are logged as cancelled."""

    # -- documents and runs
    @abstractmethod
    def submit(
        self,
        dataset: Dataset,
        document: NewDocument,
        *,
        settings: dict[str, Any],
        settings_digest: str,
        parts: Sequence[Part] | None,
        failure: Failure | None = None,
        again: bool = False,
    ) -> Submission:
        """Document, run, pending generation and (if given) parts, in one transaction.

        The same content and settings as the document's latest run are that run, unless it was cancelled, or failed with a
        failure that is not final, or ``again``. A new run supersedes one that has not ended (cancelled, its generation
        dead). ``parts=None``: a plan task will add them. With ``failure`` the run is recorded as failed at once (a format
        nobody reads, an empty file).
        """

    @abstractmethod
    def document(self, tenant: str, document_id: str) -> Document: ...

    @abstractmethod
    def find_document(self, dataset_id: str, source: str) -> Document | None: ...

    @abstractmethod
    def settled(self, dataset_id: str, settings_digest: str) -> dict[str, Document]:
        """Documents by source whose latest run had these settings and ended for good: done, or failed for a final reason."""

    @abstractmethod
    def documents(
        self, tenant: str, dataset_id: str | None = None, *, limit: int | None = None, offset: int = 0
    ) -> list[Document]: ...

    @abstractmethod
    def delete_document(self, tenant: str, document_id: str) -> None:
        """Forget the document; its live generation is retired, its running run cancelled."""

    @abstractmethod
    def run(self, run_id: str) -> Run: ...

    @abstractmethod
    def runs(self, run_ids: Sequence[str]) -> list[Run]:
        """These runs, in any order; unknown ids are left out."""

    @abstractmethod
    def unfinished(self, *, limit: int = 1000, after: Run | None = None) -> list[Run]:
        """Runs that have not ended, oldest first; with ``after`` those that come after it in this order."""

    @abstractmethod
    def start(self, run_id: str) -> Run:
        """Mark a queued run running (the first part does). Raises GenerationClosed when it has ended or is superseded."""

    @abstractmethod
    def plan(self, run_id: str, parts: Sequence[Part]) -> list[Part]:
        """Set the parts of a run that has none, once. A second call returns the parts that stand."""

    @abstractmethod
    def split(self, run_id: str, number: int, parts: Sequence[Part]) -> list[Part]:
        """Replace an unfinished part by several, once: ``parts[0]`` keeps the number, the others get new ones.

        They are windows of the whole document, or slices of the chunks of one part: a part is cut into windows before it
        is cut into slices. Returns the parts that stand in its place, in reading order.
        """

    @abstractmethod
    def parts(self, run_id: str) -> list[Part]:
        """The parts of a run by number; none where the run is unknown."""

    @abstractmethod
    def parts_of(self, run_ids: Sequence[str]) -> dict[str, list[Part]]:
        """The parts of several runs by number; a run without any has an empty list."""

    @abstractmethod
    def part(self, run_id: str, number: int) -> Part: ...

    @abstractmethod
    def report(self, run_id: str, number: int, progress: float) -> float:
        """Keep a part's progress (0..1, never falling). Returns the run's. Nothing changes once the run has ended."""

    @abstractmethod
    def finish_part(self, run_id: str, number: int, *, chunks: int, tokens: int, pages: int) -> int:
        """Mark a part done (twice is once). Returns how many parts are not done yet.

        Raises GenerationClosed when the run has failed or was cancelled, NotFound for a part that it does not have.
        """

    @abstractmethod
    def log(self, run_id: str, lines: Sequence[LogLine]) -> None:
        """Append to the run's log."""

    @abstractmethod
    def logs(self, run_id: str) -> list[LogLine]: ...

    # -- the ends of a run
    @abstractmethod
    def commit(self, run_id: str, *, chunks: int) -> bool:
        """Make the run's generation live and retire the one before, if nothing overtook it and ``chunks`` is what the parts
        made together; else nothing changes except that a superseded generation is dead: False where the run has ended
        otherwise or has open parts, Conflict where the counts differ or there is no chunk at all. Twice is once."""

    @abstractmethod
    def fail(self, run_id: str, failure: Failure) -> bool:
        """The run failed; its generation is dead. False if it had ended already."""

    @abstractmethod
    def cancel(self, run_id: str) -> bool:
        """The run is cancelled; its generation is dead. False if it had ended already."""

    @abstractmethod
    def operations(self, tenant: str, dataset_id: str | None = None, *, limit: int = 100) -> list[Operation]: ...

    # -- generations
    @abstractmethod
    def writable(self, gen: int) -> bool:
        """Whether this generation may still be written: pending, and its run not overtaken."""

    @abstractmethod
    def view(self, dataset_id: str) -> View:
        """What readers of this dataset may see now."""

    @abstractmethod
    def sweepable(self, *, grace: float) -> list[tuple[Dataset, list[int]]]:
        """Dead generations, and retired ones older than ``grace`` seconds, by dataset."""

    @abstractmethod
    def swept(self, gens: Sequence[int], *, keep_dead: float) -> None:
        """Forget swept generations; dead ones stay hidden for ``keep_dead`` seconds, for a zombie may still write.

        A generation that is pending or live is left alone.
        """

    @abstractmethod
    def live(self, dataset_id: str) -> dict[int, tuple[str, int]]:
        """Live generations: gen -> (document id, chunks)."""

    @abstractmethod
    def generations(self, dataset_id: str) -> dict[int, GenState]:
        """All known generations of a dataset."""

    @abstractmethod
    def blobs(self) -> set[tuple[str, str]]:
        """(tenant, digest) of all blobs that a document or an unfinished run needs."""

    @abstractmethod
    def needs_blob(self, tenant: str, digest: str) -> bool:
        """Whether a document or an unfinished run of this tenant needs this blob now."""

    @abstractmethod
    def released(self) -> list[Released]:
        """What deleted or changed documents and deleted datasets have given up, and no sweep has seen to since."""

    @abstractmethod
    def seen_to(self, done: Sequence[Released]) -> None:
        """Forget what a sweep has seen to, unless it was given up anew meanwhile."""

    @abstractmethod
    def check(self) -> list[Flaw]:
        """Damage inside the catalog itself."""

    # -- files seen before
    @abstractmethod
    def seen_files(self, dataset_id: str) -> dict[str, tuple[int, int, str]]:
        """path -> (size, mtime in ns, digest) of files as they were when last ingested: saves reading them again."""

    @abstractmethod
    def remember_files(self, dataset_id: str, files: dict[str, tuple[int, int, str]]) -> None:
        """Keep how files looked, in the place of what was kept of them before."""

    def close(self) -> None:  # noqa: B027
        """Give up connections."""
