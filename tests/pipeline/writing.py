"""A process that ingests without an engine: it takes part in the generation protocol, in bad company. See test_protocol."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

from gristmill.base.errors import GenerationClosed, NotFound
from gristmill.catalogs.sql.catalog import SqlCatalog
from gristmill.docstores.sqlite import SqliteDocStore
from gristmill.pipeline import index
from gristmill.ports.catalog import Dataset, NewDocument, Part
from gristmill.ports.docstore import Record, Space
from gristmill.search.vectors import pack

TENANT = "t"
DIM = 4
SOURCES = 5
VERSIONS = 6
VECTOR = pack([1, 2, 3, 4])


def size(version: int) -> int:
    """How many chunks a version of any document has."""
    return 3 + version * 7


def records(gen: int, document_id: str, version: int) -> list[Record]:
    count = size(version)
    return [
        Record(
            gen=gen,
            part=0,
            ord=n,
            chunk_id=index.chunk_id(document_id, f"{version} {n}"),
            document_id=document_id,
            document="a",
            content=f"{version}:{n}:{count}",
            vector=VECTOR,
        )
        for n in range(count)
    ]


class Writer:
    """Submits versions of documents, writes them batch by batch, now and then cancels or deletes."""

    def __init__(self, root: Path, seed: int) -> None:
        self._random = Random(seed)
        self._catalog = SqlCatalog(f"sqlite:///{root / 'catalog.db'}")
        self._store = SqliteDocStore(root / "kb")
        self._dataset: Dataset = self._catalog.create_dataset(TENANT, "demo", embedder="e", dim=DIM, settings={})
        self._space = Space(TENANT, self._dataset.id, DIM)

    def round(self) -> str:
        """One document; how it came out."""
        source, version = f"/{self._random.randrange(SOURCES)}", self._random.randrange(VERSIONS)
        made = self._catalog.submit(
            self._dataset,
            NewDocument(source, "a", f"v{version}", 1, "text"),
            settings={},
            settings_digest="s",
            parts=[Part("", 0)],
            again=self._random.random() < 0.3,
        )
        if made.run.state.final:
            return "same"
        gen, written = made.run.gen, records(made.run.gen, made.document.id, version)
        try:
            self._catalog.start(made.run.id)
            for first in range(0, len(written), 5):
                index.write(self._store, self._space, written[first : first + 5], self._catalog.writable)
                if self._random.random() < 0.02:
                    self._catalog.cancel(made.run.id)
            self._store.trim(self._space, gen, 0, len(written))
            count = self._store.seal(self._space, gen)
            self._catalog.finish_part(made.run.id, 0, chunks=len(written), tokens=1, pages=1)
            return "committed" if self._catalog.commit(made.run.id, chunks=count) else "overtaken"
        except (GenerationClosed, NotFound):
            return "closed"


def main() -> None:
    writer = Writer(Path(sys.argv[1]), int(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        sys.stdout.write(f"{writer.round()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
