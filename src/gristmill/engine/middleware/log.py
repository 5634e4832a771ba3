"""A line when a task ends."""

from __future__ import annotations

from gristmill.base.clock import Clock
from gristmill.base.logs import get_logger
from gristmill.engine.middleware.chain import Handler, Job, Middleware
from gristmill.engine.outcome import Ending, Outcome

log = get_logger(__name__)


def logging(clock: Clock) -> Middleware:
    def middleware(handler: Handler) -> Handler:
        async def handle(job: Job) -> Outcome:
            began = clock.monotonic()
            outcome = await handler(job)
            if outcome.ending is Ending.OK and not log.tells("debug"):
                return outcome
            _write(job, outcome, round(clock.monotonic() - began, 4))
            return outcome

        return handle

    return middleware


def _write(job: Job, outcome: Outcome, seconds: float) -> None:
    fields = {"task": job.lease.message.task, "id": job.lease.id, "attempt": job.lease.attempt, "seconds": seconds}
    if outcome.ending is Ending.OK:
        log.debug("task succeeded", **fields)
    elif outcome.ending is Ending.STOPPED:
        log.info("task stopped", reason=outcome.reason, **fields)
    elif outcome.error is not None:
        told = {"error": outcome.error.type, "message": outcome.error.message, "stage": outcome.error.stage}
        log.warning("task failed", again_after=outcome.again_after, **told, **fields)
