"""Schedules of workers, runners, reapers, callers and a reconciler, with whatever goes wrong: P1-P3, P5, P9, P14 hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import get_args

import pytest

from sim.mutants import RenewsNothing
from sim.plan import Plan, What, plan
from sim.shrink import shrink
from sim.world import Played, play

SEED = int(os.environ.get("SIM_SEED", "20261125"))  # noqa: TID251  the switches of `make sim`
ROUNDS = int(os.environ.get("SIM_ROUNDS", "5000"))  # noqa: TID251
FEW, BLOCK = 300, 50
LINES = 60  # of a schedule that goes wrong, before it does
IDLE_TALK = (["now"], ["beat"], ["depth"], ["purge"])


def check(seed: int) -> Counter[str]:
    """Play the schedule of this seed; on failure tell what went wrong, in the smallest schedule that does."""
    played = play(plan(seed))
    if played.wrong:
        pytest.fail(_told(seed, played), pytrace=False)
    return Counter(played.counts)


def _told(seed: int, played: Played) -> str:
    kinds = set(played.wrong)

    def fails(smaller: Plan) -> bool:
        return bool(kinds & play(smaller).wrong.keys())

    smallest = shrink(plan(seed), fails)
    again = play(smallest)
    lines = [line for line in again.trace if line.split()[2:3] not in IDLE_TALK]
    first = next((n for n, line in enumerate(lines) if "WRONG" in line), len(lines))
    wrong = "\n".join(f"{kind}: {details}" for kind, details in again.wrong.items())
    trace = "\n".join(lines[max(0, first - LINES) : first + 1])
    command = f"SIM_SEED={seed} SIM_ROUNDS=1 {sys.executable} -m pytest -n 0 -m fault tests/sim"
    return f"seed {seed}: {', '.join(kinds)}\nagain: {command}\nthe smallest: {smallest}\n{trace}\n{wrong}"


@pytest.mark.parametrize("start", range(0, FEW, BLOCK))
def test_some_schedules(start: int) -> None:
    counts = sum((check(seed) for seed in range(start, start + BLOCK)), Counter[str]())
    assert {"succeeded", "failed", "cancelled", "dead", "retries", "handed back", "reclaimed"} <= counts.keys()
    assert counts["finish: too late"] + counts["release: too late"] + counts["extend: too late"] > 0


@pytest.mark.fault
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("start", range(0, ROUNDS, 250))
def test_many_schedules(start: int) -> None:
    for seed in range(SEED + start, SEED + min(start + 250, ROUNDS)):
        check(seed)


def test_everything_that_can_go_wrong_does() -> None:
    plans = [plan(seed) for seed in range(FEW)]
    struck = Counter(fault.what for one in plans for fault in one.faults)
    assert struck.keys() == set(get_args(What))
    assert all(times >= 20 for times in struck.values()), struck
    assert sum(one.calm for one in plans) > FEW / 10
    calls = {call for one in plans for fault in one.faults for call in fault.calls}
    assert calls > {"publish", "reserve", "extend", "finish", "release", "reclaim", "cancel", "find"}


def test_a_seed_is_one_schedule_in_this_process_and_in_every_other() -> None:
    """Also where Python hashes strings in another way, so that sets have another order."""
    seeds = range(40, 46)
    digests = [_digest(seed) for seed in seeds]
    assert [_digest(seed) for seed in seeds] == digests
    assert len(set(digests)) == len(digests)
    code = f"from sim.test_schedules import _digest\nfor seed in {seeds!r}: print(_digest(seed))"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": "4711", "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == digests


def test_a_failure_is_told_in_its_smallest_schedule() -> None:
    kind = "two run one task, though nothing struck either"
    large = next(
        one for one in map(plan, range(FEW)) if len(one.jobs) > 3 and kind in play(one, line=RenewsNothing).wrong
    )
    small = shrink(large, lambda one: kind in play(one, line=RenewsNothing).wrong)
    assert (len(small.jobs), len(small.faults), len(small.bookings)) == (1, 0, 0)


def _digest(seed: int) -> str:
    return sha256("\n".join(play(plan(seed)).trace).encode()).hexdigest()
