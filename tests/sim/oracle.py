"""What must hold in every schedule, and what is noted to see whether it did.

It sees each call of the broker when it begins and when it is answered, each run of a body, and the broker's records
whenever nobody has anything to do. The memory broker does a call's work when the call begins (a claim's, when it answers).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from gristmill.base.clock import Clock
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.message import Lease, Message, TaskRecord
from gristmill.engine.state import TaskState
from sim.plan import LEASE, STRUCK_BROKER, Fault, Plan

SOON = 1.0  # P5
LATER = (
    LEASE + 2.0
)  # seconds in which a worker that nothing strikes has renewed its leases, or learned that it lost them
BLINK = 1e-3
_MADE_ID = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass
class Run:
    """One run of a body."""

    number: int
    task: str
    worker: str
    line: int
    attempt: int
    began: float
    how: str = ""  # "" while it runs
    lost: float | None = None  # since when its lease has been another's, or nobody's


@dataclass
class Known:
    """What is known of one task since the broker last forgot."""

    tokens: list[int] = field(default_factory=list)
    lease: Lease | None = None  # the last one given, unless it is over
    until: float = 0.0  # by the broker's clock
    cancelled: float | None = None  # since when its end has been asked for
    ended: TaskRecord | None = None
    written: TaskState | None = None  # by which end


@dataclass(frozen=True)
class Claim:
    """What somebody who claims has asked for."""

    who: str
    queues: Sequence[str]
    seconds: float
    per_lane: int | None


def _over(fault: Fault) -> float:
    """When nothing of a fault is felt any more."""
    if fault.what in STRUCK_BROKER:
        return fault.at + BLINK
    lasts = 2 if fault.what == "calls are slow" else 1  # the last slow call begins at its end
    return fault.at + lasts * max(fault.seconds, 0.0) + BLINK


class Oracle:
    """Collects what is wrong."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan, self.clock = plan, clock
        self.wrong: dict[str, str] = {}  # the first of each kind
        self.trace: list[str] = []
        self.runs: list[Run] = []
        self.active: list[Run] = []
        self.known: defaultdict[str, Known] = defaultdict(Known)
        self.booked: defaultdict[tuple[str, float, float], list[float]] = defaultdict(
            list
        )  # when by the broker's clock
        self.counts: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self.waiting: list[Claim] = []
        self._behind: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)  # by priority's lane

    def watch(self, broker: MemoryBroker) -> None:
        """The broker, from now on: one that knows nothing yet."""
        self.broker = broker
        self.known.clear()
        self.booked.clear()
        self._behind.clear()

    def say(self, *words: object) -> None:
        told = f"{anyio.current_time():.6f} {' '.join(map(str, words))}"
        self.trace.append(_MADE_ID.sub(self._named, told))

    def _named(self, found: re.Match[str]) -> str:
        """Ids that the engine makes are other ones every time; their order is not."""
        return self._names.setdefault(found.group(), f"made-{len(self._names)}")

    def expect(self, right: bool, kind: str, *details: object) -> None:
        if not right and kind not in self.wrong:
            self.wrong[kind] = " ".join(map(str, details))
            self.say("WRONG:", kind, self.wrong[kind])

    def records(self) -> dict[str, TaskRecord]:
        """All that the broker knows, this moment."""
        return {task_id: task.record for task_id, task in self.broker._tasks.items()}

    def record(self, task_id: str) -> TaskRecord | None:
        task = self.broker._tasks.get(task_id)
        return None if task is None else task.record

    def holds(self, lease: Lease) -> bool:
        record = self.record(lease.id)
        return record is not None and record.state is TaskState.RUNNING and record.token == lease.token

    def struck(self, line: int, since: float, *, deaf: bool = True) -> bool:
        """Whether anything has gone wrong with that line, or the broker, since then; ``deaf``: lost notices count."""
        now = anyio.current_time()
        return any(
            fault.at <= now
            and (deaf or fault.what != "hears nothing")
            and _over(fault) >= since
            and (fault.line == line or fault.what in STRUCK_BROKER)
            for fault in self.plan.faults
        )

    # Bodies

    def begins(self, worker: str, line: int, message: Message, attempt: int) -> Run:
        now = anyio.current_time()
        run = Run(len(self.runs), message.id, worker, line, attempt, now)
        for other in self.active:
            if other.task == run.task:
                self.expect(other.worker != worker, "one worker runs a task twice at once", run)
                struck = self.struck(other.line, other.began) or self.struck(line, now - LEASE)
                self.expect(struck, "two run one task, though nothing struck either", other, run)
        self.runs.append(run)
        self.active.append(run)
        self.counts["runs"] += 1
        self.counts[f"begun {message.task}"] += 1
        self.say(worker, "begins", message.id, attempt)
        return run

    def ends(self, run: Run, how: str) -> None:
        run.how = how
        self.active.remove(run)
        self.say(run.worker, "ends", run.task, run.attempt, how)
        self._late(run)

    def _late(self, run: Run) -> None:
        """P5, P3: a body whose end was asked for, or whose lease is lost, is over soon."""
        now = anyio.current_time()
        record = self.record(run.task)
        held = record is not None and record.state is TaskState.RUNNING and record.worker == run.worker
        if held and record is not None and record.attempt == run.attempt:
            asked = self.known[run.task].cancelled
            if asked is not None and asked > run.began:
                calm = not self.struck(run.line, asked - SOON)
                self.expect(not calm or now - asked <= SOON, "a cancelled body goes on", run, "asked", asked)
            self._overdue(run, asked, "a cancelled body goes on, though its notice was only lost")
        else:
            run.lost = now if run.lost is None else run.lost
            self._overdue(run, run.lost, "a body goes on without a lease")

    def _overdue(self, run: Run, since: float | None, kind: str) -> None:
        now = anyio.current_time()
        late = since is not None and now - max(since, run.began) > LATER
        self.expect(not late or self.struck(run.line, now - LATER, deaf=False), kind, run, "since", since)

    def idle(self) -> None:
        """Nobody can do anything before time has passed."""
        for run in self.active:
            self._late(run)
        self.final()
        jumped = any(fault.what == "broker's clock jumps" for fault in self.plan.faults)
        for claim in self.waiting[: not jumped]:  # they all ask for the same
            due = [one.id for one in self.claimable(claim)]
            self.expect(not due, "a task waits, and so does a claim", due, claim.who)

    def final(self) -> None:
        """P2."""
        for task_id, record in self.records().items():
            known = self.known[task_id]
            if known.ended is record:
                continue
            if known.ended is not None:
                self.expect(known.ended == record, "an end was changed", task_id, known.ended, record)
            elif record.state.final:
                known.ended = record
                self._right(record, known)

    def _right(self, record: TaskRecord, known: Known) -> None:
        """Each end has its reason."""
        if record.state in (TaskState.SUCCEEDED, TaskState.FAILED):
            self.expect(known.written is record.state, "an end that nobody has written", record.id, record.state)
        elif record.state is TaskState.CANCELLED:
            self.expect(known.cancelled is not None, "cancelled, and nobody asked for it", record.id)
        else:
            used_up = record.attempt >= record.message.max_attempts
            deadline = record.message.deadline
            late = deadline is not None and self.clock.now() >= record.published + deadline
            self.expect(used_up or late, "dead before its time", record.id, record.attempt)
        self.counts[record.state] += 1

    def claimable(self, claim: Claim) -> list[TaskRecord]:
        """What a claim would have to get now."""
        now = self.clock.now() - BLINK
        records = self.records().values()
        busy = Counter(one.message.lane for one in records if one.state is TaskState.RUNNING)
        return [
            one
            for one in records
            if one.state is TaskState.QUEUED
            and one.not_before <= now
            and one.message.queue in claim.queues
            and (claim.per_lane is None or busy[one.message.lane] < claim.per_lane)
        ]

    # Claims

    def claimed(self, claim: Claim, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._one(lease, claim.seconds)
        self._capped(claim.per_lane)
        self._in_turn(claim, leases)

    def _one(self, lease: Lease, seconds: float) -> None:
        known, record, now = self.known[lease.id], self.record(lease.id), self.clock.now()
        self.expect(self.holds(lease), "a lease that is none", lease)
        self.expect(lease.token not in known.tokens, "a token given twice", lease)
        self.expect(lease.token > max(known.tokens, default=0), "tokens do not grow", lease)
        self.expect(lease.attempt <= lease.message.max_attempts, "more attempts than allowed", lease)
        self.expect(known.lease is None or known.until <= now, "two hold one task", known.lease, lease)
        self.expect(known.cancelled is None, "a cancelled task begins again", lease)
        self.expect(known.ended is None, "an ended task begins again", lease)
        self.expect(record is None or record.not_before <= now, "begun before it is due", lease)
        known.tokens.append(lease.token)
        known.lease, known.until = lease, now + seconds

    def _capped(self, per_lane: int | None) -> None:
        running = (one.message.lane for one in self.records().values() if one.state is TaskState.RUNNING)
        most = max(Counter(running).values(), default=0)
        self.expect(per_lane is None or most <= per_lane, "more of a lane than allowed", most)

    def _in_turn(self, claim: Claim, leases: Sequence[Lease]) -> None:
        """P14: higher priorities first; and no lane is passed over twice by another while it waits."""
        if not leases:
            return
        left = self.claimable(claim)
        for lease in leases:
            higher = [one.id for one in left if one.message.priority > lease.message.priority]
            self.expect(not higher, "a lower priority first", lease.id, higher)
        given = [(lease.message.priority, lease.message.lane) for lease in leases]
        waiting = {(one.message.priority, one.message.lane) for one in left}
        for turn, (priority, lane) in enumerate(given):
            self._behind.pop((str(priority), lane), None)
            for other in waiting | set(given[turn + 1 :]):
                if other != (priority, lane) and other[0] == priority:
                    passed = self._behind[str(priority), other[1]]
                    passed[lane] += 1
                    self.expect(passed[lane] <= 1, "a lane was passed over", other, "by", lane)
        for key in list(self._behind):
            if (int(key[0]), key[1]) not in waiting:
                del self._behind[key]  # it waits no longer: a new place behind all others

    # The rate

    def books(self, name: str, fields: Mapping[str, Any], wait: float) -> None:
        most = fields.get("most")
        if most is None or wait <= most:
            self.booked[name, fields["rate"], fields["burst"]].append(self.clock.now() + wait)
            self.counts[f"booked {name}"] += 1

    def rated(self) -> None:
        """However one looks at it, no more tokens are used than there are; and nothing that is paced goes without one."""
        for (name, rate, burst), when in self.booked.items():
            times = sorted(when)
            for first, since in enumerate(times):
                for last in range(first, len(times)):
                    allowed = burst + rate * (times[last] - since) + BLINK
                    self.expect(last - first + 1 <= allowed, "a rate was exceeded", name, times[first : last + 1])
        begun, booked = self.counts["begun paced"], self.counts["booked task:paced"]
        self.expect(begun <= booked, "begun without a token", begun, booked)
