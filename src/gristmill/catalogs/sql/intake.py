"""Steps by which documents come and go. Each runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from gristmill.base.errors import NotFound
from gristmill.base.ids import digest
from gristmill.catalogs.sql.dialect import insert_missing, upsert
from gristmill.catalogs.sql.ends import end_run
from gristmill.catalogs.sql.holds import hold_dataset, hold_document, hold_documents, one_writer, take_turn
from gristmill.catalogs.sql.rows import DOCUMENTS, run_of, to_document, to_run
from gristmill.catalogs.sql.schema import dataset, document, generation, part, released, run, run_log, seen_file
from gristmill.ports.catalog import (
    Dataset,
    Document,
    Failure,
    GenState,
    NewDocument,
    Part,
    Run,
    RunState,
    Submission,
)

T = TypeVar("T")

_DOCUMENT = DOCUMENTS.where(document.c.id == sa.bindparam("of_document"))

KEPT_RUNS = 2  # of each document; older ones are told of by the operation log


def document_id(dataset_id: str, source: str) -> str:
    """A document's id: the same source in the same dataset is the same document."""
    return digest("document", dataset_id, source)


def path_digest(path: str) -> str:
    """A path as a key."""
    return digest(path)


def find(connection: sa.Connection, wanted: str) -> Document | None:
    """The document of that id."""
    row = connection.execute(_DOCUMENT, {"of_document": wanted}).mappings().first()
    return to_document(row) if row else None


def submit(
    connection: sa.Connection,
    now: float,
    room: Dataset,
    new: NewDocument,
    *,
    settings: dict[str, Any],
    settings_digest: str,
    parts: Sequence[Part] | None,
    failure: Failure | None,
    again: bool,
) -> Submission:
    """See ``Catalog.submit``."""
    hold_dataset(connection, room.id, room.name)
    wanted = document_id(room.id, new.source)
    known = _hold_place(connection, now, room, new, wanted)
    old = find(connection, wanted)
    if old is not None:
        latest = run_of(connection, old.run_id)
        if latest and not again and _same(connection, latest, new, settings_digest):
            return Submission(old, latest, fresh=False)
        if latest and not latest.state.final:
            end_run(connection, now, latest, RunState.CANCELLED)
        if old.digest != new.digest:
            _release(connection, now, [(old.tenant, "blob", old.digest)])
    ver = old.want + 1 if old else 1
    _close_pending(connection, now, wanted)
    gen = _begin_generation(connection, now, room.id, wanted, ver)
    run_id = digest("run", wanted, new.digest, settings_digest, str(gen))
    _put_document(connection, now, room, new, wanted, run_id=run_id, ver=ver, known=known or old is not None)
    connection.execute(
        run.insert().values(
            id=run_id,
            tenant=room.tenant,
            dataset_id=room.id,
            document_id=wanted,
            ver=ver,
            gen=gen,
            digest=new.digest,
            format=new.format,
            settings=settings,
            settings_digest=settings_digest,
            state=RunState.QUEUED.value,
            planned=parts is not None,
            parts=len(parts or ()),
            parts_done=0,
            progress=0.0,
            chunks=0,
            created=now,
        )
    )
    add_parts(connection, run_id, parts or ())
    _forget_runs(connection, wanted, before=ver + 1 - KEPT_RUNS)
    begun = _must(run_of(connection, run_id))
    if failure is not None:
        end_run(connection, now, begun, RunState.FAILED, failure)
        begun = _must(run_of(connection, run_id))
    return Submission(_must(find(connection, wanted)), begun, fresh=True)


def add_parts(connection: sa.Connection, run_id: str, parts: Sequence[Part]) -> None:
    """Store parts of a run."""
    if parts:
        connection.execute(
            part.insert(),
            [
                {
                    "run_id": run_id,
                    "number": one.number,
                    "first": one.first,
                    "last": one.last,
                    "chunk_first": one.chunk_first,
                    "chunk_last": one.chunk_last,
                    "done": False,
                    "progress": 0.0,
                    "chunks": 0,
                    "tokens": 0,
                    "pages": 0,
                }
                for one in parts
            ],
        )


def delete_document(connection: sa.Connection, now: float, tenant: str, wanted: str) -> None:
    """See ``Catalog.delete_document``."""
    hold_document(connection, wanted)
    old = find(connection, wanted)
    if old is None or old.tenant != tenant:
        raise NotFound(f"no document {wanted!r}")
    latest = run_of(connection, old.run_id)
    if latest and not latest.state.final:
        end_run(connection, now, latest, RunState.CANCELLED)
    connection.execute(
        generation.update()
        .where(generation.c.document_id == wanted, generation.c.state == GenState.LIVE.value)
        .values(state=GenState.RETIRED.value, changed=now)
    )
    _forget_runs(connection, wanted, before=old.want + 1)
    _release(connection, now, [(old.tenant, "blob", old.digest)])
    connection.execute(document.delete().where(document.c.id == wanted))
    connection.execute(
        seen_file.delete().where(
            seen_file.c.dataset_id == old.dataset_id, seen_file.c.path_digest == path_digest(old.source)
        )
    )


def delete_dataset(connection: sa.Connection, now: float, tenant: str, dataset_id: str) -> None:
    """See ``Catalog.delete_dataset``. The doc store's room goes with the next sweep: nobody knows it any more."""
    gone = connection.execute(dataset.delete().where(dataset.c.id == dataset_id, dataset.c.tenant == tenant))
    if not gone.rowcount:
        raise NotFound(f"no dataset {dataset_id!r}")
    hold_documents(connection, dataset_id)
    open_ = run.c.state.in_((RunState.QUEUED.value, RunState.RUNNING.value))
    for row in connection.execute(sa.select(run).where(run.c.dataset_id == dataset_id, open_)).mappings().all():
        end_run(connection, now, to_run(row), RunState.CANCELLED)
    kept = sa.select(document.c.digest).where(document.c.dataset_id == dataset_id).distinct()
    blobs = [(tenant, "blob", content) for content in connection.execute(kept).scalars().all()]
    _release(connection, now, [(tenant, "room", dataset_id), *blobs])
    mine = sa.select(run.c.id).where(run.c.dataset_id == dataset_id).scalar_subquery()
    connection.execute(part.delete().where(part.c.run_id.in_(mine)))
    connection.execute(run_log.delete().where(run_log.c.run_id.in_(mine)))
    for table in (run, document, generation, seen_file):
        connection.execute(table.delete().where(table.c.dataset_id == dataset_id))


def _same(connection: sa.Connection, latest: Run, new: NewDocument, settings_digest: str) -> bool:
    """Whether what is submitted is what the latest run did or does."""
    if latest.digest != new.digest or latest.state is RunState.CANCELLED:
        return False
    if latest.failure is not None and not latest.failure.final:
        return False
    kept = connection.execute(sa.select(run.c.settings_digest).where(run.c.id == latest.id)).scalar_one()
    return bool(kept == settings_digest)


def _release(connection: sa.Connection, now: float, given_up: Sequence[tuple[str, str, str]]) -> None:
    """Note what the next sweep will find without an owner, and may remove."""
    rows = [{"tenant": tenant, "kind": kind, "name": name, "at": now} for tenant, kind, name in given_up]
    for first in range(0, len(rows), 200):
        upsert(connection, released, rows[first : first + 200])


def _close_pending(connection: sa.Connection, now: float, document_id: str) -> None:
    """Whatever is still being written of this document is not wanted any more."""
    connection.execute(
        generation.update()
        .where(generation.c.document_id == document_id, generation.c.state == GenState.PENDING.value)
        .values(state=GenState.DEAD.value, changed=now)
    )


def _begin_generation(connection: sa.Connection, now: float, dataset_id: str, document_id: str, ver: int) -> int:
    take_turn(connection)
    done = connection.execute(
        generation.insert().values(
            dataset_id=dataset_id,
            document_id=document_id,
            ver=ver,
            state=GenState.PENDING.value,
            chunks=0,
            changed=now,
        )
    )
    key = done.inserted_primary_key
    return int(key[0]) if key else 0


def _put_document(
    connection: sa.Connection,
    now: float,
    room: Dataset,
    new: NewDocument,
    wanted: str,
    *,
    run_id: str,
    ver: int,
    known: bool,
) -> None:
    fresh = {
        "name": new.name,
        "digest": new.digest,
        "size": new.size,
        "format": new.format,
        "run_id": run_id,
        "want": ver,
        "updated": now,
    }
    if known:
        connection.execute(document.update().where(document.c.id == wanted).values(**fresh))
        return
    connection.execute(document.insert().values(**_place(now, room, new, wanted) | fresh))


def _hold_place(connection: sa.Connection, now: float, room: Dataset, new: NewDocument, wanted: str) -> bool:
    """Hold the document, or the place where it will be: of several who submit it first, one goes first.

    Whether there is a row now. What was put into its place is seen by nobody else before it is the document.
    """
    if one_writer(connection):
        return False
    if not hold_document(connection, wanted):
        insert_missing(connection, document, _place(now, room, new, wanted))
        hold_document(connection, wanted)
    return True


def _place(now: float, room: Dataset, new: NewDocument, wanted: str) -> dict[str, Any]:
    """A document without a run."""
    place = {"id": wanted, "tenant": room.tenant, "dataset_id": room.id, "source": new.source, "name": new.name}
    content = {"digest": new.digest, "size": new.size, "format": new.format, "run_id": "", "want": 0}
    counts = {"live": None, "chunks": 0, "tokens": 0, "pages": 0, "created": now, "updated": now, "seconds": 0.0}
    return place | content | counts


def _forget_runs(connection: sa.Connection, document_id: str, *, before: int) -> None:
    old = connection.execute(sa.select(run.c.id).where(run.c.document_id == document_id, run.c.ver < before))
    for run_id in old.scalars().all():
        connection.execute(part.delete().where(part.c.run_id == run_id))
        connection.execute(run_log.delete().where(run_log.c.run_id == run_id))
        connection.execute(run.delete().where(run.c.id == run_id))


def _must(found: T | None) -> T:
    if found is None:
        raise NotFound("a row that was just written is not there")
    return found
