"""Making the tables, and bringing those of an older release up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import sqlalchemy as sa

from gristmill.base.errors import EngineError
from gristmill.brokers.sql.dialect import Dialect, Verdict
from gristmill.brokers.sql.tables import metadata, revision

# 1: tasks, lanes, notices, workers, locks; no revision was written down. 2: rates, turnstiles, receipts, and this number.
NEWEST = 2
OLDEST = 1  # the first revision whose brokers may write to tables of the newest one: what came since was added beside

# Revision -> the statements that lead to it, by database. New tables need none: whatever table is missing is made.
# A server may end between two of them, so each has to bear being done twice.
STEPS: Mapping[int, Mapping[str, Sequence[str]]] = {2: {}}

_known = sa.select(revision.c.revision, revision.c.oldest)


def ensure(c: sa.Connection, dialect: Dialect) -> None:
    """Have this release's tables. Costs one query when they are there; of several that come at once, one makes them.

    Raises EngineError when they are of a release that this one cannot work with.
    """
    with c.begin():
        found = _found(c, dialect)
    if found >= NEWEST:
        return
    try:
        with c.begin():
            dialect.exclusive(c)
            if (found := _found(c, dialect)) < NEWEST:
                _bring_up(c, dialect, found or int(sa.inspect(c).has_table("task")))
    finally:
        if not c.closed and not c.invalidated:
            dialect.shared(c)
            c.rollback()


def _found(c: sa.Connection, dialect: Dialect) -> int:
    """The revision that is written down; 0: none is."""
    try:
        with c.begin_nested() if dialect.server else nullcontext():
            row = c.execute(_known).first()
    except (sa.exc.ProgrammingError, sa.exc.OperationalError) as exc:
        if dialect.verdict(exc) is not Verdict.MISSING:
            raise
        return 0
    if row is not None and row.oldest > NEWEST:
        raise EngineError(
            f"the broker's database {dialect.where} was made by a newer release (revision {row.revision}; this one knows up"
            f" to {NEWEST}): install that release"
        )
    return 0 if row is None else int(row.revision)


def _bring_up(c: sa.Connection, dialect: Dialect, before: int) -> None:
    metadata.create_all(c)
    for step in range(before + 1, NEWEST + 1) if before else ():
        for statement in STEPS.get(step, {}).get(c.dialect.name, ()):
            c.exec_driver_sql(statement)
    dialect.guard(c)
    c.execute(sa.delete(revision))
    c.execute(sa.insert(revision), {"one": 1, "revision": NEWEST, "oldest": OLDEST})
