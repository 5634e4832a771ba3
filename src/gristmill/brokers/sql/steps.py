"""The SQL broker's steps: each takes a connection inside a transaction and the broker's time, and returns what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from gristmill.base.ids import new_id
from gristmill.brokers.sql.lanes import seat
from gristmill.brokers.sql.rows import (
    BACK_ROW,
    END_ROW,
    EXTEND_ROW,
    MARK_ROW,
    PROGRESS_ROW,
    QUEUED,
    RUNNING,
    UNKEY_ROW,
    Row,
    end_params,
    insert_tasks,
    known,
    new_row,
    pieces,
    tell,
)
from gristmill.brokers.sql.tables import history, lock, notice, pack, rate, record, task, worker
from gristmill.engine import bucket
from gristmill.engine.message import (
    End,
    ErrorRecord,
    Heartbeat,
    Lease,
    Message,
    Notice,
    Progress,
    Release,
    TaskRecord,
    decode,
    used_up,
)
from gristmill.engine.state import FINAL, TaskState

NOTICE_AGE = 60.0  # seconds a notice is kept for the watchers of other processes
NOTICES_AT_ONCE = 10_000  # that are forgotten in one step

_running = (
    task.c.seq,
    task.c.id,
    task.c.queue,
    task.c.priority,
    task.c.lane,
    task.c.not_before,
    task.c.token,
    task.c.attempt,
    task.c.max_attempts,
    task.c.cancel_requested,
    task.c.history,
    task.c.progress,
    task.c.worker,
)
_held = (
    sa.select(*_running)
    .where(task.c.state == RUNNING, task.c.id.in_(sa.bindparam("b_ids", expanding=True)))
    .order_by(task.c.id)  # all lock in one order
    .with_for_update()
)
_expired = (
    sa.select(*_running, task.c.lease_until)
    .where(
        task.c.state == RUNNING,
        sa.or_(
            task.c.lease_until <= sa.bindparam("b_now"),
            task.c.holder.in_(sa.bindparam("b_gone", expanding=True)),
            task.c.worker.in_(sa.bindparam("b_workers", expanding=True)),
        ),
    )
    .with_for_update(skip_locked=True)
)
_holders = sa.select(task.c.holder).where(task.c.state == RUNNING).distinct()


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
            rows.append(new_row(message, now))
    if rows:
        insert_tasks(c, rows)
        seat(c, now, (((row["queue"], row["priority"], row["lane"]), row["not_before"]) for row in rows))
    return accepted


def extend(c: sa.Connection, now: float, leases: Sequence[Lease], lease: float) -> list[Lease]:
    """Renew what is still held; return the rest."""
    held = _held_rows(c, leases)
    rows = [{"b_seq": held[key].seq, "b_lease_until": now + lease} for one in leases if (key := _key(one)) in held]
    if rows:
        EXTEND_ROW.on(c, rows)
    return [one for one in leases if _key(one) not in held]


def finish(c: sa.Connection, now: float, ends: Sequence[End]) -> list[bool]:
    """End what is still held."""
    held = _held_rows(c, [end.lease for end in ends])
    rows, notices, done = [], [], []
    for end in ends:
        row = held.pop(_key(end.lease), None)  # popped: a second end of the same lease in one batch is too late
        done.append(row is not None)
        if row is not None:
            rows.append(end_params(row, now, end.state, result=end.result, error=end.error))
            notices.append(Notice("state", row.id, end.state.value, row.progress, "", row.worker))
    if rows:
        END_ROW.on(c, rows)
    tell(c, now, notices)
    return done


def release(c: sa.Connection, now: float, releases: Sequence[Release]) -> list[bool]:
    """Give back what is still held."""
    held = _held_rows(c, [one.lease for one in releases])
    done, pairs = [], []
    for one in releases:
        row = held.pop(_key(one.lease), None)
        done.append(row is not None)
        if row is not None:
            pairs.append((row, one))
    _give_back(c, now, ((row, one.counted, one.delay, one.error) for row, one in pairs))
    return done


def progress(c: sa.Connection, now: float, updates: Sequence[Progress]) -> list[bool]:
    """Write down what tasks that are still held say."""
    held = _held_rows(c, [update.lease for update in updates])
    rows, notices = [], []
    for update in updates:
        row = held.get(_key(update.lease))
        if row is not None:
            data = pack(update.data) if update.data else None
            rows.append(
                {
                    "b_seq": row.seq,
                    "b_progress": update.value,
                    "b_progress_message": update.message,
                    "b_progress_data": data,
                }
            )
            notices.append(Notice("progress", row.id, RUNNING, update.value, update.message, row.worker))
    if rows:
        PROGRESS_ROW.on(c, rows)
    tell(c, now, notices)
    return [_key(update.lease) in held for update in updates]


def cancel(c: sa.Connection, now: float, ids: Sequence[str], reason: str) -> list[TaskState | None]:
    """End what is queued, mark what runs."""
    wanted = (task.c.state, *_running)
    found = {}
    for piece in pieces(list(dict.fromkeys(ids))):
        found.update({row.id: row for row in c.execute(_all_of(wanted, piece))})
    ends, marks, notices = [], [], []
    for row in found.values():
        if row.state == QUEUED:
            error = ErrorRecord("TaskCancelled", reason or "cancelled", attempt=row.attempt, at=now)
            ends.append(end_params(row, now, TaskState.CANCELLED, error=error))
            notices.append(Notice("state", row.id, TaskState.CANCELLED.value, row.progress, reason, row.worker))
        elif row.state == RUNNING:
            marks.append({"b_seq": row.seq})
            notices.append(Notice("cancel", row.id, RUNNING, row.progress, reason, row.worker))
    if ends:
        END_ROW.on(c, ends)
    if marks:
        MARK_ROW.on(c, marks)
    tell(c, now, notices)
    return [TaskState(found[task_id].state) if task_id in found else None for task_id in ids]


def reclaim(
    c: sa.Connection, now: float, gone: Callable[[Iterable[str]], list[str]], workers: Sequence[str]
) -> list[TaskRecord]:
    """Leases that expired, or whose process or worker is gone, go back; old notices go."""
    holders = gone(c.execute(_holders).scalars().all()) if c.dialect.name == "sqlite" else []
    expired = c.execute(_expired, {"b_now": now, "b_gone": holders, "b_workers": list(workers)}).all()
    _give_back(c, now, ((row, True, 0.0, _silent(row, now)) for row in expired))
    _forget_notices(c, now)
    found = {one.id: one for one in records(c, task.c.id, [row.id for row in expired])}
    return [found[row.id] for row in expired]


def _forget_notices(c: sa.Connection, now: float) -> None:
    """Those that every watcher has seen by now. Several may come at once: they do not wait for each other."""
    last = c.execute(
        sa.select(notice.c.n).where(notice.c.at >= now - NOTICE_AGE).order_by(notice.c.n).limit(1)
    ).scalar()
    old = sa.select(notice.c.n).order_by(notice.c.n).limit(NOTICES_AT_ONCE).with_for_update(skip_locked=True)
    gone = c.execute(old if last is None else old.where(notice.c.n < last)).scalars().all()
    for piece in pieces(gone):
        c.execute(sa.delete(notice).where(notice.c.n.in_(piece)))


def records(c: sa.Connection, column: sa.Column[Any], values: Sequence[str]) -> list[TaskRecord]:
    """The tasks with these values in a column, in no order."""
    found = (row for piece in pieces(values) for row in c.execute(sa.select(task).where(column.in_(piece))))
    return [record(row) for row in found]


def replay(c: sa.Connection, now: float, ids: Sequence[str]) -> list[str]:
    """Ended tasks that did not succeed, as new tasks; their keys move on."""
    wanted = (task.c.seq, task.c.id, task.c.key, task.c.state, task.c.message)
    found = {}
    for piece in pieces(list(dict.fromkeys(ids))):
        found.update({row.id: row for row in c.execute(_all_of(wanted, piece))})
    fresh, moved = [], []
    for row in (found[task_id] for task_id in dict.fromkeys(ids) if task_id in found):
        message, state = decode(row.message), TaskState(row.state)
        if not state.final or state is TaskState.SUCCEEDED or message.key != row.key:  # the key has moved on
            continue
        if row.key is not None:
            moved.append({"b_seq": row.seq})
        fresh.append(msgspec.structs.replace(message, id=new_id(), delay=0.0))
    if moved:
        UNKEY_ROW.on(c, moved)
    publish(c, now, fresh)
    return [message.id for message in fresh]


def purge(c: sa.Connection, before: float, states: Sequence[TaskState], limit: int) -> int:
    """Forget some of the tasks that ended up to a time: no more at once than others can wait for."""
    final = [state.value for state in states if state in FINAL]
    old = sa.select(task.c.seq).where(task.c.state.in_(final), task.c.ended <= before).limit(limit)
    gone = [{"b_seq": seq} for seq in c.execute(old).scalars()]
    if gone:
        c.execute(sa.delete(task).where(task.c.seq == sa.bindparam("b_seq")), gone)
    return len(gone)


def beat(c: sa.Connection, now: float, heartbeat: Heartbeat, timeout: float) -> None:
    """Keep a worker's sign of life, forget the silent."""
    silent = c.execute(sa.select(worker.c.name).where(worker.c.until < now)).scalars().all()
    for piece in pieces(sorted({*silent, heartbeat.name})):  # by name: no other beat is waited for
        c.execute(sa.delete(worker).where(worker.c.name.in_(piece)))
    c.execute(sa.insert(worker), {"name": heartbeat.name, "until": now + timeout, "body": pack(heartbeat)})


def take_lock(c: sa.Connection, now: float, name: str, owner: str, ttl: float) -> bool:
    """Take or renew a named lock."""
    row = c.execute(sa.select(lock).where(lock.c.name == name).with_for_update()).first()
    if row is not None and row.owner != owner and row.until > now:
        return False
    c.execute(sa.delete(lock).where(lock.c.name == name))
    c.execute(sa.insert(lock), {"name": name, "owner": owner, "until": now + ttl})
    return True


def book(c: sa.Connection, now: float, name: str, terms: Mapping[str, Any]) -> float:
    """Book what the bucket of that name has, or will have."""
    empty = c.execute(sa.select(rate.c.empty).where(rate.c.name == name).with_for_update()).scalar()
    booking = bucket.book(empty, now, **terms)
    if booking.holds and empty is None:
        c.execute(sa.insert(rate), {"name": name, "empty": booking.empty})
    elif booking.holds:
        c.execute(sa.update(rate).where(rate.c.name == name).values(empty=booking.empty))
    return booking.wait


def _give_back(c: sa.Connection, now: float, given: Iterable[tuple[Any, bool, float, ErrorRecord | None]]) -> None:
    """Queue running rows again; or end them, when they are cancelled or out of attempts."""
    ends: list[Row] = []
    backs: list[Row] = []
    notices, waiting = [], []
    for row, counted, delay, error in given:
        past = pack([*history(row.history), error]) if error is not None else row.history
        state = TaskState.QUEUED
        if row.cancel_requested:
            state = TaskState.CANCELLED
            error = ErrorRecord("TaskCancelled", "cancelled", attempt=row.attempt, at=now)
        elif counted and row.attempt >= row.max_attempts:
            state = TaskState.DEAD
            error = error or ErrorRecord("TaskDead", used_up(row.max_attempts), attempt=row.attempt, at=now)
        if state.final:
            ends.append(end_params(row, now, state, error=error, history=past))
        else:
            due = now + delay if delay > 0 else row.not_before
            attempt = row.attempt - (not counted)
            backs.append({"b_seq": row.seq, "b_attempt": attempt, "b_not_before": due, "b_history": past})
            waiting.append(((row.queue, row.priority, row.lane), due))
        notices.append(Notice("state", row.id, state.value, row.progress, "", row.worker))
    if ends:
        END_ROW.on(c, ends)
    if backs:
        BACK_ROW.on(c, backs)
    seat(c, now, waiting)
    tell(c, now, notices)


def _silent(row: Any, now: float) -> ErrorRecord:
    what = "went silent" if row.lease_until <= now else "is gone"
    return ErrorRecord("LeaseExpired", f"worker {row.worker} {what}", attempt=row.attempt, at=now)


def _held_rows(c: sa.Connection, leases: Sequence[Lease]) -> dict[tuple[str, int, str], Any]:
    """The rows of the tasks that run, by id, by the only token that is valid now, and by whose it is."""
    ids = list(dict.fromkeys(one.id for one in leases))
    rows = (row for piece in pieces(ids) for row in c.execute(_held, {"b_ids": piece}))
    return {(row.id, row.token, row.worker): row for row in rows}


def _all_of(wanted: Sequence[sa.Column[Any]], ids: Sequence[str]) -> sa.Select[Any]:
    return sa.select(*wanted).where(task.c.id.in_(ids)).order_by(task.c.id).with_for_update()


def _key(lease: Lease) -> tuple[str, int, str]:
    """The worker, too: a broker that lost its memory begins again with the same tokens for the same ids."""
    return lease.id, lease.token, lease.worker
