"""Running one body to one outcome: where every exception of a body ends, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from gristmill.base.errors import HardTimeLimitExceeded, SoftTimeLimitExceeded
from gristmill.engine.context import TaskContext, running
from gristmill.engine.outcome import Outcome, failure, stopped, success
from gristmill.engine.task import Task

EXITS = (SystemExit, KeyboardInterrupt, GeneratorExit)  # of a body: they end that body, not the process


class Stopped(BaseException):
    """Raised in a ``def`` body's thread to end it. No ``except Exception`` of a body can swallow it."""


def soft_limit(seconds: float) -> SoftTimeLimitExceeded:
    """The error of a body whose soft limit is over."""
    return SoftTimeLimitExceeded(f"the soft time limit of {seconds:g} s is over")


def hard_limit(seconds: float) -> HardTimeLimitExceeded:
    """The error of a body that was ended at its hard limit."""
    return HardTimeLimitExceeded(f"the time limit of {seconds:g} s was over; the task was ended")


def run_sync(task: Task[..., Any], ctx: TaskContext) -> Outcome:
    """Run a ``def`` body in this thread."""
    token = running.set(ctx)
    try:
        return success(_call(task, ctx))
    except Stopped as exc:
        return stopped(str(exc))
    except (Exception, *EXITS) as exc:  # noqa: BLE001  one of the two places: a body's exception is data
        return failure(exc, stage=ctx.stage_name, attempt=ctx.attempt)
    finally:
        running.reset(token)


async def run_async(
    task: Task[..., Any], ctx: TaskContext, scope: anyio.CancelScope, wrap: Callable[[Any], Any] = lambda body: body
) -> Outcome:
    """Run an ``async def`` body in this loop. ``scope`` is what its soft limit ends it by, or the worker: then the context
    says that it is aborted."""
    token = running.set(ctx)
    limit = task.policy.soft_time_limit
    outcome = stopped("")
    try:
        with scope:
            outcome = success(await wrap(_call(task, ctx)))
        if scope.cancelled_caught and not ctx.aborted and limit is not None:
            outcome = failure(soft_limit(limit), stage=ctx.stage_name, attempt=ctx.attempt)
    except (Exception, *EXITS) as exc:  # noqa: BLE001  the other place
        outcome = failure(exc, stage=ctx.stage_name, attempt=ctx.attempt)
    finally:
        running.reset(token)
    return outcome


def _call(task: Task[..., Any], ctx: TaskContext) -> Any:
    bound = (ctx,) if task.policy.bind else ()
    return task.body(*bound, *ctx.message.args, **ctx.message.kwargs)
