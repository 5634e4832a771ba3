"""Running bodies in this process: for tests, notebooks, and tasks one trusts. No process, so no hard limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import anyio
from anyio import from_thread, to_thread

from gristmill.base import traces
from gristmill.engine.context import TaskContext
from gristmill.engine.isolate import Booker, Publish, Say
from gristmill.engine.message import Message
from gristmill.engine.outcome import Ending, Outcome, ended, stopped
from gristmill.engine.runner import hard_limit, run_async, run_sync
from gristmill.engine.task import App, Policy, Task
from gristmill.engine.wire import Said


class Inline:
    """``async def`` bodies run in this loop under all their time limits; ``def`` bodies in threads, which nothing can end."""

    def __init__(self, app: App, *, say: Say, publish: Publish, book: Booker) -> None:
        self._app = app
        self._say = say
        self._publish = publish
        self._book = book
        self._running: dict[str, tuple[TaskContext, anyio.CancelScope]] = {}
        self._reasons: dict[str, str] = {}
        self.policies = {policy.name: policy for policy in app.policies()}
        self.periodics = app.periodics

    async def __aenter__(self) -> Self:
        for hook in self._app.runner_hooks:
            hook()
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def execute(self, message: Message, attempt: int, policy: Policy) -> Outcome:
        task = self._app.find(message.task)
        ctx = TaskContext(message, attempt, self, soft_time_limit=policy.soft_time_limit)
        scope = anyio.CancelScope()
        self._running[message.id] = (ctx, scope)
        run = self._run_async if policy.is_async else self._run_sync
        try:
            outcome = await run(task, ctx, scope)
            if outcome.ending is Ending.STOPPED:
                outcome = stopped(self._reasons.get(message.id, "shutdown"))
            traces.record(message.trace, ctx.stages)
        finally:
            del self._running[message.id]
            self._reasons.pop(message.id, None)
        return outcome

    async def _run_async(self, task: Task[..., Any], ctx: TaskContext, scope: anyio.CancelScope) -> Outcome:
        began, hard = anyio.current_time(), task.policy.time_limit
        limits = [limit for limit in (task.policy.soft_time_limit, hard) if limit is not None]
        if limits:
            scope.deadline = began + min(limits)  # one scope for both: scopes are what a short task costs
        outcome = await run_async(task, ctx, scope)
        late = hard is not None and anyio.current_time() >= began + hard
        if late and scope.cancelled_caught and not ctx.aborted:
            return ended(hard_limit(hard or 0.0), attempt=ctx.attempt)
        return outcome

    async def _run_sync(self, task: Task[..., Any], ctx: TaskContext, scope: anyio.CancelScope) -> Outcome:
        with anyio.move_on_after(task.policy.time_limit):
            return await to_thread.run_sync(run_sync, task, ctx, abandon_on_cancel=True)
        return ended(hard_limit(task.policy.time_limit or 0.0), attempt=ctx.attempt)

    def stop(self, task_id: str, reason: str) -> None:
        found = self._running.get(task_id)
        if found is not None:
            self._reasons[task_id] = reason
            found[0].aborted = True
            found[1].cancel()

    def say(self, task_id: str, value: float, message: str, data: dict[str, Any]) -> None:
        said = Said(task_id, value, message, data)
        if self._app.find(self._running[task_id][0].message.task).policy.is_async:
            self._say(said)
        else:
            from_thread.run_sync(self._say, said)

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        return from_thread.run(self._publish, messages)

    async def publish_async(self, messages: Sequence[Message]) -> list[bool]:
        return await self._publish(messages)

    def book(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        return from_thread.run(partial(self._book, name, rate=rate, burst=burst, cost=cost))

    async def book_async(self, name: str, *, rate: float, burst: float, cost: float) -> float:
        return await self._book(name, rate=rate, burst=burst, cost=cost)
