"""What happens in one schedule: who wants what done, and what goes wrong meanwhile. Everything follows from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, get_args

HORIZON = 24.0  # seconds within which everything is asked for, and everything goes wrong
LEASE = 6.0
LATE = 0.4  # seconds that a call takes at most, but for faults
CALLS = (
    "publish",
    "notices",
    "reserve",
    "extend",
    "finish",
    "release",
    "progress",
    "cancel",
    "reclaim",
    "describe",
    "find",
    "book",
)

HOLDING = ("reserve", "extend", "finish", "release")  # what a worker cannot do without

How = Literal["ok", "again", "fails", "crashes", "never"]
What = Literal[
    "freezes",  # a keeper does nothing for a while, longer than its leases, and goes on as if nothing had been
    "dies",  # SIGKILL; another one starts later
    "stops",  # cancelled: it hands back what it holds; another one starts later
    "drains",
    "calls fail",  # and have not happened
    "answers get lost",  # the calls have happened
    "calls are slow",
    "hears nothing",  # no notice comes through
    "clock jumps",  # of one worker's host
    "broker's clock jumps",
    "broker forgets",
]
STRUCK_BROKER = ("broker's clock jumps", "broker forgets")


@dataclass(frozen=True)
class Attempt:
    """What one attempt at a body does: it takes so many seconds and ends in this way."""

    seconds: float
    how: How
    says: bool = False


@dataclass(frozen=True)
class Job:
    """Somebody wants this done. ``attempts``: the last one is what all further ones do."""

    number: int
    at: float
    attempts: tuple[Attempt, ...]
    kind: Literal["async", "sync", "paced"] = "async"
    lane: str = "a"
    priority: int = 0
    delay: float = 0.0
    deadline: float | None = None
    most: int = 3
    again_at: tuple[float, ...] = ()  # asked for again, by the same key
    cancel_at: float | None = None
    awaited: bool = False  # whether somebody waits for its end

    def attempt(self, number: int) -> Attempt:
        return self.attempts[min(number, len(self.attempts)) - 1]


@dataclass(frozen=True)
class Fault:
    at: float
    what: What
    line: int = 0  # whose way to the broker: a worker's number; -1 is that of those who submit and cancel
    seconds: float = 0.0  # how long
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One schedule. ``seed`` also decides who goes first whenever several could."""

    seed: int
    jobs: tuple[Job, ...]
    faults: tuple[Fault, ...] = ()
    workers: int = 2
    slots: int = 2
    per_lane: int | None = None
    inline: bool = False
    hurried: bool = False  # workers that have seen short tasks only take some ahead
    late: float = LATE
    bookings: tuple[float, ...] = ()  # when somebody books a token of the one rate

    @property
    def calm(self) -> bool:
        return not self.faults

    @property
    def forgets(self) -> bool:
        return any(fault.what == "broker forgets" for fault in self.faults)


def plan(seed: int) -> Plan:
    """The schedule of a seed."""
    rng = Random(seed)
    inline = rng.random() < 0.3
    workers = rng.choice([1, 2, 2, 3])
    jobs = tuple(_job(rng, number, inline) for number in range(rng.randint(1, 12)))
    faults: list[Fault] = []
    if rng.random() < 0.8:
        kinds = rng.sample(get_args(What), rng.randint(1, 4))
        faults = [
            _fault(rng, rng.choice(kinds), workers, rng.choice(jobs)) for _ in range(rng.choice([1, 1, 2, 3, 5, 8]))
        ]
    return Plan(
        seed,
        tuple(_cancelled(rng, job, faults) for job in jobs),
        tuple(sorted(faults, key=lambda fault: fault.at)),
        workers=workers,
        slots=rng.choice([1, 1, 2, 3]),
        per_lane=rng.choice([None, None, 1, 2]),
        inline=inline,
        hurried=rng.random() < 0.3,
        late=rng.choice([0.0, 0.02, LATE]),
        bookings=tuple(rng.uniform(0, 5) for _ in range(rng.choice([0, 0, 0, 12]))),
    )


def _job(rng: Random, number: int, inline: bool) -> Job:
    at = rng.choice([0.0, rng.uniform(0, 3), rng.uniform(0, HORIZON / 2)])
    attempts = tuple(_attempt(rng) for _ in range(rng.choice([1, 1, 2, 3])))
    cancel_at = at + rng.choice([rng.uniform(0, 1), rng.uniform(0, HORIZON / 2)]) if rng.random() < 0.2 else None
    if any(attempt.how == "never" for attempt in attempts) and cancel_at is None:
        cancel_at = at + rng.uniform(2, HORIZON / 2)
    return Job(
        number,
        at,
        attempts,
        kind=rng.choice(["async", "paced"] if inline else ["async", "sync", "sync", "paced"]),
        lane=rng.choice("aaabc"),
        priority=rng.choice([0, 0, 0, 1]),
        delay=rng.choice([0.0, 0.0, 0.0, rng.uniform(0.5, 8)]),
        deadline=rng.choice([None, None, None, None, rng.uniform(1, 20)]),
        most=rng.choice([1, 2, 3, 3, 5]),
        again_at=tuple(at + rng.uniform(0, 5) for _ in range(rng.choice([0, 0, 0, 1, 2]))),
        cancel_at=cancel_at,
        awaited=rng.random() < 0.2,
    )


def _cancelled(rng: Random, job: Job, faults: Sequence[Fault]) -> Job:
    """Cancels that a worker does not hear of, often: they are the ones that are told by the task's record only."""
    deaf = [fault for fault in faults if fault.what == "hears nothing"]
    if not deaf or rng.random() < 0.5:
        return job
    fault = rng.choice(deaf)
    at = max(0.0, fault.at - rng.uniform(0, 2))
    return replace(job, at=at, delay=0.0, cancel_at=fault.at + rng.uniform(0, min(fault.seconds, 2)))


def _attempt(rng: Random) -> Attempt:
    seconds = rng.choice([0.0, 0.01, rng.uniform(0.01, 1), rng.uniform(1, 3), rng.uniform(5, 15)])
    how: How = rng.choice(["ok", "ok", "ok", "ok", "ok", "again", "again", "fails", "crashes", "never"])
    return Attempt(round(seconds, 3), how, says=rng.random() < 0.2)


def _fault(rng: Random, what: What, workers: int, job: Job) -> Fault:
    """Mostly while somebody works: when this job is likely to run, or to end."""
    began, seconds = job.at + job.delay, job.attempts[0].seconds
    at = rng.choice([rng.uniform(0, HORIZON), began + rng.uniform(0, seconds), began + seconds - rng.uniform(0, 0.5)])
    at = round(max(0.0, at), 3)
    line = rng.randrange(workers)
    calls: tuple[str, ...] = ()
    seconds = rng.choice([rng.uniform(0.1, 2), rng.uniform(2, 2 * LEASE)])
    if what == "freezes":
        seconds = rng.choice([rng.uniform(1, LEASE), rng.uniform(LEASE, 2.5 * LEASE)])
    elif what in ("calls fail", "answers get lost", "calls are slow"):
        line = rng.choice([-1, *range(workers)])
        calls = tuple(rng.sample(CALLS, rng.randint(1, 4))) + tuple(rng.sample(HOLDING, rng.randint(0, 3)))
    elif what in ("clock jumps", "broker's clock jumps"):
        seconds = rng.choice([rng.uniform(1, 5 * LEASE), 3600.0] + [-60.0] * (what == "clock jumps"))
    return Fault(at, what, line, round(seconds, 3), calls)
