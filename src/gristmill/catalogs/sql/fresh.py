"""The tables of a new catalog, made at once: what all migrations together come to. A test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

from gristmill.catalogs.sql.guards import guards
from gristmill.catalogs.sql.schema import GENERATION, HEAD, catalog_version, metadata, turn

_revision = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True, nullable=False)
)


def create(connection: sa.Connection) -> None:
    """Make everything within the caller's transaction. Without Alembic, which takes a fifth of a worker's memory.

    The revision comes last: where DDL ends transactions, one that was interrupted is repeated, and finds what is there.
    """
    halfway = connection.dialect.name == "mysql"
    metadata.create_all(connection, checkfirst=halfway)
    for guard in guards(connection.dialect.name):
        connection.exec_driver_sql(guard)
    for table in (catalog_version, turn):
        connection.execute(table.delete())
    connection.execute(catalog_version.insert().values(revision=HEAD, compatible_with=HEAD))
    connection.execute(turn.insert().values(name=GENERATION))
    _revision.create(connection, checkfirst=halfway)
    connection.execute(_revision.insert().values(version_num=HEAD))
