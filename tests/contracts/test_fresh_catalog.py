"""A new catalog is made at once, an old one by its migrations: both are the same database, on each kind of server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gristmill.base.errors import Conflict
from gristmill.catalogs.sql.catalog import SqlCatalog
from gristmill.catalogs.sql.dialect import dialect_for
from gristmill.catalogs.sql.fresh import create
from gristmill.catalogs.sql.schema import HEAD, catalog_version, metadata
from gristmill.catalogs.sql.upgrade import upgrade
from gristmill.ports.catalog import RunState
from gristmill.testing.catalogs import a_dataset, brought_to
from servers.pool import ServerPool

Empty = Callable[[str], str]
KINDS = ["sqlite", "postgres", "mariadb"]


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Empty:
    """Gives the URL of a new database of this name, without tables."""
    kind: str = request.param
    if kind == "sqlite":
        return lambda name: f"sqlite:///{tmp_path / name}.db"
    pool: ServerPool = request.getfixturevalue("servers")
    return lambda name: pool.database(kind, f"catalog_{name}")


def changed(url: str, make: Callable[[sa.Connection], None]) -> None:
    engine = dialect_for(url).engine(writes=True)
    with engine.begin() as connection:
        make(connection)
    engine.dispose()


def seen(url: str) -> dict[str, Any]:
    """Everything that the database knows of itself."""
    engine = dialect_for(url).engine(writes=False)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        tables = {
            name: (
                sorted(
                    (c["name"], str(c["type"]), c["nullable"], str(c.get("collation") or collation(c["type"])))
                    for c in inspector.get_columns(name)
                ),
                inspector.get_pk_constraint(name)["constrained_columns"],
                sorted((str(i["name"]), str(i["column_names"]), i["unique"]) for i in inspector.get_indexes(name)),
                sorted((str(u["name"]), str(u["column_names"])) for u in inspector.get_unique_constraints(name)),
                sorted((str(c["name"]), c["sqltext"]) for c in inspector.get_check_constraints(name)),
                inspector.get_foreign_keys(name),
            )
            for name in inspector.get_table_names()
        }
        guards = {name: " ".join(text.split()) for name, text in connection.exec_driver_sql(GUARDS[engine.name])}
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    engine.dispose()
    return {"tables": tables, "guards": guards, "revision": revision}


def collation(kind: Any) -> str:
    return str(getattr(kind, "collation", ""))


GUARDS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    "postgresql": "SELECT t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), p.prosrc) FROM pg_trigger t"
    " JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal ORDER BY 1",
    "mysql": "SELECT trigger_name, concat_ws(' ', event_object_table, action_timing, event_manipulation, action_statement)"
    " FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1",
}


def test_a_new_catalog_is_what_the_migrations_make(empty: Empty) -> None:
    fresh, migrated = empty("fresh"), empty("migrated")
    changed(fresh, create)
    changed(migrated, upgrade)
    assert seen(fresh) == seen(migrated)
    assert sorted(seen(fresh)["guards"]) == ["generation_step", "run_final"]
    for url in (fresh, migrated):
        catalog = SqlCatalog(url)
        brought_to(catalog, a_dataset(catalog), RunState.DONE)
        assert catalog.check() == []
        catalog.close()


def test_the_tables_are_those_of_the_schema(empty: Empty) -> None:
    url = empty("migrated")
    changed(url, upgrade)
    engine = dialect_for(url).engine(writes=True)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert context.get_current_revision() == HEAD
        assert compare_metadata(context, metadata) == []
        inspector = sa.inspect(connection)
        for table in metadata.sorted_tables:
            checks = {one["name"] for one in inspector.get_check_constraints(table.name)} - {"settings"}  # it is JSON
            assert checks == {c.name for c in table.constraints if isinstance(c, sa.CheckConstraint)}
    engine.dispose()


def test_a_catalog_of_the_first_release_is_brought_to_this_one(empty: Empty) -> None:
    url = empty("old")

    def begin(connection: sa.Connection) -> None:
        upgrade(connection, "0001")
        connection.exec_driver_sql("INSERT INTO dataset VALUES ('i', 't', 'demo', 'e', 4, '{}', 0)")
        connection.exec_driver_sql("INSERT INTO seen_file VALUES ('i', '/a.md', 3, 4, 'd')")

    changed(url, begin)
    catalog = SqlCatalog(url)
    brought_to(catalog, catalog.dataset("t", "demo"), RunState.DONE)
    assert catalog.released() == []
    assert catalog.seen_files("i") == {"/a.md": (3, 4, "d")}
    catalog.close()


def test_making_that_was_interrupted_is_taken_up_again(empty: Empty) -> None:
    """Only where DDL ends a transaction can anything be left of it."""
    url = empty("half")

    def half(connection: sa.Connection) -> None:
        if connection.dialect.name == "mysql":
            metadata.create_all(connection, tables=metadata.sorted_tables[::2])
            connection.execute(catalog_version.insert().values(revision=HEAD, compatible_with=HEAD))

    changed(url, half)
    catalog = SqlCatalog(url)
    brought_to(catalog, a_dataset(catalog), RunState.DONE)
    catalog.close()
    whole = empty("whole")
    changed(whole, create)
    assert seen(url) == seen(whole)


# -- releases side by side

LATER = '''
"""A release to come."""

import sqlalchemy as sa
from alembic import op

revision = "0999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("document", sa.Column("language", sa.String(16)))
    op.add_column("run", sa.Column("tries", sa.Integer, nullable=False, server_default="0"))
    op.create_table("folder", sa.Column("id", sa.Integer, primary_key=True))
    op.create_index("document_language", "document", ["language"])
    op.execute("INSERT INTO catalog_version (revision, compatible_with) VALUES ('0999', '{oldest}')")
'''


@pytest.fixture
def later(tmp_path: Path) -> Callable[[str, str], None]:
    """Brings a database to the made-up next revision, which says that ``oldest`` still runs on it."""

    def later(url: str, oldest: str) -> None:
        folder = tmp_path / "versions"
        folder.mkdir()
        (folder / "later.py").write_text(LATER.format(head=HEAD, oldest=oldest))
        SqlCatalog(url).close()
        changed(url, lambda connection: upgrade(connection, more=folder))

    return later


def test_this_release_runs_on_a_later_schema_that_only_added_to_it(
    empty: Empty, later: Callable[[str, str], None]
) -> None:
    url = empty("later")
    later(url, HEAD)
    catalog = SqlCatalog(url)
    demo = a_dataset(catalog)
    for state in RunState:
        made = brought_to(catalog, demo, state, source=f"/{state}")
        assert catalog.run(made.run.id).state is state
        brought_to(catalog, demo, RunState.DONE, source=f"/{state}", digest="d2")
    catalog.remember_files(demo.id, {"/a": (1, 2, "x")})
    catalog.delete_document("t", made.document.id)
    assert (len(catalog.documents("t")), catalog.check()) == (len(RunState) - 1, [])
    catalog.close()
    assert seen(url)["revision"] == ["0999"]


def test_this_release_refuses_a_later_schema_that_needs_a_newer_one(
    empty: Empty, later: Callable[[str, str], None]
) -> None:
    url = empty("newer")
    later(url, "0500")
    with pytest.raises(Conflict, match=r"newer release \(revision 0999, this one knows .*needs 0500 .*install that"):
        SqlCatalog(url)
    assert seen(url)["revision"] == ["0999"]
