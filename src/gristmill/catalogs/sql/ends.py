"""Steps of a run on its way, and its ends. Each runs inside the caller's transaction and holds the run's document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from gristmill.base.errors import Conflict, GenerationClosed, NotFound
from gristmill.catalogs.sql.holds import hold_run
from gristmill.catalogs.sql.rows import pack_failure, parts_of, to_part
from gristmill.catalogs.sql.schema import document, generation, operation, part, run
from gristmill.ports.catalog import Failure, GenState, Part, Run, RunState

_Given = sa.BindParameter[Any]

KEPT_OPERATIONS = 1000  # of each dataset

# The statements that every document comes by are made once: making one costs as much as running it.
_RUN: _Given = sa.bindparam("of_run")
_DOCUMENT: _Given = sa.bindparam("of_document")
_NOW: _Given = sa.bindparam("now")
_THE_RUN, _THE_DOCUMENT = run.c.id == _RUN, document.c.id == _DOCUMENT
_THE_GENERATION = generation.c.g == sa.bindparam("of_gen")
_THE_PART = sa.and_(part.c.run_id == _RUN, part.c.number == sa.bindparam("of_number"))

_STARTED = run.update().where(_THE_RUN).values(state=RunState.RUNNING.value, started=_NOW)
_PART = sa.select(part).where(_THE_PART)
_PART_DONE = (
    part.update()
    .where(_THE_PART)
    .values(
        done=True,
        progress=1.0,
        **{name: sa.bindparam(f"new_{name}") for name in ("chunks", "tokens", "pages")},
    )
)
_LEFT = sa.select(sa.func.count()).where(part.c.run_id == _RUN, part.c.done.is_(False))
_COUNTS = sa.select(
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(part.c.progress), 0.0),
    sa.func.sum(sa.cast(part.c.done, sa.Integer)),
    sa.func.coalesce(sa.func.sum(part.c.chunks), 0),
).where(part.c.run_id == _RUN)
_PROGRESS = sa.select(run.c.progress).where(_THE_RUN)
_SUMMED_UP = (
    run.update()
    .where(_THE_RUN)
    .values({name: sa.bindparam(f"new_{name}") for name in ("progress", "parts_done", "chunks")})
)
_WANTED = sa.select(document.c.want).where(_THE_DOCUMENT)
_GENERATION_STATE = sa.select(generation.c.state).where(_THE_GENERATION)
_ENDED = (
    run.update()
    .where(_THE_RUN)
    .values(state=sa.bindparam("new_state"), ended=_NOW, failure=sa.bindparam("new_failure"))
)
_WHOLE = run.update().where(_THE_RUN).values(progress=1.0)
_DIED = (
    generation.update()
    .where(_THE_GENERATION, generation.c.state == GenState.PENDING.value)
    .values(state=GenState.DEAD.value, changed=_NOW)
)
_TIMED = (
    document.update()
    .where(_THE_DOCUMENT, document.c.run_id == _RUN)
    .values(updated=_NOW, seconds=sa.bindparam("new_seconds"))
)
_RETIRED = (
    generation.update()
    .where(generation.c.document_id == _DOCUMENT, generation.c.state == GenState.LIVE.value)
    .values(state=GenState.RETIRED.value, changed=_NOW)
)
_LIVE = (
    generation.update()
    .where(_THE_GENERATION)
    .values(state=GenState.LIVE.value, chunks=sa.bindparam("new_chunks"), changed=_NOW)
)
_SHOWN = (
    document.update()
    .where(_THE_DOCUMENT)
    .values({name: sa.bindparam(f"new_{name}") for name in ("live", "chunks", "tokens", "pages")})
)
_ABOUT = sa.select(document.c.name, document.c.chunks, document.c.tokens).where(_THE_DOCUMENT)
_OPERATION = operation.insert()
_OLDEST_OPERATION = (
    sa.select(operation.c.id)
    .where(operation.c.dataset_id == sa.bindparam("of_dataset"))
    .order_by(operation.c.id.desc())
    .offset(KEPT_OPERATIONS)
    .limit(1)
)


def start(connection: sa.Connection, now: float, run_id: str) -> Run:
    """See ``Catalog.start``."""
    found = open_run(connection, run_id)
    if found.state is RunState.RUNNING:
        return found
    connection.execute(_STARTED, {"of_run": run_id, "now": now})
    return msgspec.structs.replace(found, state=RunState.RUNNING, started=now)


def open_run(connection: sa.Connection, run_id: str) -> Run:
    """A run that has not ended and is what its document wants. Raises GenerationClosed."""
    found = hold_run(connection, run_id)
    if found is None or found.state.final or _wanted(connection, found.document_id) != found.ver:
        raise GenerationClosed("the ingestion has ended, was cancelled, or was overtaken by a newer one")
    return found


def plan(connection: sa.Connection, run_id: str, parts: Sequence[Part]) -> bool:
    """Whether these parts are to be added: the run has none yet."""
    done = connection.execute(
        run.update().where(run.c.id == run_id, run.c.planned.is_(False)).values(planned=True, parts=len(parts))
    )
    return bool(done.rowcount)


def split(connection: sa.Connection, run_id: str, number: int, slices: Sequence[Part]) -> list[Part]:
    """See ``Catalog.split``; the new parts are returned, to be added by the caller."""
    found = part_of(connection, run_id, number)
    windows = slices[0].chunk_first is None
    if found.done or (found.first if windows else found.chunk_first) is not None:
        return []
    numbers = sa.select(sa.func.max(part.c.number)).where(part.c.run_id == run_id)
    highest = int(connection.execute(numbers).scalar_one())
    first = slices[0]
    connection.execute(
        part.update()
        .where(part.c.run_id == run_id, part.c.number == number)
        .values(first=first.first, last=first.last, chunk_first=first.chunk_first, chunk_last=first.chunk_last)
    )
    connection.execute(run.update().where(run.c.id == run_id).values(parts=run.c.parts + len(slices) - 1))
    return [msgspec.structs.replace(one, number=highest + n) for n, one in enumerate(slices[1:], 1)]


def part_of(connection: sa.Connection, run_id: str, number: int) -> Part:
    """One part of a run."""
    row = connection.execute(_PART, {"of_run": run_id, "of_number": number}).mappings().first()
    if row is None:
        raise NotFound(f"run {run_id!r} has no part {number}")
    return to_part(row)


def report(connection: sa.Connection, run_id: str, number: int, progress: float) -> float:
    """See ``Catalog.report``."""
    found = hold_run(connection, run_id)
    if found is None or found.state.final:
        return found.progress if found else 0.0
    value = min(max(progress, 0.0), 1.0)
    connection.execute(
        part.update()
        .where(part.c.run_id == run_id, part.c.number == number, part.c.progress < value)
        .values(progress=value)
    )
    return _sum_up(connection, run_id)


def finish_part(connection: sa.Connection, run_id: str, number: int, *, chunks: int, tokens: int, pages: int) -> int:
    """See ``Catalog.finish_part``."""
    found = hold_run(connection, run_id)
    if found is None or found.state in (RunState.FAILED, RunState.CANCELLED):
        raise GenerationClosed("the ingestion has ended, was cancelled, or was overtaken by a newer one")
    if not part_of(connection, run_id, number).done:
        new = {"new_chunks": chunks, "new_tokens": tokens, "new_pages": pages}
        connection.execute(_PART_DONE, {"of_run": run_id, "of_number": number, **new})
        _sum_up(connection, run_id)
    return int(connection.execute(_LEFT, {"of_run": run_id}).scalar_one())


def commit(connection: sa.Connection, now: float, run_id: str, *, chunks: int) -> bool:
    """See ``Catalog.commit``."""
    found = hold_run(connection, run_id)
    if found is None or found.state in (RunState.FAILED, RunState.CANCELLED):
        return False
    if found.state is RunState.DONE:
        return True
    if _wanted(connection, found.document_id) != found.ver or not _pending(connection, found.gen):
        end_run(connection, now, found, RunState.CANCELLED)
        return False
    parts = parts_of(connection, run_id)
    if not found.planned or not all(one.done for one in parts):
        return False
    made = sum(one.chunks for one in parts)
    if made != chunks or not chunks:
        raise Conflict(
            f"the parts made {made} chunks, but the doc store holds {chunks} of them: ingest the document again"
        )
    _show(connection, now, found, chunks=chunks, tokens=sum(one.tokens for one in parts), parts=parts)
    end_run(connection, now, found, RunState.DONE)
    return True


def end_run(connection: sa.Connection, now: float, found: Run, state: RunState, failure: Failure | None = None) -> None:
    """Write down a run's end; what it wrote is dead unless it is done."""
    ended = {"new_state": state.value, "now": now, "new_failure": pack_failure(failure)}
    connection.execute(_ENDED, {"of_run": found.id, **ended})
    if state is RunState.DONE:
        connection.execute(_WHOLE, {"of_run": found.id})
    else:
        connection.execute(_DIED, {"of_gen": found.gen, "now": now})
    seconds = max(now - (found.started or found.created), 0.0)
    timed = {"of_document": found.document_id, "of_run": found.id, "now": now, "new_seconds": seconds}
    connection.execute(_TIMED, timed)
    _write_operation(connection, now, found, state, failure)


def _show(
    connection: sa.Connection, now: float, found: Run, *, chunks: int, tokens: int, parts: Sequence[Part]
) -> None:
    """The step that readers see: the old generation goes, the new one comes, in one transaction."""
    mine = {"of_document": found.document_id}
    connection.execute(_RETIRED, {**mine, "now": now})
    connection.execute(_LIVE, {"of_gen": found.gen, "new_chunks": chunks, "now": now})
    pages = sum(one.pages for one in parts)
    new = {"new_live": found.gen, "new_chunks": chunks, "new_tokens": tokens, "new_pages": pages}
    connection.execute(_SHOWN, {**mine, **new})


def _sum_up(connection: sa.Connection, run_id: str) -> float:
    """The run's progress from its parts'; it never falls, although a part may be split into several."""
    mine = {"of_run": run_id}
    number, total, done, chunks = connection.execute(_COUNTS, mine).one()
    before = connection.execute(_PROGRESS, mine).scalar()
    value = max(float(before or 0.0), total / number if number else 0.0)
    new = {"new_progress": value, "new_parts_done": int(done or 0), "new_chunks": int(chunks)}
    connection.execute(_SUMMED_UP, {**mine, **new})
    return value


def end_open(connection: sa.Connection, now: float, run_id: str, state: RunState, failure: Failure | None) -> bool:
    """Whether the run had not ended, and ends now."""
    found = hold_run(connection, run_id)
    if found is None or found.state.final:
        return False
    end_run(connection, now, found, state, failure)
    return True


def _write_operation(
    connection: sa.Connection, now: float, found: Run, state: RunState, failure: Failure | None
) -> None:
    about = connection.execute(_ABOUT, {"of_document": found.document_id}).first()
    began = found.started or found.created
    new = {
        "tenant": found.tenant,
        "run_id": found.id,
        "document_id": found.document_id,
        "document": about.name if about else "",
        "dataset_id": found.dataset_id,
        "state": state.value,
        "started": began,
        "seconds": max(now - began, 0.0),
        "chunks": about.chunks if about and state is RunState.DONE else 0,
        "tokens": about.tokens if about and state is RunState.DONE else 0,
        "failure": pack_failure(failure),
    }
    connection.execute(_OPERATION, new)
    oldest = connection.execute(_OLDEST_OPERATION, {"of_dataset": found.dataset_id}).scalar()
    if oldest is not None:
        mine = operation.c.dataset_id == found.dataset_id
        connection.execute(operation.delete().where(mine, operation.c.id <= oldest))


def _wanted(connection: sa.Connection, document_id: str) -> int | None:
    return connection.execute(_WANTED, {"of_document": document_id}).scalar()


def _pending(connection: sa.Connection, gen: int) -> bool:
    state = connection.execute(_GENERATION_STATE, {"of_gen": gen}).scalar()
    return bool(state == GenState.PENDING.value)
