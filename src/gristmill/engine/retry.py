"""When to try again. Pure."""

from __future__ import annotations

from random import Random

from gristmill.engine.task import Policy


def delay(policy: Policy, attempt: int, retry_after: float | None, rng: Random) -> float:
    """Seconds to wait after attempt number ``attempt`` (1..) failed.

    What the failure itself asked for, plus up to a tenth so that not all come back at once; else exponential back-off with
    full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    if retry_after is not None:
        return max(0.0, retry_after) * (1 + 0.1 * rng.random())
    ceiling = min(policy.retry_backoff_max, policy.retry_backoff * 2.0 ** min(attempt - 1, 40))
    return rng.uniform(0.0, ceiling)
