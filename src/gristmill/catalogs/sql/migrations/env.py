"""Run by Alembic: all revisions in the one transaction that ``upgrade`` was called in, where DDL can be undone."""

from __future__ import annotations

from alembic import context

from gristmill.catalogs.sql.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=connection.dialect.name != "mysql",  # it ends a transaction there
)
with context.begin_transaction():
    context.run_migrations()
