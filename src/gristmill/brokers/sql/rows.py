"""Single rows of the SQL broker: how a task ends, goes back, is told of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from gristmill.brokers.sql.bulk import Change
from gristmill.brokers.sql.tables import notice, pack, task
from gristmill.engine.message import ErrorRecord, Message, Notice, encode
from gristmill.engine.state import TaskState

QUEUED, RUNNING = TaskState.QUEUED.value, TaskState.RUNNING.value
CHUNK = 500  # bound parameters of one statement
# Marks on the connection, of the transaction under way: what it did that others wait for, lanes that have work, whether it
# wrote anything, the server's time.
NEWS_QUEUED, NEWS_TOLD, SEATS, WROTE, NOW = "queued", "told", "seats", "wrote", "now"

Row = dict[str, Any]
V = TypeVar("V")


def mark_writes(
    c: sa.Connection, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
) -> None:
    """Before a statement is executed: whether the transaction changes anything."""
    if not c.info.get(WROTE) and not statement.startswith("SELECT"):
        c.info[WROTE] = True


END_ROW = Change(task, ["seq"], ["state", "ended", "result", "error", "history"], fixed={"lease_until": None})
BACK_ROW = Change(
    task,
    ["seq"],
    ["attempt", "not_before", "history"],
    fixed={"state": QUEUED, "worker": "", "lease_until": None},
)
EXTEND_ROW = Change(task, ["seq"], ["lease_until"])
PROGRESS_ROW = Change(task, ["seq"], ["progress", "progress_message", "progress_data"])
MARK_ROW = Change(task, ["seq"], fixed={"cancel_requested": True})
UNKEY_ROW = Change(task, ["seq"], fixed={"key": None})
_insert_task = sa.insert(task)
_numbers = sa.text("SELECT nextval(pg_get_serial_sequence('task', 'seq')) FROM generate_series(1, :count)")
_insert_notice = sa.insert(notice)


def new_row(message: Message, now: float) -> Row:
    """A task as it is accepted."""
    return {
        "id": message.id,
        "key": message.key,
        "queue": message.queue,
        "priority": message.priority,
        "lane": message.lane,
        "state": QUEUED,
        "message": encode(message),
        "published": now,
        "not_before": now + message.delay,
        "deadline": None if message.deadline is None else now + message.deadline,
        "max_attempts": message.max_attempts,
    }


def insert_tasks(c: sa.Connection, rows: list[Row]) -> None:
    """Insert new tasks in this order.

    Two that publish the same keys wait for each other. PostgreSQL finds out only after a second that they do so in a
    circle, so there the rows get their numbers first and are inserted in the order of their keys.
    """
    if c.dialect.name == "postgresql" and len(rows) > 1 and any(row["key"] is not None for row in rows):
        for row, number in zip(rows, c.execute(_numbers, {"count": len(rows)}).scalars(), strict=True):
            row["seq"] = number
        rows = sorted(rows, key=lambda row: (row["key"] or "", row["id"]))
    c.execute(_insert_task, rows)


def end_params(
    row: Any,
    now: float,
    state: TaskState,
    *,
    result: bytes | None = None,
    error: ErrorRecord | None = None,
    history: bytes | None = None,
) -> Row:
    """What END_ROW binds."""
    return {
        "b_seq": row.seq,
        "b_state": state.value,
        "b_ended": now,
        "b_result": result,
        "b_error": pack(error) if error is not None else None,
        "b_history": history or row.history,
    }


def tell(c: sa.Connection, now: float, notices: Sequence[Notice]) -> None:
    """Leave notices for every watcher, and a mark on the connection."""
    if notices:
        c.execute(_insert_notice, [{"at": now, "body": pack(one)} for one in notices])
        c.info[NEWS_TOLD] = True


def pieces(values: Sequence[V]) -> Iterator[Sequence[V]]:
    """The values in groups that fit into one statement."""
    for first in range(0, len(values), CHUNK):
        yield values[first : first + CHUNK]


def known(c: sa.Connection, column: sa.Column[Any], values: Sequence[str]) -> set[str | None]:
    """Which of these values the column holds already."""
    found: set[str | None] = set()
    for piece in pieces(values):
        found.update(c.execute(sa.select(column).where(column.in_(piece))).scalars())
    return found
