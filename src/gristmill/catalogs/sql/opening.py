"""Bringing a catalog's tables to this release's revision, or finding that they are newer and yet fit."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa

from gristmill.base.errors import Conflict
from gristmill.catalogs.sql.dialect import Dialect
from gristmill.catalogs.sql.fresh import create
from gristmill.catalogs.sql.schema import HEAD, catalog_version


def migrate(dialect: Dialect, writer: sa.Engine, reader: sa.Engine) -> None:
    """Costs one look, and no lock, where nothing is to be done. Of several processes one does it, the others wait.

    A newer database is used as it is if the newest migration says that code of this revision still runs on it; else
    Conflict.
    """
    with reader.connect() as connection:
        if _fits(dialect, connection, revision(dialect, connection)):
            return
    with writer.connect() as connection, dialect.opening(connection):
        found = revision(dialect, connection)
        if not _fits(dialect, connection, found):  # else another process was faster
            if found:
                import_module("gristmill.catalogs.sql.upgrade").upgrade(connection)
            else:
                create(connection)
        connection.commit()  # before the others may look


def revision(dialect: Dialect, connection: sa.Connection) -> str:
    """The revision that the tables have; empty where there are none."""
    if not dialect.has_table(connection, "alembic_version"):
        return ""
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return str(row[0]) if row else ""


def _fits(dialect: Dialect, connection: sa.Connection, found: str) -> bool:
    if found <= HEAD:
        return found == HEAD
    oldest = None
    if dialect.has_table(connection, "catalog_version"):
        oldest = connection.execute(
            sa.select(catalog_version.c.compatible_with).where(catalog_version.c.revision == found)
        ).scalar_one_or_none()
    if oldest is None or oldest > HEAD:
        raise Conflict(
            f"the catalog {dialect.place} was written by a newer release (revision {found}, this one knows {HEAD}"
            f"{f', and it needs {oldest} at least' if oldest else ''}): install that release"
        )
    return True
