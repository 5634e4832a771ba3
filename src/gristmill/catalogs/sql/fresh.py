"""The tables of a new catalog, made at once: what all migrations together come to. A test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

from gristmill.catalogs.sql.schema import HEAD, metadata

GUARDS = (
    """
    CREATE TRIGGER run_final BEFORE UPDATE OF state ON run
    WHEN OLD.state IN ('done', 'failed', 'cancelled') AND NEW.state <> OLD.state
    BEGIN SELECT RAISE(ABORT, 'the end of a run does not change'); END
    """,
    """
    CREATE TRIGGER generation_step BEFORE UPDATE OF state ON generation
    WHEN NOT (NEW.state = OLD.state
        OR (OLD.state = 'pending' AND NEW.state IN ('live', 'dead'))
        OR (OLD.state = 'live' AND NEW.state = 'retired'))
    BEGIN SELECT RAISE(ABORT, 'no such step between states of a generation'); END
    """,
)
_revision = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True, nullable=False)
)


def create(connection: sa.Connection) -> None:
    """Make everything within the caller's transaction. Without Alembic, which takes a fifth of a worker's memory."""
    metadata.create_all(connection, checkfirst=False)
    for guard in GUARDS:
        connection.exec_driver_sql(guard)
    _revision.create(connection)
    connection.execute(_revision.insert().values(version_num=HEAD))
