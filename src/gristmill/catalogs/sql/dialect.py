"""What differs between databases for the catalog: opening, and writing a row that may be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_sql

from gristmill.base import sqlite
from gristmill.base.errors import Conflict, SettingsError, StoreUnavailable
from gristmill.catalogs.sql.fresh import create
from gristmill.catalogs.sql.schema import HEAD


class SqliteDialect:
    """SQLite: one writer at a time, who takes the lock when its transaction begins; readers take none."""

    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:":
            raise SettingsError("stores.catalog: the SQLite catalog needs a file: sqlite:///path/to/file")
        self._path = Path(url.database)

    def engine(self, *, writes: bool) -> sa.Engine:
        """Connections for writers, or for readers."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"the catalog's folder {self._path.parent} cannot be made: {exc}") from exc
        engine = sa.create_engine(
            f"sqlite:///{self._path}",
            module=sqlite.driver(),
            poolclass=sa.QueuePool,
            pool_size=2,
            connect_args={"check_same_thread": False, "timeout": 30.0},
            isolation_level=None if writes else "AUTOCOMMIT",
        )
        sa.event.listen(engine, "connect", _prepare)
        if writes:
            sa.event.listen(engine, "begin", _begin)
        return engine

    def migrate(self, writer: sa.Engine, reader: sa.Engine) -> None:
        """Bring the tables to this release's revision; costs one query, and no lock, when they are."""
        with reader.connect() as connection:
            if _revision(connection) == HEAD:
                return
        with writer.begin() as connection:
            found = _revision(connection)
            if found > HEAD:
                raise Conflict(
                    f"the catalog {self._path} was written by a newer release (revision {found}, this one knows {HEAD}):"
                    " install that release"
                )
            if not found:
                create(connection)
            elif found != HEAD:
                import_module("gristmill.catalogs.sql.upgrade").upgrade(connection)


def dialect_for(url: str) -> SqliteDialect:
    """The dialect of a database URL."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise SettingsError(
            f"stores.catalog: {parsed.get_backend_name()} is not read by this release; use sqlite:///path"
        )
    return SqliteDialect(parsed)


def upsert(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> sa.Executable:
    """Insert the rows, or overwrite those whose primary key is there."""
    statement = sqlite_sql.insert(table).values(list(rows))
    keys = [column.name for column in table.primary_key]
    fresh = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=fresh)


def _revision(connection: sa.Connection) -> str:
    """The revision that the tables have; empty where there are none."""
    table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
    if connection.exec_driver_sql(table).first() is None:
        return ""
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return str(row[0]) if row else ""


def _prepare(connection: Any, _record: object) -> None:
    sqlite.prepare(connection)


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
