"""Steps of a run on its way, and its ends. Each runs inside the caller's transaction and holds the run's document."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from gristmill.base.errors import Conflict, GenerationClosed, NotFound
from gristmill.catalogs.sql.holds import hold_run
from gristmill.catalogs.sql.rows import pack_failure, parts_of, to_part
from gristmill.catalogs.sql.schema import document, generation, operation, part, run
from gristmill.ports.catalog import Failure, GenState, Part, Run, RunState

KEPT_OPERATIONS = 1000  # of each dataset


def start(connection: sa.Connection, now: float, run_id: str) -> Run:
    """See ``Catalog.start``."""
    found = open_run(connection, run_id)
    if found.state is RunState.RUNNING:
        return found
    connection.execute(run.update().where(run.c.id == run_id).values(state=RunState.RUNNING.value, started=now))
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
    wanted = sa.select(part).where(part.c.run_id == run_id, part.c.number == number)
    row = connection.execute(wanted).mappings().first()
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
        connection.execute(
            part.update()
            .where(part.c.run_id == run_id, part.c.number == number)
            .values(done=True, progress=1.0, chunks=chunks, tokens=tokens, pages=pages)
        )
        _sum_up(connection, run_id)
    left = sa.select(sa.func.count()).where(part.c.run_id == run_id, part.c.done.is_(False))
    return int(connection.execute(left).scalar_one())


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
    values = {"state": state.value, "ended": now, "failure": pack_failure(failure)}
    if state is RunState.DONE:
        values["progress"] = 1.0
    connection.execute(run.update().where(run.c.id == found.id).values(**values))
    if state is not RunState.DONE:
        connection.execute(
            generation.update()
            .where(generation.c.g == found.gen, generation.c.state == GenState.PENDING.value)
            .values(state=GenState.DEAD.value, changed=now)
        )
    began = found.started or found.created
    connection.execute(
        document.update()
        .where(document.c.id == found.document_id, document.c.run_id == found.id)
        .values(updated=now, seconds=max(now - began, 0.0))
    )
    _write_operation(connection, now, found, state, failure)


def _show(
    connection: sa.Connection, now: float, found: Run, *, chunks: int, tokens: int, parts: Sequence[Part]
) -> None:
    """The step that readers see: the old generation goes, the new one comes, in one transaction."""
    mine = generation.c.document_id == found.document_id
    connection.execute(
        generation.update()
        .where(mine, generation.c.state == GenState.LIVE.value)
        .values(state=GenState.RETIRED.value, changed=now)
    )
    connection.execute(
        generation.update()
        .where(generation.c.g == found.gen)
        .values(state=GenState.LIVE.value, chunks=chunks, changed=now)
    )
    connection.execute(
        document.update()
        .where(document.c.id == found.document_id)
        .values(live=found.gen, chunks=chunks, tokens=tokens, pages=sum(one.pages for one in parts))
    )


def _sum_up(connection: sa.Connection, run_id: str) -> float:
    """The run's progress from its parts'; it never falls, although a part may be split into several."""
    counts = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(part.c.progress), 0.0),
        sa.func.sum(sa.cast(part.c.done, sa.Integer)),
        sa.func.coalesce(sa.func.sum(part.c.chunks), 0),
    ).where(part.c.run_id == run_id)
    number, total, done, chunks = connection.execute(counts).one()
    before = connection.execute(sa.select(run.c.progress).where(run.c.id == run_id)).scalar()
    value = max(float(before or 0.0), total / number if number else 0.0)
    connection.execute(
        run.update().where(run.c.id == run_id).values(progress=value, parts_done=int(done or 0), chunks=int(chunks))
    )
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
    about = connection.execute(
        sa.select(document.c.name, document.c.chunks, document.c.tokens).where(document.c.id == found.document_id)
    ).first()
    began = found.started or found.created
    connection.execute(
        operation.insert().values(
            tenant=found.tenant,
            run_id=found.id,
            document_id=found.document_id,
            document=about.name if about else "",
            dataset_id=found.dataset_id,
            state=state.value,
            started=began,
            seconds=max(now - began, 0.0),
            chunks=about.chunks if about and state is RunState.DONE else 0,
            tokens=about.tokens if about and state is RunState.DONE else 0,
            failure=pack_failure(failure),
        )
    )
    mine = operation.c.dataset_id == found.dataset_id
    newest = sa.select(operation.c.id).where(mine).order_by(operation.c.id.desc())
    oldest = connection.execute(newest.offset(KEPT_OPERATIONS).limit(1)).scalar()
    if oldest is not None:
        connection.execute(operation.delete().where(mine, operation.c.id <= oldest))


def _wanted(connection: sa.Connection, document_id: str) -> int | None:
    return connection.execute(sa.select(document.c.want).where(document.c.id == document_id)).scalar()


def _pending(connection: sa.Connection, gen: int) -> bool:
    state = connection.execute(sa.select(generation.c.state).where(generation.c.g == gen)).scalar()
    return bool(state == GenState.PENDING.value)
