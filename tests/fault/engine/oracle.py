"""What must be true after a round: P1 to P5, from the broker's records and from what bodies and keepers told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from fault.engine.plan import DOOMED, Piece, Round
from fault.engine.story import Story, Told
from gristmill.engine.message import TaskRecord
from gristmill.engine.state import TaskState

SLACK = 0.05  # seconds by which a clock read in another process may differ


@dataclass
class Seen:
    """What the director saw while the round was played."""

    lease: float
    struck: list[str] = field(default_factory=list)
    hits: dict[str, list[str]] = field(default_factory=dict)  # worker -> what was done to it
    whole: list[str] = field(default_factory=list)  # what was done to the broker as a whole
    gone: set[str] = field(default_factory=set)  # workers that were ended
    jumped: bool = False  # the broker's own clock
    forgot: list[tuple[float, float]] = field(default_factory=list)  # when the broker lost its memory
    dropped: set[str] = field(default_factory=set)  # tasks to be cancelled that the broker forgot
    starved: float = 0.0  # the longest that this process did not get the processor
    cancelled: dict[str, tuple[TaskState | None, float]] = field(
        default_factory=dict
    )  # id -> state before, when answered
    ended: dict[str, TaskRecord] = field(default_factory=dict)  # as first seen ended
    excused: int = 0  # leases lost for no other reason than a slow machine
    wrong: list[str] = field(default_factory=list)


def wrong(one: Round, story: Story, seen: Seen, records: dict[str, TaskRecord]) -> list[str]:
    """Everything that breaks a promise. ``records`` are those of the broker at the end, by the piece's name."""
    found = list(seen.wrong)
    for piece in one.pieces:
        record = records.get(piece.n)
        if record is None and piece.n in seen.dropped:
            continue
        if record is None:
            found.append(f"LOST {piece.n}: the broker does not know it")
            continue
        ids = {began.id for began in story.begun if began.n == piece.n} | {record.id}
        bad = [*_end(piece, record, story, seen), *_bodies(piece, record, story, seen)]
        for task_id in ids:
            calls = story.calls.get(task_id, [])
            back = {(told.worker, told.item.token) for told in calls if _may_have_given_back(told, seen)}
            back |= _without_answer(calls)
            for life in _lives(calls, seen):
                bad += _leases(life, story, seen, back)
        found += [f"{words}\n    " + "\n    ".join(story.of(record.id)) for words in bad]
    return found


def _end(piece: Piece, record: TaskRecord, story: Story, seen: Seen) -> Iterator[str]:
    """P1, P2, P5: the right end, once, and for good."""
    name = f"{piece.n} ({piece.message.task}, {record.id})"
    state = record.state
    if not state.final:
        yield f"LOST {name} is {state} for ever"
        return
    allowed: set[str] = {piece.end}
    if record.id in seen.cancelled:
        allowed = {"cancelled"} if seen.cancelled[record.id][0] is TaskState.QUEUED else {"cancelled", piece.end}
    if state.value not in allowed:
        yield f"WRONG END {name} is {state}, not {' or '.join(sorted(allowed))}: {record.error}"
    first = seen.ended.get(record.id)
    if first is not None and (first.state, first.result, first.token) != (state, record.result, record.token):
        yield f"END CHANGED {name} was {first.state} with token {first.token}, is {state} with token {record.token}"
    if state is TaskState.SUCCEEDED:
        yield from _result(piece, record, story)
    if state in (TaskState.DEAD, TaskState.FAILED):
        yield from _reason(piece, record)


def _result(piece: Piece, record: TaskRecord, story: Story) -> Iterator[str]:
    """The result is that of a body which ran to its end, in the attempt that the record has."""
    result = None if record.result is None else msgspec.json.decode(record.result)
    if not isinstance(result, dict) or result.get("n") != piece.n:
        yield f"WRONG RESULT {piece.n}: {result}"
        return
    left = story.left.get(result["nonce"])
    if left is None or not left.done:
        yield f"WRONG RESULT {piece.n} is of a body that did not end: {result}"
    if (result["attempt"], result["worker"]) != (record.attempt, record.worker):
        yield (
            f"STALE RESULT {piece.n} of attempt {result['attempt']} by {result['worker']}"
            f" in the record of attempt {record.attempt} by {record.worker}"
        )


def _reason(piece: Piece, record: TaskRecord) -> Iterator[str]:
    error = record.error
    if error is None or not error.message:
        yield f"NO REASON {piece.n} is {record.state} and nobody says why"
        return
    known = {error.type, *(past.type for past in record.history)}
    if (
        piece.error
        and not piece.message.deadline
        and piece.error not in known
        and record.attempt < record.message.max_attempts
    ):
        yield f"WRONG REASON {piece.n}: {known}, not {piece.error}"
    if piece.message.deadline and "deadline" not in error.message:
        yield f"WRONG REASON {piece.n}: {error.message}"


def _bodies(piece: Piece, record: TaskRecord, story: Story, seen: Seen) -> Iterator[str]:
    """P3 and the limit of attempts, as the bodies tell it."""
    begun = [one for one in story.begun if one.n == piece.n]
    most = piece.message.max_attempts
    if any(one.attempt > most for one in begun):
        yield f"TOO OFTEN {piece.n} began in attempt {max(one.attempt for one in begun)} of {most}"
    if piece.message.task in DOOMED and not seen.forgot:
        back = sum(one.call == "giving" for one in story.calls.get(record.id, []))
        if len(begun) > most + back:
            yield f"TOO OFTEN {piece.n} {piece.message.task} began {len(begun)} times: {most} attempts, {back} handed back"
    if piece.message.deadline and begun:
        yield f"TOO LATE {piece.n} began after its deadline"
    if record.id in seen.cancelled and not seen.forgot:
        before, at = seen.cancelled[record.id]
        claims = [one for one in story.calls.get(record.id, []) if one.call == "claim" and one.before > at]
        if before is TaskState.QUEUED and claims:
            yield f"CANCEL UNHEARD {piece.n} was handed out to {claims[0].worker} after it had been cancelled"
    for number, one in enumerate(begun):
        others = [
            other for other in begun[:number] if other.nonce not in story.left or story.left[other.nonce].at > one.at
        ]
        if one.beside and others and all((other.worker, other.id) == (one.worker, one.id) for other in others):
            yield f"TWO AT ONCE {piece.n}: {one.worker} ran two bodies of it"


def _lives(calls: list[Told], seen: Seen) -> Iterator[list[Told]]:
    """The calls between two losses of the broker's memory; those in the middle of one belong to none."""
    start = 0.0
    for began, ended in [*seen.forgot, (float("inf"), float("inf"))]:
        yield sorted((one for one in calls if one.before >= start and one.after <= began), key=lambda one: one.after)
        start = ended


def _leases(calls: list[Told], story: Story, seen: Seen, back: set[tuple[str, int]]) -> Iterator[str]:
    """P3: tokens grow, nothing of an older token is accepted, leases last their time, and one end."""
    claims = sorted((one for one in calls if one.call == "claim"), key=lambda one: (one.item.token, one.after))
    for old, new in pairwise(claims):
        who = f"{new.item.id}: token {old.item.token} of {old.worker}, token {new.item.token} of {new.worker}"
        if old.item.token == new.item.token:
            yield f"SAME TOKEN {who}"
        if old.before > new.after:
            yield f"TOKENS DO NOT GROW {who}"
        if (old.worker, old.item.token) not in back and old.worker not in seen.gone:
            mine = [one for one in calls if (one.worker, one.item.token) == (old.worker, old.item.token)]
            yield from _superseded(new, mine, story, seen, who)
    ends = [one for one in calls if one.call == "finish" and one.item.kept]
    if len(ends) > 1:
        yield f"TWO ENDS of {ends[0].item.id} were accepted"
    for one in calls:
        later = [new for new in claims if new.item.token > one.item.token and new.after < one.before]
        if one.item.kept and later and one.call in ("finish", "release", "extend"):
            yield (
                f"ZOMBIE HEARD {one.item.id}: {one.call} with token {one.item.token} of {one.worker} after"
                f" token {later[0].item.token} was {later[0].worker}'s"
            )


def _may_have_given_back(told: Told, seen: Seen) -> bool:
    """The broker may have heard of it although the answer says no: the question was repeated when its answer was lost."""
    if told.call not in ("giving", "release"):
        return False
    return told.item.kept is not False or bool(seen.whole or seen.hits.get(told.worker))


def _without_answer(calls: Sequence[Told]) -> set[tuple[str, int]]:
    """Leases whose return was asked for, and the round, or their worker, ended before there was an answer."""
    asked = {(one.worker, one.item.token) for one in calls if one.call == "returning"}
    return asked - {(one.worker, one.item.token) for one in calls if one.call == "release"}


def _superseded(new: Told, mine: list[Told], story: Story, seen: Seen, who: str) -> Iterator[str]:
    """``mine`` are the calls of the lease that was before: it must have expired, and not without a reason."""
    old = next(one for one in mine if one.call == "claim")
    renewed = max(one.before for one in mine if one.call in ("claim", "extend") and one.item.kept)
    if not seen.jumped and new.after + SLACK < renewed + seen.lease:
        yield f"TWO HOLDERS {who}, {new.after - renewed:.2f} s after it was renewed"
    if seen.hits.get(old.worker) or seen.whole or seen.jumped:
        return
    if seen.starved > seen.lease / 15 or story.slowest(old.worker, old.before, new.after) > seen.lease / 5:
        seen.excused += 1  # a machine, or a broker, as slow as that renews no lease in time
    else:
        yield f"LOST LEASE {who}: nothing was done to {old.worker}"
