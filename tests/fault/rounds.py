"""What a round of kills does. Everything follows from the seed and the round's number."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from gristmill.testing.faults import Kill, Role, Victim, When

ROUNDS = 200
SEED = 20261124
Kind = Literal["once", "twice", "beside", "changed", "again", "moment"]
_FIRST: list[Kind] = ["once", "twice", "beside", "changed"]

# Role and step -> up to which call they are struck: an undisturbed ingest of the folder makes at least so many.
# A test compares the table with what an ingest does, so that a new step is struck, too.
CALLS: dict[tuple[Role, str], int] = {
    ("main", "broker.beat"): 1,
    ("main", "broker.find"): 1,
    ("main", "broker.finish"): 6,
    ("main", "broker.lock"): 1,
    ("main", "broker.publish"): 10,
    ("main", "broker.reclaim"): 1,
    ("main", "broker.reserve"): 6,
    ("main", "catalog.create_dataset"): 1,
    ("main", "catalog.migrate"): 1,
    ("main", "catalog.remember_files"): 1,
    ("main", "catalog.runs"): 4,
    ("main", "catalog.submit"): 7,
    ("main", "catalog.unfinished"): 1,
    ("main", "frame.Answer"): 3,
    ("main", "frame.Boot"): 1,
    ("main", "frame.Fork"): 1,
    ("main", "frame.Work"): 16,
    ("main", "service.reconcile"): 1,
    ("main", "service.submit"): 7,
    ("main", "sql.transaction"): 30,
    ("main", "storage.put_file"): 7,
    ("main", "storage.rename"): 7,
    ("nursery", "app.load"): 1,
    ("nursery", "frame.Booted"): 1,
    ("nursery", "frame.Forked"): 1,
    ("runner", "cache.get_many"): 24,
    ("runner", "cache.put_many"): 24,
    ("runner", "catalog.commit"): 6,
    ("runner", "catalog.fail"): 1,
    ("runner", "catalog.finish_part"): 12,
    ("runner", "catalog.log"): 12,
    ("runner", "catalog.plan"): 1,
    ("runner", "catalog.split"): 2,
    ("runner", "catalog.start"): 14,
    ("runner", "catalog.writable"): 12,
    ("runner", "docstore.seal"): 6,
    ("runner", "docstore.trim"): 8,
    ("runner", "docstore.write"): 12,
    ("runner", "frame.Ask"): 4,
    ("runner", "frame.Done"): 15,
    ("runner", "frame.Said"): 12,
    ("runner", "sql.transaction"): 45,
    ("runner", "sqlite.transaction"): 36,
    ("runner", "stage.chunks"): 12,
    ("runner", "stage.commit"): 6,
    ("runner", "stage.count"): 2,
    ("runner", "stage.embed"): 12,
    ("runner", "stage.read"): 2,
    ("runner", "stage.windows"): 1,
    ("runner", "stage.write"): 12,
    ("runner", "storage.get"): 8,
    ("runner", "storage.put"): 1,
    ("runner", "storage.rename"): 1,
}
# How often these happen depends on how fast the machine is.
LOOKS: set[tuple[Role, str]] = {("main", "broker.find"), ("main", "catalog.runs"), ("main", "sql.transaction")}
# Steps on a timer: an ingest as short as this one may end before them.
SOMETIMES: dict[tuple[Role, str], int] = {
    ("main", "broker.extend"): 2,
    ("main", "broker.progress"): 1,
    ("main", "broker.release"): 1,
    ("runner", "cache.evict"): 1,
    ("runner", "catalog.report"): 1,
    ("runner", "catalog.sweepable"): 1,
    ("runner", "catalog.swept"): 1,
    ("runner", "docstore.generations"): 1,
    ("runner", "docstore.maintain"): 1,
    ("runner", "docstore.sweep"): 1,
    ("runner", "frame.Counted"): 1,
    ("runner", "storage.keys"): 1,
}
# Steps that the second ingest of a changed folder does, in which old generations go.
AGAIN = [
    key
    for key in [*CALLS, *SOMETIMES]
    if key[1] not in ("catalog.create_dataset", "catalog.migrate", "catalog.fail", "storage.put", "stage.count")
    and (
        key[0] == "nursery" or key[1].partition(".")[0] in ("catalog", "docstore", "sql", "sqlite", "service", "stage")
    )
]


@dataclass(frozen=True)
class Round:
    """One round. ``second`` is for the command that goes on after the first kill; ``moment`` is a share of the time that
    an undisturbed ingest takes."""

    number: int
    kind: Kind
    first: Kill | None
    second: Kill | None = None
    moment: float = 0.0
    victim: Victim = "top"

    def __str__(self) -> str:
        if self.first is None:
            return f"{self.number} {self.kind} {self.victim} at {self.moment:.2f}"
        kill = self.first
        return f"{self.number} {self.kind} {kill.victim} {kill.when} {kill.step} of {kill.role} {kill.nth}"


def rounds(seed: int = SEED, count: int = ROUNDS) -> list[Round]:
    """The rounds of a seed: every step, before and after, then steps of a second ingest, then moments."""
    rng = Random(seed)
    fresh = _points([*CALLS, *SOMETIMES])
    rng.shuffle(fresh)
    again = _points(AGAIN)
    rng.shuffle(again)
    made: list[Round] = []
    for n, point in enumerate(fresh):
        kind: Kind = rng.choices(_FIRST, [5, 3, 2, 2])[0]
        made.append(Round(n, kind, _kill(rng, point), _kill(rng, rng.choice(fresh)) if kind == "twice" else None))
    rest = max(0, count - len(made))
    made += [
        Round(len(made) + n, "again", _kill(rng, point, share=3)) for n, point in enumerate(again[: rest * 2 // 3])
    ]
    while len(made) < count:
        made.append(
            Round(len(made), "moment", None, moment=rng.uniform(0.05, 1.1), victim=rng.choice(get_args(Victim)))
        )
    return made[:count] if count < len(fresh) else made


def _points(steps: list[tuple[Role, str]]) -> list[tuple[Role, str, When]]:
    return [(role, step, when) for role, step in steps for when in get_args(When)]


def _kill(rng: Random, point: tuple[Role, str, When], *, share: int = 1) -> Kill:
    role, step, when = point
    most = max(1, (CALLS.get((role, step)) or SOMETIMES[role, step]) // share)
    own: Victim = "top" if role == "main" else "nursery" if role == "nursery" else "runner"
    victim = own if rng.random() < 0.6 else rng.choice(get_args(Victim))
    return Kill(role, step, when, rng.randint(1, most), victim)
