"""Which of a runner's tasks is to blame, where its loop is silent or its memory is over."""

from __future__ import annotations

import time

from gristmill.base.errors import GristmillError, LoopBlocked
from gristmill.engine.children import Attempt, Runner
from gristmill.engine.memory import ROOM, over_limit

DEAF = 0.36  # seconds without a sign of an async runner's loop, after which it is looked at
BURNED = 0.15  # seconds of processor time used meanwhile: it does run, but not its loop
DEAF_ANYWAY = 5.0  # seconds after which a silent loop is given up even if it burned nothing

Blame = tuple[Attempt, GristmillError]


def blamed(runner: Runner) -> Blame | None:
    """The task to end, and why; None while all is well."""
    return (_deaf(runner) if runner.is_async else None) or _bloated(runner)


def _deaf(runner: Runner) -> Blame | None:
    """The task that keeps an async runner's loop from turning, where no signal helped."""
    silent = time.monotonic() - runner.beaten
    if silent < DEAF or not runner.pid:
        return None
    job = runner.stepping()
    if job is None or (runner.processor_time() - runner.burned < BURNED and silent < DEAF_ANYWAY):
        return None
    return job, LoopBlocked(f"the body kept its event loop from answering for {silent:.1f} s and was ended")


def _bloated(runner: Runner) -> Blame | None:
    """The task to blame where the runner is larger than it was, by more than the limits of all its tasks."""
    jobs = [job for job in runner.jobs.values() if job.base]
    limits = [job.work.memory_limit for job in jobs if job.work.memory_limit is not None]
    if not jobs or len(limits) < len(runner.jobs):
        return None
    if runner.resident() <= min(job.base for job in jobs) + sum(limits) + ROOM:
        return None
    job = runner.jobs.get(runner.heaviest, jobs[0])
    return job, over_limit(job.work.memory_limit or 0)
