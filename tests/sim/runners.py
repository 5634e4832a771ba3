"""Workers whose bodies only take time: inline, or as if in runners of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.abc import TaskGroup

from gristmill.base.errors import DocumentError, ModelUnavailable, RunnerCrashed
from gristmill.engine.context import TaskContext
from gristmill.engine.message import Message
from gristmill.engine.outcome import Outcome
from gristmill.engine.task import App, Policy, TaskOptions
from gristmill.engine.worker import Executor, Worker
from sim.line import Line

if TYPE_CHECKING:
    from sim.world import World

KILL = 0.2  # seconds until a body that was stopped is over
RATE, BURST = 2.0, 3.0  # of tasks that are paced, and of those who book a token themselves


def make_app(world: World, line: Line) -> App:
    """The tasks of a schedule: what they do is in its plan."""
    app = App("sim")

    async def body(ctx: TaskContext, number: int) -> int:
        if world.jobs[number].attempt(ctx.attempt).says:
            ctx.report(0.5, "half")
        return await perform(world, line, ctx.message, ctx.attempt)

    for kind, rate in (("async", None), ("sync", None), ("paced", RATE)):
        options: TaskOptions = {"retry_backoff": 0.5, "retry_backoff_max": 4.0, "rate": rate, "burst": BURST}
        app.task(name=kind, bind=True, **options)(body)

    @app.task(name="tick")
    async def tick() -> None:
        world.oracle.counts["ticks"] += 1

    app.periodic(tick, every=7.0)
    return app


async def perform(world: World, line: Line, message: Message, attempt: int) -> int:
    """One attempt at a body. Its result is the number of this run."""
    job = world.jobs[message.args[0]]
    step = job.attempt(attempt)
    run = world.oracle.begins(line.name, line.number, message, attempt)
    how = "stopped"
    try:
        if step.how == "never":
            await anyio.sleep_forever()
        await anyio.sleep(step.seconds)
        how = step.how
    finally:
        world.oracle.ends(run, how)
    if how == "ok":
        world.commit(job.number, "done")
    elif how == "crashes":
        raise RunnerCrashed("killed by signal 9")
    elif how == "fails":
        raise DocumentError("no document")
    else:
        raise ModelUnavailable("too many requests")
    return run.number


class Runners:
    """Bodies as if in child processes: they go on while their keeper is frozen, which then starts nothing, stops nothing
    and learns of no end; and to stop one takes a moment. ``sync`` is a task that runners run one at a time.
    """

    def __init__(self, inner: Executor, world: World, line: Line, kills: TaskGroup) -> None:
        self.policies = {
            name: msgspec.structs.replace(policy, is_async=name != "sync") for name, policy in inner.policies.items()
        }
        self.periodics = inner.periodics
        self._inner, self._line, self._kills = inner, line, kills
        self._runs: Counter[str] = Counter()
        self._rng = Random(f"{world.plan.seed} {line.name} kills")

    async def execute(self, message: Message, attempt: int, policy: Policy) -> Outcome:
        await self._line.thawed()
        self._runs[message.id] += 1
        outcome = await self._inner.execute(message, attempt, self._inner.policies[policy.name])
        await self._line.thawed()
        return outcome

    def stop(self, task_id: str, reason: str) -> None:
        self._kills.start_soon(self._kill, task_id, reason, self._runs[task_id])

    async def _kill(self, task_id: str, reason: str, run: int) -> None:
        await self._line.thawed()
        await anyio.sleep(self._rng.uniform(0, KILL))
        if self._runs[task_id] == run:
            self._inner.stop(task_id, reason)


class SimWorker(Worker):
    """A worker with such runners, unless its schedule is played inline."""

    def take(self, world: World, line: Line, kills: TaskGroup) -> None:
        self._sim = world, line, kills

    def _make_executor(self) -> AbstractAsyncContextManager[Executor]:
        made = super()._make_executor()
        return made if self._sim[0].plan.inline else self._as_runners(made)

    @asynccontextmanager
    async def _as_runners(self, made: AbstractAsyncContextManager[Executor]) -> AsyncIterator[Executor]:
        async with made as inner:
            yield Runners(inner, *self._sim)
