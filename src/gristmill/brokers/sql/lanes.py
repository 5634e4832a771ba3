"""Claiming in turn: which lanes have something due, whose turn it is, and what they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import sqlalchemy as sa

from gristmill.brokers.sql.bulk import Change
from gristmill.brokers.sql.rows import END_ROW, NEWS_QUEUED, QUEUED, RUNNING, SEATS, end_params, tell
from gristmill.brokers.sql.tables import lane, task, turnstile
from gristmill.engine.message import ErrorRecord, Lease, Notice, decode, too_late
from gristmill.engine.state import TaskState

_last = sa.select(sa.func.max(lane.c.turn)).scalar_subquery().label("last")
_seats = (
    sa.select(lane.c.queue, lane.c.priority, lane.c.lane, lane.c.turn, _last)
    .where(lane.c.queue.in_(sa.bindparam("b_queues", expanding=True)), lane.c.due <= sa.bindparam("b_now"))
    .order_by(lane.c.priority.desc(), lane.c.turn)
    .limit(sa.bindparam("b_limit"))
)
_lane_is = (
    lane.c.queue == sa.bindparam("b_queue"),
    lane.c.priority == sa.bindparam("b_priority"),
    lane.c.lane == sa.bindparam("b_lane"),
)
_task_waits_in = (
    task.c.state == QUEUED,
    task.c.queue == sa.bindparam("b_queue"),
    task.c.priority == sa.bindparam("b_priority"),
    task.c.lane == sa.bindparam("b_lane"),
)
_due = (
    sa.select(
        task.c.seq, task.c.message, task.c.attempt, task.c.max_attempts, task.c.token, task.c.deadline, task.c.history
    )
    .where(*_task_waits_in, task.c.not_before <= sa.bindparam("b_now"))
    .order_by(task.c.not_before, task.c.seq)
    .limit(sa.bindparam("b_limit"))
    .with_for_update(skip_locked=True)
)
_busy = (
    sa.select(task.c.queue, task.c.lane, sa.func.count().label("number"))
    .where(task.c.state == RUNNING, task.c.queue.in_(sa.bindparam("b_queues", expanding=True)))
    .group_by(task.c.queue, task.c.lane)
)
_first_in = sa.select(sa.func.min(task.c.not_before)).where(*_task_waits_in)
# Who gives a lane work and who puts it off see each other; who only gives it work bothers nobody.
_lane_due = sa.select(lane.c.due).where(*_lane_is).with_for_update(read=True, key_share=True)
_lane_alone = sa.select(lane.c.due).where(*_lane_is).with_for_update()
_set_due = sa.update(lane).where(*_lane_is).values(due=sa.bindparam("b_due"))
_remove = sa.delete(lane).where(*_lane_is)
_last_turn = sa.select(sa.func.coalesce(sa.func.max(lane.c.turn), 0))
_queues = turnstile.c.queue.in_(sa.bindparam("b_queues", expanding=True))
_turnstiles = sa.select(turnstile.c.queue).where(_queues).order_by(turnstile.c.queue)
_in_turn_only = _turnstiles.with_for_update()
_SET_TURN = Change(lane, ["queue", "priority", "lane"], ["turn"])
_CLAIM_ROW = Change(
    task,
    ["seq"],
    ["worker", "holder", "started", "lease_until"],
    grows=["token", "attempt"],
    fixed={"state": RUNNING},
)

BURY = 100  # dead letters of a lane in one look, and looks in one claim
ALL = 1_000_000_000

Seat = tuple[str, int, str]  # queue, priority, lane


class Claimant(NamedTuple):
    """Who claims: the worker's name, its process (see ``presence``), for how many seconds, how many of one lane."""

    worker: str
    holder: str
    lease: float
    per_lane: int | None = None


def seat(c: sa.Connection, now: float, waiting: Iterable[tuple[Seat, float]]) -> None:
    """Have a place in the turn for lanes with a task due at that time. It is written by ``take_seats``."""
    c.info[SEATS].extend((place, max(due, now)) for place, due in waiting)


def take_seats(c: sa.Connection) -> None:
    """Give the lanes that got work in this transaction their places; a new one behind all others.

    It comes last, and in the order of the lanes: so transactions that give work to the same lanes wait for each other, but
    not in a circle. A lane that has something due already needs no other time.
    """
    first: dict[Seat, float] = {}
    for place, due in c.info[SEATS]:
        first[place] = min(due, first.get(place, due))
    for place, due in sorted(first.items()):
        at = _at(place)
        known = c.execute(_lane_due, at).scalar()
        if known is None:
            turn = c.execute(_last_turn).scalar_one() + 1
            c.execute(
                sa.insert(lane), {"queue": place[0], "priority": place[1], "lane": place[2], "turn": turn, "due": due}
            )
        elif due < known:
            c.execute(_set_due, {**at, "b_due": due})
    if first:
        c.info[NEWS_QUEUED] = True
        c.info[SEATS] = []
        if c.dialect.name != "sqlite":
            _have_turnstiles(c, sorted({place[0] for place in first}))


def queue_up(c: sa.Connection, queues: Sequence[str]) -> None:
    """Be the only one that claims from these queues until the transaction ends."""
    c.execute(_in_turn_only, {"b_queues": list(queues)}).all()


def _have_turnstiles(c: sa.Connection, queues: Sequence[str]) -> None:
    known = set(c.execute(_turnstiles, {"b_queues": queues}).scalars())
    missing = [{"queue": queue} for queue in queues if queue not in known]
    if missing:
        c.execute(sa.insert(turnstile), missing)


def claim(c: sa.Connection, now: float, queues: Sequence[str], *, claimant: Claimant, limit: int) -> list[Lease]:
    """Claim what is due: highest priority first, lanes in turn, what has been due longest first inside a lane."""
    take_seats(c)
    leases: list[Lease] = []
    cap = _Cap(c, queues, claimant.per_lane)
    while len(leases) < limit:
        room = limit - len(leases)
        seats = c.execute(_seats, {"b_queues": list(queues), "b_now": now, "b_limit": cap.look_at(room)}).all()
        seats = [one for one in seats if cap.left(one)][:room]
        if not seats:
            break
        top = [one for one in seats if one.priority == seats[0].priority]
        leases.extend(_serve(c, now, top, claimant, room=room, cap=cap))
    for place in sorted(cap.closed):  # in the order of ``take_seats``
        _put_off(c, place)
    return leases


def first_due(c: sa.Connection, queues: Sequence[str], *, after: float | None = None) -> float | None:
    """When the next task of these queues is due, or was. ``after``: of the lanes that have none due by that time."""
    query = sa.select(sa.func.min(lane.c.due)).where(lane.c.queue.in_(queues))
    first = c.execute(query if after is None else query.where(lane.c.due > after)).scalar()
    return None if first is None else float(first)


class _Cap:
    """How many tasks each lane may still have started."""

    def __init__(self, c: sa.Connection, queues: Sequence[str], per_lane: int | None) -> None:
        self._most = per_lane
        self.closed: set[Seat] = set()  # that have given all they had
        self._busy: dict[tuple[str, str], int] = {}
        if per_lane is not None:
            self._busy = {(row.queue, row.lane): row.number for row in c.execute(_busy, {"b_queues": list(queues)})}

    def look_at(self, room: int) -> int:
        """How many lanes to look at: any number of them may be full."""
        return room + len(self.closed) if self._most is None else ALL

    def left(self, one: Any) -> int:
        if self.closed and tuple(one[:3]) in self.closed:
            return 0
        return ALL if self._most is None else max(0, self._most - self._busy.get((one.queue, one.lane), 0))

    def took(self, one: Any, number: int) -> None:
        self._busy[one.queue, one.lane] = self._busy.get((one.queue, one.lane), 0) + number


def _serve(
    c: sa.Connection, now: float, seats: Sequence[Any], claimant: Claimant, *, room: int, cap: _Cap
) -> list[Lease]:
    """One fair share from each of these lanes, one after the other, as if each had been asked for one task at a time."""
    share, more = divmod(room, len(seats))
    served = []
    for number, one in enumerate(seats):
        wanted = min(share + (number < more), cap.left(one))
        rows = _startable(c, now, one, wanted)
        served.append((one, rows))
        cap.took(one, len(rows))
        if len(rows) < wanted:
            cap.closed.add(tuple(one[:3]))
    leases = _start(c, now, _in_turn([rows for _, rows in served]), claimant)
    _pass_turn(c, served)
    return leases


def _in_turn(shares: Sequence[Sequence[Any]]) -> Iterator[Any]:
    return (row for row in chain.from_iterable(zip_longest(*shares)) if row is not None)


def _pass_turn(c: sa.Connection, served: Sequence[tuple[Any, Sequence[Any]]]) -> None:
    """Lanes go behind all others, in the order in which they were served last."""
    took = sorted((pair for pair in served if pair[1]), key=lambda pair: len(pair[1]))
    last = served[0][0].last
    if len(took) == 1 and took[0][0].turn == last:
        return  # a lane alone is behind all others already
    turns = [{**_at(one[:3]), "b_turn": last + number} for number, (one, _) in enumerate(took, 1)]
    _SET_TURN.on(c, turns)


def _put_off(c: sa.Connection, place: Seat) -> None:
    """A lane that gave all it had due is left alone until its next task is; an empty one goes."""
    at = _at(place)
    c.execute(_lane_alone, at).all()  # whoever gives it work just now has done so, or will see what we did
    first = c.execute(_first_in, at).scalar()
    if first is None:
        c.execute(_remove, at)
    else:
        c.execute(_set_due, {**at, "b_due": first})


def _startable(c: sa.Connection, now: float, one: Any, wanted: int) -> Sequence[Any]:
    """What a lane gives. What is too late to start goes to the dead letters on the way, and costs the lane no turn."""
    at, limit = {**_at(one[:3]), "b_now": now}, wanted
    rows: Sequence[Any] = ()
    for _ in range(BURY):
        rows = c.execute(_due, {**at, "b_limit": limit}).all()
        late = [(row, reason) for row in rows if (reason := _too_late(row, now)) is not None]
        if not late:
            return rows[:wanted]
        _bury(c, now, late)
        limit = max(wanted, BURY)
    return [row for row in rows if _too_late(row, now) is None][:wanted]


def _too_late(row: Any, now: float) -> str | None:
    return too_late(row.attempt, row.max_attempts, row.deadline, now)


def _bury(c: sa.Connection, now: float, late: Iterable[tuple[Any, str]]) -> None:
    ends, notices = [], []
    for row, reason in late:
        error = ErrorRecord("TaskDead", reason, attempt=row.attempt, at=now)
        ends.append(end_params(row, now, TaskState.DEAD, error=error))
        notices.append(Notice("state", decode(row.message).id, TaskState.DEAD.value))
    END_ROW.on(c, ends)
    tell(c, now, notices)


def _start(c: sa.Connection, now: float, rows: Iterable[Any], claimant: Claimant) -> list[Lease]:
    leases, claims = [], []
    for row in rows:
        times = {"b_started": now, "b_lease_until": now + claimant.lease}
        claims.append({"b_seq": row.seq, "b_worker": claimant.worker, "b_holder": claimant.holder, **times})
        leases.append(Lease(decode(row.message), row.token + 1, claimant.worker, row.attempt + 1))
    _CLAIM_ROW.on(c, claims)
    return leases


def _at(place: Sequence[Any]) -> dict[str, Any]:
    queue, priority, name = place
    return {"b_queue": queue, "b_priority": priority, "b_lane": name}
