"""A new catalog is made at once, an old one by its migrations: both are the same database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gristmill.catalogs.sql.fresh import create
from gristmill.catalogs.sql.upgrade import upgrade


def made(path: Path, make: Any) -> dict[str, Any]:
    """Everything that the database knows of itself."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        make(connection)
        inspector = sa.inspect(connection)
        tables = {
            name: (
                sorted((c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)),
                inspector.get_pk_constraint(name)["constrained_columns"],
                sorted((str(i["name"]), str(i["column_names"]), i["unique"]) for i in inspector.get_indexes(name)),
                sorted((str(u["name"]), str(u["column_names"])) for u in inspector.get_unique_constraints(name)),
                sorted((str(c["name"]), c["sqltext"]) for c in inspector.get_check_constraints(name)),
                inspector.get_foreign_keys(name),
            )
            for name in inspector.get_table_names()
        }
        guards = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
        triggers = {name: " ".join(text.split()) for name, text in guards}
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchall()
    engine.dispose()
    return {"tables": tables, "triggers": triggers, "revision": [row[0] for row in revision]}


def test_a_new_catalog_is_what_the_migrations_make(tmp_path: Path) -> None:
    fresh, migrated = made(tmp_path / "fresh.db", create), made(tmp_path / "migrated.db", upgrade)
    assert fresh == migrated
    assert fresh["triggers"]
