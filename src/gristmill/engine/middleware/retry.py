"""Deciding about another attempt."""

from __future__ import annotations

from random import Random

import msgspec

from gristmill.base.errors import RunnerCrashed
from gristmill.engine.middleware.chain import Handler, Job, Middleware
from gristmill.engine.outcome import Ending, Outcome
from gristmill.engine.retry import delay


def retrying(rng: Random) -> Middleware:
    """Failures that may pass get a time for the next attempt; whether one is left is the broker's to say.

    A crash is repeated at once: the delay would help nobody, and attempts are counted.
    """

    def middleware(handler: Handler) -> Handler:
        async def handle(job: Job) -> Outcome:
            outcome = await handler(job)
            if outcome.ending is not Ending.ERROR or not outcome.retryable or outcome.error is None:
                return outcome
            crashed = outcome.error.type == RunnerCrashed.__name__
            wait = 0.0 if crashed else delay(job.policy, job.lease.attempt, outcome.retry_after, rng)
            return msgspec.structs.replace(outcome, again_after=wait)

        return handle

    return middleware
