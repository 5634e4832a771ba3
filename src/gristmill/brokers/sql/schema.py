"""Making the tables, and bringing those of an older release up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from gristmill.base.errors import EngineError
from gristmill.brokers.sql.dialect import Dialect
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
    if _is_ready(c, dialect):
        return
    try:
        with c.begin():
            dialect.exclusive(c)
            if not _has(c, revision.name) or _found(c, dialect) < NEWEST:
                _bring_up(c, dialect)
    finally:
        if not c.closed and not c.invalidated:
            dialect.shared(c)
            c.rollback()


def _is_ready(c: sa.Connection, dialect: Dialect) -> bool:
    with c.begin():
        return _has(c, revision.name) and _found(c, dialect) >= NEWEST


def _found(c: sa.Connection, dialect: Dialect) -> int:
    """The revision that is written down; 0: none is."""
    row = c.execute(_known).first()
    if row is not None and row.oldest > NEWEST:
        raise EngineError(
            f"the broker's database {dialect.where} was made by a newer release (revision {row.revision}; this one knows up"
            f" to {NEWEST}): install that release"
        )
    return 0 if row is None else int(row.revision)


def _bring_up(c: sa.Connection, dialect: Dialect) -> None:
    before = max(_found(c, dialect) if _has(c, revision.name) else 0, int(_has(c, "task")))
    metadata.create_all(c)
    for step in range(before + 1, NEWEST + 1) if before else ():
        for statement in STEPS.get(step, {}).get(c.dialect.name, ()):
            c.exec_driver_sql(statement)
    dialect.guard(c)
    c.execute(sa.delete(revision))
    c.execute(sa.insert(revision), {"one": 1, "revision": NEWEST, "oldest": OLDEST})


def _has(c: sa.Connection, table: str) -> bool:
    return bool(sa.inspect(c).has_table(table))
