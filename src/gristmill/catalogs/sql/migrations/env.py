"""Run by Alembic: all revisions in the one transaction that ``upgrade`` has begun."""

from __future__ import annotations

from alembic import context

from gristmill.catalogs.sql.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
