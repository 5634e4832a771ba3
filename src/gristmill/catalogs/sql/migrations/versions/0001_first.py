"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


_GUARDS = (
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


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("embedder", sa.String(255), nullable=False),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.UniqueConstraint("tenant", "name", name="dataset_name"),
    )
    op.create_table(
        "document",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("dataset_id", sa.String(64), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("format", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("want", sa.Integer, nullable=False),
        sa.Column("live", sa.Integer),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("dataset_id", sa.String(64), nullable=False),
        sa.Column("document_id", sa.String(64), nullable=False),
        sa.Column("ver", sa.Integer, nullable=False),
        sa.Column("gen", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("format", sa.String(64), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("settings_digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("parts_done", sa.Integer, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("failure", sa.LargeBinary),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="run_state"),
    )
    op.create_table(
        "part",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.Integer),
        sa.Column("last", sa.Integer),
        sa.Column("chunk_first", sa.Integer),
        sa.Column("chunk_last", sa.Integer),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
    )
    op.create_table(
        "generation",
        sa.Column("g", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("dataset_id", sa.String(64), nullable=False),
        sa.Column("document_id", sa.String(64), nullable=False),
        sa.Column("ver", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
        sa.CheckConstraint("state IN ('pending', 'live', 'retired', 'dead')", name="generation_state"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "run_log",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("part", sa.Integer),
    )
    op.create_table(
        "operation",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("document_id", sa.String(64), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("dataset_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("failure", sa.LargeBinary),
    )
    op.create_table(
        "seen_file",
        sa.Column("dataset_id", sa.String(64), primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
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
    for guard in _GUARDS:
        op.execute(guard)
