"""What a round does: its tasks, its duplicates, its cancels, its faults. All of it follows from seed, broker and number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from fault.engine.host import QUEUE
from fault.engine.tasks import PATIENT, POISON
from gristmill.base.ids import digest
from gristmill.engine.message import Message

SEED = 20261125
LEASE = 1.5  # seconds
LEASES = {"postgres": 3.0, "mariadb": 3.0}  # who is asked by many statements answers later on a loaded machine
LONG = 3  # leases for which a body holds on to the GIL or to its loop
TASKS = 50

End = Literal["succeeded", "failed", "dead", "cancelled"]
Fault = Literal[
    "kill keeper",
    "kill nursery",
    "kill runner",
    "stop keeper",  # SIGSTOP until its leases are others', then SIGCONT
    "stop host",  # its runners, too
    "stop runner",
    "drain",
    "cancel storm",
    "clock jump",
    "broker paused",
    "broker restarted",
    "broker forgets",
    "network cut",
    "network slow",
    "network silent",
    "network lost",  # the broker sees its connections end, the worker is not told
    "late delivery",
    "delivered twice",
]
HOST: list[Fault] = [
    "kill keeper",
    "kill keeper",
    "kill runner",
    "kill nursery",
    "stop keeper",
    "stop keeper",
    "stop host",
    "stop runner",
    "drain",
    "cancel storm",
    "clock jump",
    "broker paused",
    "broker forgets",
]
SERVER: list[Fault] = [
    "broker restarted",
    "network cut",
    "network slow",
    "network silent",
    "network lost",
    "late delivery",
]
REDIS: list[Fault] = ["delivered twice"]
WHOLE: frozenset[Fault] = frozenset({"broker paused", "broker restarted", "broker forgets"})


@dataclass(frozen=True)
class Piece:
    """A task of a round: what is asked for, and what must come of it. ``n`` names it in the ledger."""

    n: str
    message: Message
    end: End
    error: str = ""  # its type
    batch: int = 0
    published_by_body: bool = False
    again: Literal["", "message", "key"] = ""  # published a second time: the very same, or another with its key

    @property
    def may_be_cancelled(self) -> bool:
        """At any time; a parent only gets its child when it runs."""
        return self.end != "cancelled" and self.message.task != "parent"


@dataclass(frozen=True)
class Strike:
    """A fault, when so many bodies have begun, for the worker at that place."""

    fault: Fault
    after: int
    place: int
    seed: int


@dataclass(frozen=True)
class Round:
    broker: str
    number: int
    seed: int
    workers: int
    pieces: list[Piece]
    strikes: list[Strike]
    cancels: list[tuple[int, list[str]]]  # when so many bodies have begun, these tasks are cancelled

    def __str__(self) -> str:
        return f"{self.broker}-{self.number}"

    @property
    def lease(self) -> float:
        return LEASES.get(self.broker, LEASE)

    @property
    def told(self) -> str:
        faults = ", ".join(f"{one.fault} after {one.after} (worker {one.place})" for one in self.strikes)
        return f"round {self} of seed {self.seed}: {self.workers} workers, {len(self.pieces)} tasks; {faults}"


def make(broker: str, number: int, *, seed: int = SEED, faults: Sequence[Fault] = ()) -> Round:
    """The round. ``faults`` are those that this broker can have; the number sees to it that each has its turn."""
    rng = Random(f"{seed} {broker} {number}")
    possible = list(faults) or HOST
    pieces = _pieces(rng, f"{seed}.{broker}.{number}", LONG * LEASES.get(broker, LEASE))
    strikes = [_strike(rng, possible[number % len(possible)])]
    strikes += [_strike(rng, rng.choice(possible)) for _ in range(rng.choice([0, 1, 1, 2]))]
    waiting = [one.n for one in pieces if one.end == "cancelled"]
    others = [one.n for one in pieces if one.may_be_cancelled and rng.random() < 0.06]
    cancels = [(rng.randint(3, 15), waiting), (rng.randint(0, 30), others)]
    return Round(broker, number, seed, rng.randint(2, 4), pieces, strikes, cancels)


def _strike(rng: Random, fault: Fault) -> Strike:
    return Strike(fault, rng.randint(1, 40), rng.randrange(4), rng.randrange(2**31))


DOOMED = ("hopeless", "poison", "poison_async")
ENDS: dict[str, tuple[End, str]] = {  # of all others: succeeded
    "fails": ("failed", "UnsupportedDocument"),
    "burns_loop": ("failed", "LoopBlocked"),
    "blocks_loop": ("failed", "LoopBlocked"),
    "hopeless": ("dead", "ValueError"),
    "poison": ("dead", "RunnerCrashed"),
    "poison_async": ("dead", "RunnerCrashed"),
    "waits": ("cancelled", ""),
    "waits_async": ("cancelled", ""),
    "late": ("dead", "TaskDead"),
}
_KINDS: dict[str, int] = {
    "nap": 20,
    "nap_async": 18,
    "flaky": 4,
    "fails": 2,
    "hopeless": 2,
    "poison": 1,
    "poison_async": 1,
    "waits": 1,
    "waits_async": 1,
    "parent": 1,
    "late": 1,
}


def _pieces(rng: Random, tag: str, long: float) -> list[Piece]:
    kinds = list(_KINDS)
    drawn = list(_KINDS) + rng.choices(kinds, list(_KINDS.values()), k=TASKS - len(kinds) - 3)
    drawn += [
        kind for kind, share in (("holds_gil", 0.3), ("blocks_loop", 0.3), ("burns_loop", 0.1)) if rng.random() < share
    ]
    rng.shuffle(drawn)
    made: list[Piece] = []
    for count, kind in enumerate(drawn):
        made += _piece(rng, f"{tag}.{count}", kind, long)
    return made


def _piece(rng: Random, n: str, kind: str, long: float) -> list[Piece]:
    fields: dict[str, Any] = {
        "task": "nap" if kind == "late" else kind,
        "queue": QUEUE,
        "lane": rng.choice("abcd"),
        "priority": rng.choice([0, 0, 0, 1]),
        "max_attempts": POISON if kind in DOOMED else PATIENT,
        "delay": rng.choice([0.0, 0.0, 0.0, 0.0, round(rng.uniform(0.05, 1.0), 2)]),
    }
    if rng.random() < 0.6:
        fields["key"] = f"key-{n}"
    if kind == "late":
        fields |= {"delay": 0.4, "deadline": 0.1}
    args, children = [n, *_arguments(rng, kind, long)], []
    if kind == "parent":
        child: dict[str, Any] = {"task": "nap", "args": [f"{n}.child", 0.01], "key": f"key-{n}.child"}
        child |= {"queue": QUEUE, "lane": "e", "max_attempts": PATIENT}
        args.append(child)
        children = [Piece(f"{n}.child", Message(id=_id(f"{n}.child"), **child), "succeeded", published_by_body=True)]
    message = Message(id=_id(n), args=args, **fields)
    again: Literal["", "message", "key"] = ""
    if rng.random() < 0.2:
        again = "key" if message.key and rng.random() < 0.7 else "message"
    end, error = ENDS.get(kind, ("succeeded", ""))
    return [Piece(n, message, end, error, rng.randrange(3), again=again), *children]


def _arguments(rng: Random, kind: str, long: float) -> list[Any]:
    match kind:
        case "nap" | "nap_async":
            return [rng.choice([0.0, 0.0, round(rng.uniform(0.01, 0.3), 2), round(rng.uniform(0.3, 1.5), 2)])]
        case "holds_gil" | "blocks_loop":
            return [long]
        case "flaky":
            return [rng.randint(2, 4)]
        case "late":
            return [0.0]
    return []


def _id(n: str) -> str:
    return digest("fault", n)[:32]
