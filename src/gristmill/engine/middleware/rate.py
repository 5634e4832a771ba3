"""A task's rate over all workers."""

from __future__ import annotations

from gristmill.base.clock import Clock
from gristmill.base.errors import BrokerUnavailable
from gristmill.engine import pause
from gristmill.engine.broker import Broker
from gristmill.engine.middleware.chain import Handler, Job, Middleware
from gristmill.engine.outcome import Outcome, throttled

HERE = 0.5  # seconds that a task waits in its slot; for longer it goes back to the queue
AWAY = 1.0  # seconds after which it comes again when the broker could not be asked


def pacing(broker: Broker, clock: Clock) -> Middleware:
    """Tasks with a ``rate`` wait for their turn; what would wait for long goes back, uncounted, until then.

    Those that go back are told times one behind the other, so that a long queue does not come and go for nothing.
    """
    turns: dict[str, float] = {}  # when the next one that goes back may come again

    def middleware(handler: Handler) -> Handler:
        async def handle(job: Job) -> Outcome:
            policy = job.policy
            if policy.rate is None:
                return await handler(job)
            try:
                wait = await broker.book(f"task:{policy.name}", rate=policy.rate, burst=policy.burst, most=HERE)
            except BrokerUnavailable:
                return throttled(AWAY)
            if wait <= HERE:
                await pause.sleep(clock, wait)
                return await handler(job)
            now = clock.monotonic()
            turn = max(turns.get(policy.name, 0.0), now + wait)
            turns[policy.name] = turn + 1.0 / policy.rate
            return throttled(turn - now)

        return handle

    return middleware
