"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gristmill.catalogs.sql.types import TABLE, Bytes, Data, Moment, Name, Serial, Words

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


_SQLITE = (
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
_POSTGRESQL = (
    """
    CREATE OR REPLACE FUNCTION gristmill_run_final() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.state IN ('done', 'failed', 'cancelled') AND NEW.state <> OLD.state THEN
            RAISE EXCEPTION 'the end of a run does not change' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER run_final BEFORE UPDATE OF state ON run
    FOR EACH ROW EXECUTE FUNCTION gristmill_run_final()
    """,
    """
    CREATE OR REPLACE FUNCTION gristmill_generation_step() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT (NEW.state = OLD.state
            OR (OLD.state = 'pending' AND NEW.state IN ('live', 'dead'))
            OR (OLD.state = 'live' AND NEW.state = 'retired')) THEN
            RAISE EXCEPTION 'no such step between states of a generation'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER generation_step BEFORE UPDATE OF state ON generation
    FOR EACH ROW EXECUTE FUNCTION gristmill_generation_step()
    """,
)
_MYSQL = (
    "DROP TRIGGER IF EXISTS run_final",
    """
    CREATE TRIGGER run_final BEFORE UPDATE ON run FOR EACH ROW
    IF OLD.state IN ('done', 'failed', 'cancelled') AND NEW.state <> OLD.state THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the end of a run does not change';
    END IF
    """,
    "DROP TRIGGER IF EXISTS generation_step",
    """
    CREATE TRIGGER generation_step BEFORE UPDATE ON generation FOR EACH ROW
    IF NOT (NEW.state = OLD.state
        OR (OLD.state = 'pending' AND NEW.state IN ('live', 'dead'))
        OR (OLD.state = 'live' AND NEW.state = 'retired')) THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no such step between states of a generation';
    END IF
    """,
)
_GUARDS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mysql": _MYSQL}


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", Name(64), primary_key=True),
        sa.Column("tenant", Name(128), nullable=False),
        sa.Column("name", Name(255), nullable=False),
        sa.Column("embedder", Name(255), nullable=False),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("settings", Data, nullable=False),
        sa.Column("created", Moment, nullable=False),
        sa.UniqueConstraint("tenant", "name", name="dataset_name"),
        **TABLE,
    )
    op.create_table(
        "document",
        sa.Column("id", Name(64), primary_key=True),
        sa.Column("tenant", Name(128), nullable=False),
        sa.Column("dataset_id", Name(64), nullable=False),
        sa.Column("source", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("digest", Name(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("format", Name(64), nullable=False),
        sa.Column("run_id", Name(64), nullable=False),
        sa.Column("want", sa.Integer, nullable=False),
        sa.Column("live", Serial),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
        sa.Column("created", Moment, nullable=False),
        sa.Column("updated", Moment, nullable=False),
        sa.Column("seconds", Moment, nullable=False),
        **TABLE,
    )
    op.create_table(
        "run",
        sa.Column("id", Name(64), primary_key=True),
        sa.Column("tenant", Name(128), nullable=False),
        sa.Column("dataset_id", Name(64), nullable=False),
        sa.Column("document_id", Name(64), nullable=False),
        sa.Column("ver", sa.Integer, nullable=False),
        sa.Column("gen", Serial, nullable=False),
        sa.Column("digest", Name(64), nullable=False),
        sa.Column("format", Name(64), nullable=False),
        sa.Column("settings", Data, nullable=False),
        sa.Column("settings_digest", Name(64), nullable=False),
        sa.Column("state", Name(16), nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("parts_done", sa.Integer, nullable=False),
        sa.Column("progress", Moment, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("created", Moment, nullable=False),
        sa.Column("started", Moment),
        sa.Column("ended", Moment),
        sa.Column("failure", Bytes),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="run_state"),
        **TABLE,
    )
    op.create_table(
        "part",
        sa.Column("run_id", Name(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.Integer),
        sa.Column("last", sa.Integer),
        sa.Column("chunk_first", sa.Integer),
        sa.Column("chunk_last", sa.Integer),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("progress", Moment, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
        **TABLE,
    )
    op.create_table(
        "generation",
        sa.Column("g", Serial, primary_key=True, autoincrement=True),
        sa.Column("dataset_id", Name(64), nullable=False),
        sa.Column("document_id", Name(64), nullable=False),
        sa.Column("ver", sa.Integer, nullable=False),
        sa.Column("state", Name(16), nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("changed", Moment, nullable=False),
        sa.CheckConstraint("state IN ('pending', 'live', 'retired', 'dead')", name="generation_state"),
        sqlite_autoincrement=True,
        **TABLE,
    )
    op.create_table(
        "run_log",
        sa.Column("id", Serial, primary_key=True, autoincrement=True),
        sa.Column("run_id", Name(64), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("stage", Name(64), nullable=False),
        sa.Column("message", Words, nullable=False),
        sa.Column("part", sa.Integer),
        **TABLE,
    )
    op.create_table(
        "operation",
        sa.Column("id", Serial, primary_key=True, autoincrement=True),
        sa.Column("tenant", Name(128), nullable=False),
        sa.Column("run_id", Name(64), nullable=False),
        sa.Column("document_id", Name(64), nullable=False),
        sa.Column("document", Words, nullable=False),
        sa.Column("dataset_id", Name(64), nullable=False),
        sa.Column("state", Name(16), nullable=False),
        sa.Column("started", Moment, nullable=False),
        sa.Column("seconds", Moment, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("failure", Bytes),
        **TABLE,
    )
    op.create_table(
        "seen_file",
        sa.Column("dataset_id", Name(64), primary_key=True),
        sa.Column("path", sa.Text().with_variant(sa.String(128), "postgresql", "mysql"), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime", sa.BigInteger, nullable=False),
        sa.Column("digest", Name(64), nullable=False),
        **TABLE,
    )
    op.create_index("document_dataset", "document", ["dataset_id", "created", "id"])
    op.create_index("document_tenant", "document", ["tenant", "created", "id"])
    op.create_index("document_digest", "document", ["digest"])
    op.create_index("run_document", "run", ["document_id", "ver"])
    op.create_index("run_unfinished", "run", ["state", "created"])
    op.create_index("generation_dataset", "generation", ["dataset_id", "state", "g"])
    op.create_index("generation_state_changed", "generation", ["state", "changed"])
    op.create_index("generation_document", "generation", ["document_id"])
    op.create_index("run_log_run", "run_log", ["run_id", "id"])
    op.create_index("operation_dataset", "operation", ["dataset_id", "id"])
    op.create_index("operation_tenant", "operation", ["tenant", "id"])
    for guard in _GUARDS[op.get_bind().dialect.name]:
        op.execute(guard)
