"""The smallest schedule that still goes wrong: what a person wants to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sim.plan import Job, Plan


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, tries: int = 300) -> Plan:
    """Leave out whatever can be left out, as long as it fails."""
    while True:
        for smaller in _smaller(plan):
            tries -= 1
            if tries < 0:
                return plan
            if fails(smaller):
                plan = smaller
                break
        else:
            return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Simpler ones, the much simpler ones first."""
    for part in (2, 4, 1_000):
        for name in ("jobs", "faults", "bookings"):
            have = getattr(plan, name)
            size = max(1, len(have) // part)
            for start in range(0, len(have), size):
                yield replace(plan, **{name: have[:start] + have[start + size :]})
    yield from _plainer(plan)
    for number, job in enumerate(plan.jobs):
        for one in _plainer_jobs(job):
            if one != job:
                yield replace(plan, jobs=(*plan.jobs[:number], one, *plan.jobs[number + 1 :]))


def _plainer(plan: Plan) -> Iterator[Plan]:
    if plan.workers > 1 and all(fault.line < plan.workers - 1 for fault in plan.faults):
        yield replace(plan, workers=plan.workers - 1)
    if plan.late:
        yield replace(plan, late=0.0)
    if plan.per_lane is not None:
        yield replace(plan, per_lane=None)


def _plainer_jobs(job: Job) -> Iterator[Job]:
    yield replace(job, attempts=job.attempts[:1])
    yield replace(job, again_at=())
    yield replace(job, awaited=False)
    yield replace(job, delay=0.0)
    yield replace(job, deadline=None)
    yield replace(job, priority=0)
    if all(attempt.how != "never" for attempt in job.attempts):
        yield replace(job, cancel_at=None)
