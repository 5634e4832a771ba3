"""Counting tasks and their seconds."""

from __future__ import annotations

from gristmill.base import meters
from gristmill.base.clock import Clock
from gristmill.engine.middleware.chain import Handler, Job, Middleware
from gristmill.engine.outcome import Outcome


def metering(clock: Clock) -> Middleware:
    def middleware(handler: Handler) -> Handler:
        async def handle(job: Job) -> Outcome:
            began = clock.monotonic()
            outcome = await handler(job)
            task = job.lease.message.task
            meters.count("tasks", task=task, outcome=outcome.ending.value)
            meters.observe("task_seconds", clock.monotonic() - began, task=task)
            return outcome

        return handle

    return middleware
