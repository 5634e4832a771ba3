"""A bug planted in the broker, in the worker, or between the two, shows within a few hundred schedules."""

from __future__ import annotations

from typing import Any

import pytest

from sim import mutants
from sim.plan import plan
from sim.world import play

SCHEDULES = 400


def _cases() -> list[Any]:
    kinds: dict[str, list[type]] = {
        "broker": [*mutants.BROKERS],
        "worker": [*mutants.WORKERS],
        "line": [*mutants.LINES],
    }
    return [pytest.param(kind, bug, id=bug.__name__) for kind, bugs in kinds.items() for bug in bugs]


@pytest.mark.parametrize(("where", "bug"), _cases())
def test_a_planted_bug_is_found(where: str, bug: type) -> None:
    needs = mutants.NEEDS.get(bug)
    plans = (
        one for one in map(plan, range(SCHEDULES)) if needs is None or needs in {fault.what for fault in one.faults}
    )
    found = next((wrong for one in plans if (wrong := play(one, **{where: bug}).wrong)), None)
    assert found is not None, f"{SCHEDULES} schedules show nothing wrong with a bug: {bug.__doc__}"
