"""The generation protocol with real processes: writers that overtake, cancel, repeat and die, readers, and a janitor.

Readers see every document whole and of one version, from its first commit on; after the last sweep nothing is left over.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from gristmill.base.clock import SystemClock
from gristmill.catalogs.sql.catalog import SqlCatalog
from gristmill.docstores.sqlite import SqliteDocStore
from gristmill.ports.catalog import Catalog, Dataset, Document, Failure
from gristmill.ports.docstore import DocStore, Filter, Space, View
from pipeline import writing
from pipeline.writing import DIM, SOURCES, TENANT, VECTOR

GRACE = 0.5  # seconds; what a slower reader saw proves nothing, and is not counted
ROUNDS = 25
WRITERS = 3


class Place:
    """The stores, and what was seen in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalog: Catalog = SqlCatalog(f"sqlite:///{root / 'catalog.db'}")
        self.store: DocStore = SqliteDocStore(root / "kb")
        self.dataset: Dataset = self.catalog.create_dataset(TENANT, "demo", embedder="e", dim=DIM, settings={})
        self.space = Space(TENANT, self.dataset.id, DIM)
        self.over = Event()
        self.wrong: list[str] = []
        self.looks = 0

    def close(self) -> None:
        self.store.close()
        self.catalog.close()

    # -- readers
    def read(self) -> None:
        """Look at all documents until it is over; what has been there once must always be."""
        clock, known = SystemClock(), set[str]()
        while not self.over.is_set():
            documents = {one.id for one in self.catalog.documents(TENANT) if one.live is not None}
            began = clock.monotonic()
            view = self.catalog.view(self.dataset.id)
            for wrong in [*self._by_document(view, known), *self._by_leg(view)]:
                if clock.monotonic() - began < GRACE / 2:
                    self.wrong.append(wrong)
            known |= documents
            self.looks += 1
            self.over.wait(0.005)

    def _by_document(self, view: View, known: set[str]) -> Iterator[str]:
        for document_id in known:
            found = self.store.chunks(self.space, view, document_id)
            if not found:
                yield f"{document_id} has vanished"
            elif len({one.chunk_id for one in found}) != len(found):
                yield f"{document_id} has a chunk twice"
            else:
                yield from _half(document_id, Counter(one.content.partition(":")[0] for one in found))

    def _by_leg(self, view: View) -> Iterator[str]:
        """A vector search finds whole documents, too."""
        hits = self.store.find_vector(self.space, view, VECTOR, 10_000, Filter())
        records = self.store.get(self.space, [hit.rid for hit in hits])
        if len(records) != len(hits):
            yield "found records are not there"
        by_document: dict[str, Counter[str]] = {}
        for one in records.values():
            by_document.setdefault(one.document_id, Counter())[one.content.partition(":")[0]] += 1
        for document_id, versions in by_document.items():
            yield from _half(document_id, versions)

    # -- the janitor
    def sweep(self, grace: float) -> int:
        removed = 0
        for _, gens in self.catalog.sweepable(grace=grace):
            while gone := self.store.sweep(self.space, gens, 50):
                removed += gone
            self.catalog.swept(gens, keep_dead=3600)
        return removed

    def keep_clean(self) -> int:
        removed = 0
        while not self.over.is_set():
            removed += self.sweep(GRACE)
            self.over.wait(0.05)  # leave the others some of the two cores
        return removed

    # -- writers
    def start(self, seed: int, rounds: int) -> subprocess.Popen[str]:
        command = [sys.executable, writing.__file__, str(self.root), str(seed), str(rounds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def write(self, seed: int) -> Counter[str]:
        with self.start(seed, ROUNDS) as process:
            assert process.stdout is not None
            told = Counter(line.strip() for line in process.stdout)
        assert process.returncode == 0
        return told

    def die(self, seed: int) -> int:
        """Writers that are killed somewhere, one after the other."""
        killed = 0
        for number in range(2):
            with self.start(seed + number, 10_000) as process:
                assert process.stdout is not None
                for n, _ in enumerate(process.stdout):
                    if n > seed % 7 + number * 5:
                        process.kill()
                        killed += 1
                        break
        return killed


def _half(document_id: str, versions: Counter[str]) -> Iterator[str]:
    if len(versions) != 1:
        yield f"{document_id} is a mixture: {versions}"
    for version, count in versions.items():
        if count != writing.size(int(version)):
            yield f"{document_id} is half there: {count} of version {version}"


@pytest.fixture
def place(tmp_path: Path, migrated: Path) -> Iterator[Place]:
    (tmp_path / "catalog.db").write_bytes(migrated.read_bytes())
    place = Place(tmp_path)
    yield place
    place.close()


def test_readers_see_whole_documents_whatever_writers_do(place: Place) -> None:
    with ThreadPoolExecutor(WRITERS + 4) as pool:
        cleaning = pool.submit(place.keep_clean)
        reading = [pool.submit(place.read) for _ in range(2)]
        dying = pool.submit(place.die, 1000)
        told: Counter[str] = sum(pool.map(place.write, range(WRITERS)), Counter())
        killed = dying.result()
        place.over.set()
        removed = cleaning.result()
        for one in reading:
            one.result()
    assert place.wrong == []
    assert (killed, told["committed"] > 10, told["closed"] + told["overtaken"] > 0) == (2, True, True), told
    assert place.looks > 10
    assert removed > 0

    for run in place.catalog.unfinished():  # of the dead; a reconciler would have them done
        place.catalog.fail(run.id, Failure("run", "Killed", "its writer died", final=False))
    place.sweep(0.0)
    documents = place.catalog.documents(TENANT)
    assert len(documents) == SOURCES
    shown = {one.live: one.chunks for one in documents if one.live is not None}
    assert place.store.generations(place.space) == shown
    assert place.catalog.check() == []
    assert place.store.check(place.space) == []
    for document in documents:
        _is_whole(place, document)


def _is_whole(place: Place, document: Document) -> None:
    found = place.store.chunks(place.space, place.catalog.view(place.dataset.id), document.id)
    assert len(found) == document.chunks == writing.size(int(found[0].content.partition(":")[0]))


def test_one_run_done_by_two_at_once_is_committed_once_and_whole(place: Place) -> None:
    """A task that was delivered twice: both write the same records of the same generation."""
    writers = [writing.Writer(place.root, 7) for _ in range(2)]  # one seed: they do the same
    for _ in range(25):
        with ThreadPoolExecutor(2) as pool:
            told = set(pool.map(writing.Writer.round, writers))
        assert told <= {"same", "committed", "closed", "overtaken"}
    place.sweep(0.0)
    assert place.catalog.check() == []
    assert place.store.check(place.space) == []
    for document in place.catalog.documents(TENANT):
        if document.live is not None:
            _is_whole(place, document)
