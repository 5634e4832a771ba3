"""The catalog's tables. What they look like in a database is written down in ``migrations``; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

HEAD = "0002"  # the newest revision in migrations/versions

metadata = sa.MetaData()

dataset = sa.Table(
    "dataset",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(128), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("embedder", sa.String(255), nullable=False),
    sa.Column("dim", sa.Integer, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.UniqueConstraint("tenant", "name", name="dataset_name"),
)

document = sa.Table(
    "document",
    metadata,
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
    sa.Index("document_dataset", "dataset_id", "created", "id"),
    sa.Index("document_tenant", "tenant", "created", "id"),
    sa.Index("document_digest", "digest"),
    sa.Index("document_counts", "dataset_id", "chunks"),
)

run = sa.Table(
    "run",
    metadata,
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
    sa.Index("run_document", "document_id", "ver"),
    sa.Index("run_unfinished", "state", "created"),
)

part = sa.Table(
    "part",
    metadata,
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

generation = sa.Table(
    "generation",
    metadata,
    sa.Column("g", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("dataset_id", sa.String(64), nullable=False),
    sa.Column("document_id", sa.String(64), nullable=False),
    sa.Column("ver", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
    sa.CheckConstraint("state IN ('pending', 'live', 'retired', 'dead')", name="generation_state"),
    sa.Index("generation_dataset", "dataset_id", "state", "g"),
    sa.Index("generation_state_changed", "state", "changed"),
    sa.Index("generation_document", "document_id"),
    sqlite_autoincrement=True,  # a number is never given out twice, also after the newest rows went
)

run_log = sa.Table(
    "run_log",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("stage", sa.String(64), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("part", sa.Integer),
    sa.Index("run_log_run", "run_id", "id"),
)

operation = sa.Table(
    "operation",
    metadata,
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
    sa.Index("operation_dataset", "dataset_id", "id"),
    sa.Index("operation_tenant", "tenant", "id"),
)

released = sa.Table(
    "released",
    metadata,
    sa.Column("tenant", sa.String(128), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
)

seen_file = sa.Table(
    "seen_file",
    metadata,
    sa.Column("dataset_id", sa.String(64), primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)
