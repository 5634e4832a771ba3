"""A span for every attempt at a task, below the one that submitted it; what the body does is below it in turn."""

from __future__ import annotations

import msgspec

from gristmill.base import traces
from gristmill.engine.middleware.chain import Handler, Job, Middleware
from gristmill.engine.outcome import Ending, Outcome


def tracing() -> Middleware:
    def middleware(handler: Handler) -> Handler:
        async def handle(job: Job) -> Outcome:
            if not traces.on():
                return await handler(job)
            return await _traced(handler, job)

        return handle

    return middleware


async def _traced(handler: Handler, job: Job) -> Outcome:
    lease, message = job.lease, job.lease.message
    with traces.span(
        f"run {message.task}",
        kind="CONSUMER",
        parent=message.trace,
        messaging__system="gristmill",
        messaging__operation__type="process",
        messaging__destination__name=message.queue,
        messaging__message__id=message.id,
        gristmill__task=message.task,
        gristmill__attempt=lease.attempt,
    ) as span:
        inner = msgspec.structs.replace(message, trace=traces.carrier())
        outcome = await handler(Job(msgspec.structs.replace(lease, message=inner), job.policy))
        span.note(outcome=outcome.ending.value)
        if outcome.ending is Ending.STOPPED:
            span.note(reason=outcome.reason)
        if outcome.error is not None:
            span.note(stage=outcome.error.stage, retried=outcome.again_after is not None)
            span.failed(outcome.error.type, outcome.error.message)
        return outcome
