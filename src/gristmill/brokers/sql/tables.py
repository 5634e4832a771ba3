"""The SQL broker's tables, and rows to records."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from gristmill.brokers.sql.columns import Bytes, Number, Seconds, Text
from gristmill.engine.message import ErrorRecord, TaskRecord, decode
from gristmill.engine.state import TaskState

metadata = sa.MetaData()

# Rows that change all the time: room beside them, and PostgreSQL clears away what they were before it is much.
_BUSY = {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.01, "autovacuum_vacuum_cost_delay": 0}

task = sa.Table(
    "task",
    metadata,
    sa.Column("seq", Number, primary_key=True, autoincrement=True),
    sa.Column("id", Text(64), nullable=False, unique=True),
    sa.Column("key", Text(255), unique=True),
    sa.Column("queue", Text(128), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("lane", Text(128), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("message", Bytes, nullable=False),
    sa.Column("published", Seconds, nullable=False),
    sa.Column("not_before", Seconds, nullable=False),
    sa.Column("deadline", Seconds),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("token", sa.Integer, nullable=False, default=0),
    sa.Column("worker", Text(255), nullable=False, default=""),
    sa.Column("holder", sa.String(64), nullable=False, default=""),  # the process: see presence
    sa.Column("lease_until", Seconds),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("started", Seconds),
    sa.Column("ended", Seconds),
    sa.Column("progress", Seconds, nullable=False, default=0.0),
    sa.Column("progress_message", Text, nullable=False, default=""),
    sa.Column("progress_data", Bytes),
    sa.Column("result", Bytes),
    sa.Column("error", Bytes),
    sa.Column("history", Bytes),
    sa.Index("task_due", "state", "queue", "priority", "lane", "not_before", "seq"),
    sa.Index("task_lease", "state", "lease_until"),
    sa.Index("task_ended", "state", "ended"),
    postgresql_with=_BUSY,
)

# Lanes with queued tasks. ``turn`` grows with every turn taken; ``due`` is never later than the lane's first task.
lane = sa.Table(
    "lane",
    metadata,
    sa.Column("queue", Text(128), primary_key=True),
    sa.Column("priority", sa.Integer, primary_key=True),
    sa.Column("lane", Text(128), primary_key=True),
    sa.Column("turn", Number, nullable=False),
    sa.Column("due", Seconds, nullable=False),
    sa.Index("lane_order", "priority", "turn"),
    sa.Index("lane_turn", "turn"),
    postgresql_with=_BUSY,
)

notice = sa.Table(
    "notice",
    metadata,
    sa.Column("n", Number, primary_key=True, autoincrement=True),
    sa.Column("at", Seconds, nullable=False),
    sa.Column("body", Bytes, nullable=False),
    sqlite_autoincrement=True,
)

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("name", Text(255), primary_key=True),
    sa.Column("until", Seconds, nullable=False),
    sa.Column("body", Bytes, nullable=False),
)

lock = sa.Table(
    "named_lock",
    metadata,
    sa.Column("name", Text(255), primary_key=True),
    sa.Column("owner", Text(255), nullable=False),
    sa.Column("until", Seconds, nullable=False),
)

# ``empty``: the time at which the bucket of that name had, or will have, no token.
rate = sa.Table(
    "rate",
    metadata,
    sa.Column("name", Text(255), primary_key=True),
    sa.Column("empty", Seconds, nullable=False),
)

# Servers only. Who claims from a queue holds its row until the claim is written, so that lanes take turns exactly.
turnstile = sa.Table("turnstile", metadata, sa.Column("queue", Text(128), primary_key=True))

# Servers only. The number of the last transaction that each writing connection has committed: when the answer to a COMMIT
# is lost, this is how its writer knows whether it happened.
receipt = sa.Table(
    "receipt",
    metadata,
    sa.Column("name", Text(64), primary_key=True),
    sa.Column("n", Number, nullable=False),
    sa.Column("at", Seconds, nullable=False),
    postgresql_with=_BUSY,
)

# Which release's tables these are, and the first one whose brokers may still write to them.
revision = sa.Table(
    "broker_version",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("oldest", sa.Integer, nullable=False),
)

_history = msgspec.json.Decoder(list[ErrorRecord])
_error = msgspec.json.Decoder(ErrorRecord)


def pack(value: Any) -> bytes:
    """A value as JSON for a column."""
    return msgspec.json.encode(value)


def history(raw: bytes | None) -> list[ErrorRecord]:
    """The failures of earlier attempts."""
    return _history.decode(raw) if raw else []


def record(row: Any) -> TaskRecord:
    """A row as the port's record."""
    return TaskRecord(
        message=decode(row.message),
        state=TaskState(row.state),
        attempt=row.attempt,
        token=row.token,
        worker=row.worker,
        published=row.published,
        not_before=row.not_before,
        started=row.started,
        ended=row.ended,
        lease_until=row.lease_until,
        cancel_requested=bool(row.cancel_requested),
        progress=row.progress,
        progress_message=row.progress_message,
        progress_data=msgspec.json.decode(row.progress_data) if row.progress_data else {},
        result=row.result,
        error=_error.decode(row.error) if row.error else None,
        history=history(row.history),
    )
