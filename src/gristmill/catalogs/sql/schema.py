"""The catalog's tables. What they look like in a database is written down in ``migrations``; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

from gristmill.catalogs.sql.types import TABLE, Bytes, Data, Moment, Name, Serial, Words

HEAD = "0003"  # the newest revision in migrations/versions

GENERATION = "generation"  # the turn of who numbers one

metadata = sa.MetaData()

catalog_version = sa.Table(  # the revisions that this database has come through since 0003
    "catalog_version",
    metadata,
    sa.Column("revision", Name(32), primary_key=True),
    sa.Column("compatible_with", Name(32), nullable=False),  # the oldest revision whose code still runs on it
    **TABLE,
)

turn = sa.Table(  # rows to be locked; see ``holds.take_turn``
    "turn",
    metadata,
    sa.Column("name", Name(32), primary_key=True),
    **TABLE,
)

dataset = sa.Table(
    "dataset",
    metadata,
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

document = sa.Table(
    "document",
    metadata,
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
    sa.Index("document_dataset", "dataset_id", "created", "id"),
    sa.Index("document_tenant", "tenant", "created", "id"),
    sa.Index("document_digest", "digest"),
    sa.Index("document_counts", "dataset_id", "chunks"),
    **TABLE,
)

run = sa.Table(
    "run",
    metadata,
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
    sa.Index("run_document", "document_id", "ver"),
    sa.Index("run_unfinished", "state", "created"),
    **TABLE,
)

part = sa.Table(
    "part",
    metadata,
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

generation = sa.Table(
    "generation",
    metadata,
    sa.Column("g", Serial, primary_key=True, autoincrement=True),
    sa.Column("dataset_id", Name(64), nullable=False),
    sa.Column("document_id", Name(64), nullable=False),
    sa.Column("ver", sa.Integer, nullable=False),
    sa.Column("state", Name(16), nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("changed", Moment, nullable=False),
    sa.CheckConstraint("state IN ('pending', 'live', 'retired', 'dead')", name="generation_state"),
    sa.Index("generation_dataset", "dataset_id", "state", "g"),
    sa.Index("generation_state_changed", "state", "changed"),
    sa.Index("generation_document", "document_id"),
    sqlite_autoincrement=True,  # a number is never given out twice, also after the newest rows went
    **TABLE,
)

run_log = sa.Table(
    "run_log",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("run_id", Name(64), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("stage", Name(64), nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("part", sa.Integer),
    sa.Index("run_log_run", "run_id", "id"),
    **TABLE,
)

operation = sa.Table(
    "operation",
    metadata,
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
    sa.Index("operation_dataset", "dataset_id", "id"),
    sa.Index("operation_tenant", "tenant", "id"),
    **TABLE,
)

released = sa.Table(
    "released",
    metadata,
    sa.Column("tenant", Name(128), primary_key=True),
    sa.Column("kind", Name(16), primary_key=True),
    sa.Column("name", Name(64), primary_key=True),
    sa.Column("at", Moment, nullable=False),
    **TABLE,
)

seen_file = sa.Table(
    "seen_file",
    metadata,
    sa.Column("dataset_id", Name(64), primary_key=True),
    sa.Column("path_digest", Name(64), primary_key=True),  # a path may be longer than a key
    sa.Column("path", Words, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime", sa.BigInteger, nullable=False),
    sa.Column("digest", Name(64), nullable=False),
    **TABLE,
)
