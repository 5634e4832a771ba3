"""The SQL broker's steps: each takes a connection inside a transaction and the broker's time, and returns what it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from gristmill.base.ids import new_id
from gristmill.brokers.sql.tables import history, lane, notice, pack, record, task
from gristmill.engine.message import (
    End,
    ErrorRecord,
    Lease,
    Message,
    Notice,
    Progress,
    Release,
    TaskRecord,
    decode,
    encode,
)
from gristmill.engine.state import FINAL, TaskState

NOTICE_AGE = 60.0  # seconds a notice is kept for the watchers of other processes
QUEUED, RUNNING = TaskState.QUEUED.value, TaskState.RUNNING.value
CHUNK = 500  # bound parameters of one statement

Row = dict[str, Any]

_insert_task = sa.insert(task)
_insert_notice = sa.insert(notice)
_claim_row = (
    sa.update(task)
    .where(task.c.seq == sa.bindparam("b_seq"))
    .values(
        state=RUNNING,
        token=task.c.token + 1,
        attempt=task.c.attempt + 1,
        worker=sa.bindparam("b_worker"),
        started=sa.bindparam("b_now"),
        lease_until=sa.bindparam("b_until"),
    )
)
_end_row = (
    sa.update(task)
    .where(task.c.seq == sa.bindparam("b_seq"))
    .values(
        state=sa.bindparam("b_state"),
        ended=sa.bindparam("b_now"),
        lease_until=None,
        result=sa.bindparam("b_result"),
        error=sa.bindparam("b_error"),
        history=sa.bindparam("b_history"),
    )
)
_back_row = (
    sa.update(task)
    .where(task.c.seq == sa.bindparam("b_seq"))
    .values(
        state=QUEUED,
        attempt=sa.bindparam("b_attempt"),
        worker="",
        lease_until=None,
        not_before=sa.bindparam("b_not_before"),
        history=sa.bindparam("b_history"),
    )
)
_extend_row = sa.update(task).where(task.c.seq == sa.bindparam("b_seq")).values(lease_until=sa.bindparam("b_until"))
_progress_row = (
    sa.update(task)
    .where(task.c.seq == sa.bindparam("b_seq"))
    .values(
        progress=sa.bindparam("b_value"),
        progress_message=sa.bindparam("b_message"),
        progress_data=sa.bindparam("b_data"),
    )
)
_due = (
    sa.select(
        task.c.seq, task.c.message, task.c.attempt, task.c.max_attempts, task.c.token, task.c.deadline, task.c.history
    )
    .where(
        task.c.queue == sa.bindparam("b_queue"),
        task.c.state == QUEUED,
        task.c.priority == sa.bindparam("b_priority"),
        task.c.lane == sa.bindparam("b_lane"),
        task.c.not_before <= sa.bindparam("b_now"),
    )
    .order_by(task.c.not_before, task.c.seq)
    .limit(sa.bindparam("b_limit"))
    .with_for_update(skip_locked=True)
)
_any_queued = (
    sa.select(task.c.seq)
    .where(
        task.c.queue == sa.bindparam("b_queue"),
        task.c.state == QUEUED,
        task.c.priority == sa.bindparam("b_priority"),
        task.c.lane == sa.bindparam("b_lane"),
    )
    .limit(1)
)
_held = sa.select(
    task.c.seq,
    task.c.id,
    task.c.token,
    task.c.attempt,
    task.c.max_attempts,
    task.c.cancel_requested,
    task.c.history,
    task.c.progress,
    task.c.worker,
).where(task.c.state == RUNNING, task.c.id.in_(sa.bindparam("b_ids", expanding=True)))


def publish(c: sa.Connection, now: float, messages: Sequence[Message]) -> list[bool]:
    """Insert what is not known by id or key, and give each lane a place."""
    ids = known(c, task.c.id, [message.id for message in messages])
    keys = known(c, task.c.key, [message.key for message in messages if message.key is not None])
    accepted, rows = [], []
    for message in messages:
        fresh = message.id not in ids and (message.key is None or message.key not in keys)
        accepted.append(fresh)
        if fresh:
            ids.add(message.id)
            keys.add(message.key)
            rows.append(_row(message, now))
    if rows:
        c.execute(_insert_task, rows)
        _seat(c, {(row["queue"], row["priority"], row["lane"]) for row in rows})
    return accepted


def claim(c: sa.Connection, now: float, queues: Sequence[str], *, worker: str, limit: int, lease: float) -> list[Lease]:
    """Claim what is due: highest priority first, lanes in turn, oldest first inside a lane."""
    seats = c.execute(
        sa.select(lane).where(lane.c.queue.in_(queues)).order_by(lane.c.priority.desc(), lane.c.turn, lane.c.lane)
    ).all()
    leases: list[Lease] = []
    for priority in dict.fromkeys(seat.priority for seat in seats):
        group = [seat for seat in seats if seat.priority == priority]
        _claim_group(c, now, group, leases, worker=worker, limit=limit, lease=lease)
        if len(leases) >= limit:
            break
    return leases


def next_due(c: sa.Connection, now: float, queues: Sequence[str]) -> float | None:
    """Seconds until the next delayed task of these queues is due."""
    first = c.execute(
        sa.select(sa.func.min(task.c.not_before)).where(
            task.c.queue.in_(queues), task.c.state == QUEUED, task.c.not_before > now
        )
    ).scalar()
    return None if first is None else max(0.0, float(first) - now)


def extend(c: sa.Connection, now: float, leases: Sequence[Lease], lease: float) -> list[Lease]:
    held = _held_rows(c, leases)
    rows = [{"b_seq": held[one.id].seq, "b_until": now + lease} for one in leases if one.id in held]
    if rows:
        c.execute(_extend_row, rows)
    return [one for one in leases if one.id not in held]


def finish(c: sa.Connection, now: float, ends: Sequence[End]) -> list[bool]:
    held = _held_rows(c, [end.lease for end in ends])
    rows, notices, done = [], [], []
    for end in ends:
        row = held.pop(end.lease.id, None)  # popped: a second end of the same lease in one batch is too late
        done.append(row is not None)
        if row is not None:
            rows.append(_end_params(row, now, end.state, result=end.result, error=end.error))
            notices.append(Notice("state", row.id, end.state.value, row.progress, "", row.worker))
    if rows:
        c.execute(_end_row, rows)
    tell(c, now, notices)
    return done


def release(c: sa.Connection, now: float, releases: Sequence[Release]) -> list[bool]:
    held = _held_rows(c, [one.lease for one in releases])
    done = []
    for one in releases:
        row = held.pop(one.lease.id, None)
        done.append(row is not None)
        if row is not None:
            _back(c, now, row, one)
    if any(done):
        _seat(c, {(m.queue, m.priority, m.lane) for m in (one.lease.message for one in releases)})
    return done


def progress(c: sa.Connection, now: float, updates: Sequence[Progress]) -> list[bool]:
    held = _held_rows(c, [update.lease for update in updates])
    rows, notices = [], []
    for update in updates:
        row = held.get(update.lease.id)
        if row is not None:
            data = pack(update.data) if update.data else None
            rows.append({"b_seq": row.seq, "b_value": update.value, "b_message": update.message, "b_data": data})
            notices.append(Notice("progress", row.id, RUNNING, update.value, update.message, row.worker))
    if rows:
        c.execute(_progress_row, rows)
    tell(c, now, notices)
    return [update.lease.id in held for update in updates]


def cancel(c: sa.Connection, now: float, ids: Sequence[str], reason: str) -> list[TaskState | None]:
    rows = {row.id: row for piece in _pieces(ids) for row in c.execute(sa.select(task).where(task.c.id.in_(piece)))}
    notices = []
    for row in rows.values():
        if row.state == QUEUED:
            error = ErrorRecord("TaskCancelled", reason or "cancelled", attempt=row.attempt, at=now)
            c.execute(_end_row, _end_params(row, now, TaskState.CANCELLED, error=error))
            notices.append(Notice("state", row.id, TaskState.CANCELLED.value, row.progress, reason, row.worker))
        elif row.state == RUNNING:
            c.execute(sa.update(task).where(task.c.seq == row.seq).values(cancel_requested=True))
            notices.append(Notice("cancel", row.id, RUNNING, row.progress, reason, row.worker))
    tell(c, now, notices)
    return [TaskState(rows[task_id].state) if task_id in rows else None for task_id in ids]


def reclaim(c: sa.Connection, now: float) -> list[TaskRecord]:
    """Expired leases go back; old notices go."""
    expired = c.execute(
        sa.select(task).where(task.c.state == RUNNING, task.c.lease_until <= now).with_for_update(skip_locked=True)
    ).all()
    for row in expired:
        message = decode(row.message)
        error = ErrorRecord("LeaseExpired", f"worker {row.worker} went silent", attempt=row.attempt, at=now)
        _back(c, now, row, Release(Lease(message, row.token, row.worker, row.attempt), error=error))
        _seat(c, {(row.queue, row.priority, row.lane)})
    c.execute(sa.delete(notice).where(notice.c.at < now - NOTICE_AGE))
    ids = [row.id for row in expired]
    return [record(row) for piece in _pieces(ids) for row in c.execute(sa.select(task).where(task.c.id.in_(piece)))]


def replay(c: sa.Connection, now: float, ids: Sequence[str]) -> list[str]:
    """Ended tasks that did not succeed, as new tasks; their keys move on."""
    fresh = []
    for row in [row for piece in _pieces(ids) for row in c.execute(sa.select(task).where(task.c.id.in_(piece)))]:
        state = TaskState(row.state)
        if not state.final or state is TaskState.SUCCEEDED:
            continue
        message = msgspec.structs.replace(decode(row.message), id=new_id(), delay=0.0)
        c.execute(sa.update(task).where(task.c.seq == row.seq).values(key=None))
        publish(c, now, [message])
        fresh.append(message.id)
    return fresh


def purge(c: sa.Connection, now: float, states: Sequence[TaskState], older_than: float) -> int:
    final = [state.value for state in states if state in FINAL]
    gone = c.execute(sa.delete(task).where(task.c.state.in_(final), task.c.ended <= now - older_than))
    return int(gone.rowcount)


def tell(c: sa.Connection, now: float, notices: Sequence[Notice]) -> None:
    """Leave notices for every watcher."""
    if notices:
        c.execute(_insert_notice, [{"at": now, "body": pack(one)} for one in notices])


def known(c: sa.Connection, column: sa.Column[Any], values: Sequence[str]) -> set[str | None]:
    """Which of these values the column holds already."""
    found: set[str | None] = set()
    for piece in _pieces(values):
        found.update(c.execute(sa.select(column).where(column.in_(piece))).scalars())
    return found


def _claim_group(
    c: sa.Connection, now: float, seats: Sequence[Any], leases: list[Lease], *, worker: str, limit: int, lease: float
) -> None:
    """Let the lanes of one priority take turns until enough is claimed or nothing is due."""
    turn = max(seat.turn for seat in seats)
    while seats and len(leases) < limit:
        quota = -(-(limit - len(leases)) // len(seats))
        served = []
        for seat in seats:
            where = {"b_queue": seat.queue, "b_priority": seat.priority, "b_lane": seat.lane}
            taken = min(quota, limit - len(leases))
            rows = c.execute(_due, {**where, "b_now": now, "b_limit": taken}).all() if taken else []
            if rows:
                leases.extend(_start(c, now, rows, worker, lease))
                turn += 1
                c.execute(sa.update(lane).where(*_at(seat)).values(turn=turn))
                served.append(seat)
            elif taken and c.execute(_any_queued, where).first() is None:
                c.execute(sa.delete(lane).where(*_at(seat)))
        seats = served


def _at(seat: Any) -> tuple[sa.ColumnElement[bool], ...]:
    return (lane.c.queue == seat.queue, lane.c.priority == seat.priority, lane.c.lane == seat.lane)


def _start(c: sa.Connection, now: float, rows: Sequence[Any], worker: str, lease: float) -> list[Lease]:
    leases, claims, notices = [], [], []
    for row in rows:
        message = decode(row.message)
        reason = _too_late(row, now)
        if reason is None:
            claims.append({"b_seq": row.seq, "b_worker": worker, "b_now": now, "b_until": now + lease})
            leases.append(Lease(message, row.token + 1, worker, row.attempt + 1))
        else:
            error = ErrorRecord("TaskDead", reason, attempt=row.attempt, at=now)
            c.execute(_end_row, _end_params(row, now, TaskState.DEAD, error=error))
            notices.append(Notice("state", message.id, TaskState.DEAD.value))
    if claims:
        c.execute(_claim_row, claims)
    tell(c, now, notices)
    return leases


def _too_late(row: Any, now: float) -> str | None:
    if row.deadline is not None and row.deadline < now:
        return "the deadline passed before the task could start"
    if row.attempt >= row.max_attempts:
        return f"all {row.max_attempts} attempts are used up"
    return None


def _back(c: sa.Connection, now: float, row: Any, one: Release) -> None:
    """Queue a running row again; or end it, when it is cancelled or out of attempts."""
    past = history(row.history)
    if one.error is not None:
        past.append(one.error)
    kept = pack(past) if past else None
    if row.cancel_requested or (one.counted and row.attempt >= row.max_attempts):
        state = TaskState.CANCELLED if row.cancel_requested else TaskState.DEAD
        error = ErrorRecord("TaskCancelled", "cancelled", at=now) if row.cancel_requested else one.error
        c.execute(_end_row, {**_end_params(row, now, state, error=error), "b_history": kept})
    else:
        state = TaskState.QUEUED
        attempt = row.attempt if one.counted else row.attempt - 1
        back = {"b_seq": row.seq, "b_attempt": attempt, "b_not_before": now + one.delay, "b_history": kept}
        c.execute(_back_row, back)
    tell(c, now, [Notice("state", row.id, state.value, row.progress, "", row.worker)])


def _end_params(
    row: Any, now: float, state: TaskState, *, result: bytes | None = None, error: ErrorRecord | None = None
) -> Row:
    return {
        "b_seq": row.seq,
        "b_state": state.value,
        "b_now": now,
        "b_result": result,
        "b_error": pack(error) if error is not None else None,
        "b_history": row.history,
    }


def _held_rows(c: sa.Connection, leases: Sequence[Lease]) -> dict[str, Any]:
    """The rows of the leases that are still valid, by task id."""
    tokens = {one.id: one.token for one in leases}
    rows = (row for piece in _pieces(list(tokens)) for row in c.execute(_held, {"b_ids": piece}))
    return {row.id: row for row in rows if row.token == tokens[row.id]}


def _seat(c: sa.Connection, seats: Iterable[tuple[str, int, str]]) -> None:
    """Give lanes a place in the turn if they have none: behind those that were served least recently."""
    for queue, priority, name in seats:
        where = (lane.c.queue == queue, lane.c.priority == priority)
        if c.execute(sa.select(lane.c.turn).where(*where, lane.c.lane == name)).first() is None:
            first = c.execute(sa.select(sa.func.min(lane.c.turn)).where(*where)).scalar()
            c.execute(sa.insert(lane).values(queue=queue, priority=priority, lane=name, turn=(first or 0)))


def _row(message: Message, now: float) -> Row:
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


def _pieces(values: Sequence[str]) -> Iterable[Sequence[str]]:
    for first in range(0, len(values), CHUNK):
        yield values[first : first + CHUNK]
