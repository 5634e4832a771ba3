"""The catalog in a SQL database: every write is one transaction that holds the lock from its beginning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import NotFound
from gristmill.base.ids import new_id
from gristmill.catalogs.sql import ends, intake
from gristmill.catalogs.sql.checks import check
from gristmill.catalogs.sql.dialect import dialect_for, insert_missing, upsert
from gristmill.catalogs.sql.rows import (
    DATASETS,
    DOCUMENTS,
    operations_of,
    parts_of,
    run_of,
    to_dataset,
    to_document,
    to_operation,
    to_part,
    to_run,
)
from gristmill.catalogs.sql.schema import dataset, document, generation, part, released, run, run_log, seen_file
from gristmill.catalogs.sql.session import Session
from gristmill.ports.catalog import (
    Catalog,
    Dataset,
    Document,
    Failure,
    GenState,
    LogLine,
    NewDocument,
    Operation,
    Part,
    Released,
    Run,
    RunState,
    Submission,
)
from gristmill.ports.docstore import Flaw, Space, View

T = TypeVar("T")
Connection = sa.Connection

_UNFINISHED = run.c.state.in_((RunState.QUEUED.value, RunState.RUNNING.value))
_HIDDEN = [state.value for state in GenState if state is not GenState.LIVE]  # an index finds these, but no "not live"
_NAMES_AT_ONCE = 500  # bound parameters of one statement
_SPACE = sa.select(dataset.c.dim).where(
    dataset.c.id == sa.bindparam("of_dataset"), dataset.c.tenant == sa.bindparam("of_tenant")
)
_WRITABLE = (
    sa.select(generation.c.g)
    .join(document, sa.and_(document.c.id == generation.c.document_id, document.c.want == generation.c.ver))
    .where(generation.c.g == sa.bindparam("of_gen"), generation.c.state == GenState.PENDING.value)
)
_LOG = run_log.insert()


class SqlCatalog(Catalog):
    """Safe for several threads, processes and hosts. Opening brings the tables to this release's revision.

    On a server, moments are the server's own: hosts whose clocks differ agree on them. A ``clock`` that is given takes
    its place. A step that meets no server is repeated for ``patience`` seconds (a few, if not given).
    """

    def __init__(self, url: str, *, clock: Clock | None = None, patience: float | None = None) -> None:
        self._dialect = dialect_for(url)
        self._clock = clock
        self._host_clock = SystemClock()
        self._session = Session(self._dialect, patience)

    def close(self) -> None:
        self._session.close()

    # -- datasets
    def create_dataset(self, tenant: str, name: str, *, embedder: str, dim: int, settings: dict[str, Any]) -> Dataset:
        def step(connection: Connection) -> None:
            taken = sa.select(dataset.c.id).where(dataset.c.tenant == tenant, dataset.c.name == name)
            if connection.execute(taken).first() is None:
                values = {"embedder": embedder, "dim": dim, "settings": settings, "created": self._now(connection)}
                insert_missing(connection, dataset, {"id": new_id(), "tenant": tenant, "name": name, **values})

        self._write(step)
        return self.dataset(tenant, name)

    def dataset(self, tenant: str, name_or_id: str) -> Dataset:
        either = sa.or_(dataset.c.name == name_or_id, dataset.c.id == name_or_id)
        found = self._rows(DATASETS.where(dataset.c.tenant == tenant, either))
        if not found:
            raise NotFound(f"no dataset {name_or_id!r}")
        by_name = [row for row in found if row["name"] == name_or_id]
        return to_dataset((by_name or found)[0])

    def space(self, tenant: str, dataset_id: str) -> Space:
        found = self._rows(_SPACE, {"of_dataset": dataset_id, "of_tenant": tenant})
        if not found:
            raise NotFound(f"no dataset {dataset_id!r}")
        return Space(tenant, dataset_id, found[0]["dim"])

    def tenants(self) -> list[str]:
        return [row["tenant"] for row in self._rows(sa.select(dataset.c.tenant).distinct().order_by(dataset.c.tenant))]

    def datasets(self, tenant: str) -> list[Dataset]:
        return [
            to_dataset(row) for row in self._rows(DATASETS.where(dataset.c.tenant == tenant).order_by(dataset.c.name))
        ]

    def delete_dataset(self, tenant: str, dataset_id: str) -> None:
        self._write(lambda c: intake.delete_dataset(c, self._now(c), tenant, dataset_id))

    # -- documents and runs
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
        return self._write(
            lambda c: intake.submit(
                c,
                self._now(c),
                dataset,
                document,
                settings=settings,
                settings_digest=settings_digest,
                parts=parts,
                failure=failure,
                again=again,
            )
        )

    def document(self, tenant: str, document_id: str) -> Document:
        found = self._read(lambda c: intake.find(c, document_id))
        if found is None or found.tenant != tenant:
            raise NotFound(f"no document {document_id!r}")
        return found

    def find_document(self, dataset_id: str, source: str) -> Document | None:
        return self._read(lambda c: intake.find(c, intake.document_id(dataset_id, source)))

    def settled(self, dataset_id: str, settings_digest: str) -> dict[str, Document]:
        ended = run.c.state.in_((RunState.DONE.value, RunState.FAILED.value))
        wanted = DOCUMENTS.where(document.c.dataset_id == dataset_id, run.c.settings_digest == settings_digest, ended)
        found = [to_document(row) for row in self._rows(wanted)]
        return {one.source: one for one in found if one.failure is None or one.failure.final}

    def documents(
        self, tenant: str, dataset_id: str | None = None, *, limit: int | None = None, offset: int = 0
    ) -> list[Document]:
        wanted = DOCUMENTS.where(document.c.tenant == tenant).order_by(document.c.created, document.c.id)
        if dataset_id is not None:
            wanted = wanted.where(document.c.dataset_id == dataset_id)
        return [to_document(row) for row in self._rows(wanted.limit(limit).offset(offset))]

    def delete_document(self, tenant: str, document_id: str) -> None:
        self._write(lambda c: intake.delete_document(c, self._now(c), tenant, document_id))

    def run(self, run_id: str) -> Run:
        found = self._read(lambda c: run_of(c, run_id))
        if found is None:
            raise NotFound(f"no run {run_id!r}")
        return found

    def runs(self, run_ids: Sequence[str]) -> list[Run]:
        found: list[Run] = []
        for first in range(0, len(run_ids), _NAMES_AT_ONCE):
            batch = run_ids[first : first + _NAMES_AT_ONCE]
            found += [to_run(row) for row in self._rows(sa.select(run).where(run.c.id.in_(batch)))]
        return found

    def unfinished(self, *, limit: int = 1000, after: Run | None = None) -> list[Run]:
        oldest = sa.select(run).where(_UNFINISHED).order_by(run.c.created, run.c.id).limit(limit)
        if after is not None:
            same = sa.and_(run.c.created == after.created, run.c.id > after.id)
            oldest = oldest.where(sa.or_(run.c.created > after.created, same))
        return [to_run(row) for row in self._rows(oldest)]

    def start(self, run_id: str) -> Run:
        return self._write(lambda c: ends.start(c, self._now(c), run_id))

    def plan(self, run_id: str, parts: Sequence[Part]) -> list[Part]:
        def step(connection: Connection) -> list[Part]:
            ends.open_run(connection, run_id)
            if ends.plan(connection, run_id, parts):
                intake.add_parts(connection, run_id, parts)
            return parts_of(connection, run_id)

        return self._write(step)

    def split(self, run_id: str, number: int, parts: Sequence[Part]) -> list[Part]:
        def step(connection: Connection) -> list[Part]:
            ends.open_run(connection, run_id)
            intake.add_parts(connection, run_id, ends.split(connection, run_id, number, parts))
            mine = ends.part_of(connection, run_id, number)
            found = parts_of(connection, run_id)
            if parts[0].chunk_first is not None:
                found = [one for one in found if (one.first, one.last) == (mine.first, mine.last)]
            return sorted(found, key=lambda one: (one.first or 0, one.chunk_first or 0))

        return self._write(step)

    def parts(self, run_id: str) -> list[Part]:
        return self._read(lambda c: parts_of(c, run_id))

    def parts_of(self, run_ids: Sequence[str]) -> dict[str, list[Part]]:
        found: dict[str, list[Part]] = {run_id: [] for run_id in run_ids}
        for first in range(0, len(run_ids), _NAMES_AT_ONCE):
            mine = part.c.run_id.in_(run_ids[first : first + _NAMES_AT_ONCE])
            for row in self._rows(sa.select(part).where(mine).order_by(part.c.run_id, part.c.number)):
                found[row["run_id"]].append(to_part(row))
        return found

    def part(self, run_id: str, number: int) -> Part:
        return self._read(lambda c: ends.part_of(c, run_id, number))

    def report(self, run_id: str, number: int, progress: float) -> float:
        return self._write(lambda c: ends.report(c, run_id, number, progress))

    def finish_part(self, run_id: str, number: int, *, chunks: int, tokens: int, pages: int) -> int:
        return self._write(lambda c: ends.finish_part(c, run_id, number, chunks=chunks, tokens=tokens, pages=pages))

    def log(self, run_id: str, lines: Sequence[LogLine]) -> None:
        rows = [
            {"run_id": run_id, "at": one.at, "stage": one.stage, "message": one.message, "part": one.part}
            for one in lines
        ]
        if rows:
            self._write(lambda c: c.execute(_LOG, rows))

    def logs(self, run_id: str) -> list[LogLine]:
        found = self._rows(sa.select(run_log).where(run_log.c.run_id == run_id).order_by(run_log.c.id))
        return [LogLine(row["at"], row["stage"], row["message"], row["part"]) for row in found]

    # -- the ends of a run
    def commit(self, run_id: str, *, chunks: int) -> bool:
        return self._write(lambda c: ends.commit(c, self._now(c), run_id, chunks=chunks))

    def fail(self, run_id: str, failure: Failure) -> bool:
        return self._end(run_id, RunState.FAILED, failure)

    def cancel(self, run_id: str) -> bool:
        return self._end(run_id, RunState.CANCELLED, None)

    def operations(self, tenant: str, dataset_id: str | None = None, *, limit: int = 100) -> list[Operation]:
        return [to_operation(row) for row in self._rows(operations_of(tenant, dataset_id, limit))]

    # -- generations
    def writable(self, gen: int) -> bool:
        return bool(self._rows(_WRITABLE, {"of_gen": gen}))

    def view(self, dataset_id: str) -> View:
        highest = sa.select(sa.func.coalesce(sa.func.max(generation.c.g), 0).label("g"), sa.literal(0).label("hidden"))
        hidden = sa.select(generation.c.g, sa.literal(1)).where(
            generation.c.dataset_id == dataset_id, generation.c.state.in_(_HIDDEN)
        )
        # One statement, so that both are of one moment: a generation begun in between is above ``hi``.
        rows = self._rows(sa.union_all(highest, hidden))
        return View(
            hi=max((row["g"] for row in rows if not row["hidden"]), default=0),
            hidden=frozenset(row["g"] for row in rows if row["hidden"]),
        )

    def sweepable(self, *, grace: float) -> list[tuple[Dataset, list[int]]]:
        before = self._read(self._now) - grace
        old = sa.and_(generation.c.state == GenState.RETIRED.value, generation.c.changed <= before)
        wanted = sa.select(generation.c.dataset_id, generation.c.g).where(
            sa.or_(generation.c.state == GenState.DEAD.value, old)
        )
        gens: dict[str, list[int]] = {}
        for row in self._rows(wanted.order_by(generation.c.g)):
            gens.setdefault(row["dataset_id"], []).append(row["g"])
        rooms = self._rows(DATASETS.where(dataset.c.id.in_(list(gens)))) if gens else []
        return [(to_dataset(row), gens[row["id"]]) for row in rooms]

    def swept(self, gens: Sequence[int], *, keep_dead: float) -> None:
        def step(connection: Connection) -> None:
            before = self._now(connection) - keep_dead
            dead = sa.and_(generation.c.state == GenState.DEAD.value, generation.c.changed <= before)
            gone = sa.or_(generation.c.state == GenState.RETIRED.value, dead)
            for first in range(0, len(gens), _NAMES_AT_ONCE):
                batch = generation.c.g.in_(gens[first : first + _NAMES_AT_ONCE])
                connection.execute(generation.delete().where(batch, gone))

        self._write(step)

    def live(self, dataset_id: str) -> dict[int, tuple[str, int]]:
        wanted = sa.select(generation.c.g, generation.c.document_id, generation.c.chunks).where(
            generation.c.dataset_id == dataset_id, generation.c.state == GenState.LIVE.value
        )
        return {row["g"]: (row["document_id"], row["chunks"]) for row in self._rows(wanted)}

    def generations(self, dataset_id: str) -> dict[int, GenState]:
        wanted = sa.select(generation.c.g, generation.c.state).where(generation.c.dataset_id == dataset_id)
        return {row["g"]: GenState(row["state"]) for row in self._rows(wanted)}

    def blobs(self) -> set[tuple[str, str]]:
        unfinished = sa.select(run.c.tenant, run.c.digest).where(_UNFINISHED)
        needed = sa.union(sa.select(document.c.tenant, document.c.digest), unfinished)
        return {(row["tenant"], row["digest"]) for row in self._rows(needed)}

    def needs_blob(self, tenant: str, digest: str) -> bool:
        kept = sa.select(document.c.id).where(document.c.tenant == tenant, document.c.digest == digest)
        wanted = sa.select(run.c.id).where(run.c.tenant == tenant, run.c.digest == digest, _UNFINISHED)
        return bool(self._rows(sa.union_all(kept, wanted).limit(1)))

    def released(self) -> list[Released]:
        return [Released(**row) for row in self._rows(sa.select(released).order_by(released.c.at))]

    def seen_to(self, done: Sequence[Released]) -> None:
        same = sa.and_(*(released.c[name] == sa.bindparam(f"_{name}") for name in Released.__struct_fields__))
        rows = [{f"_{name}": getattr(one, name) for name in Released.__struct_fields__} for one in done]
        if rows:
            self._write(lambda c: c.execute(released.delete().where(same), rows))

    def check(self) -> list[Flaw]:
        return self._read(lambda c: list(check(c)))

    # -- files seen before
    def seen_files(self, dataset_id: str) -> dict[str, tuple[int, int, str]]:
        found = self._rows(sa.select(seen_file).where(seen_file.c.dataset_id == dataset_id))
        return {row["path"]: (row["size"], row["mtime"], row["digest"]) for row in found}

    def remember_files(self, dataset_id: str, files: dict[str, tuple[int, int, str]]) -> None:
        rows = [
            {
                "dataset_id": dataset_id,
                "path_digest": intake.path_digest(path),
                "path": path,
                "size": size,
                "mtime": mtime,
                "digest": digest,
            }
            for path, (size, mtime, digest) in files.items()
        ]
        rows.sort(key=lambda row: str(row["path_digest"]))  # all lock them in one order

        def step(connection: Connection) -> None:
            for first in range(0, len(rows), 100):
                upsert(connection, seen_file, rows[first : first + 100])

        if rows:
            self._write(step)

    def _end(self, run_id: str, state: RunState, failure: Failure | None) -> bool:
        return self._write(lambda c: ends.end_open(c, self._now(c), run_id, state, failure))

    def _now(self, connection: Connection) -> float:
        if self._clock is not None:
            return self._clock.now()
        told = self._dialect.now(connection)
        return self._host_clock.now() if told is None else told

    def _write(self, step: Callable[[Connection], T]) -> T:
        return self._session.write(step)

    def _read(self, step: Callable[[Connection], T]) -> T:
        return self._session.read(step)

    def _rows(self, statement: sa.Executable, given: Mapping[str, Any] | None = None) -> Sequence[Any]:
        return self._read(lambda c: c.execute(statement, given).mappings().all())
