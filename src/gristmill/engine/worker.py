"""The worker: takes tasks from a broker, has them run, and answers for every lease until it has ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, Protocol

import anyio
import msgspec
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskGroup, TaskStatus

from gristmill.base import meters
from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import BrokerUnavailable, EngineError, UnknownTask
from gristmill.base.ids import new_id
from gristmill.base.logs import get_logger
from gristmill.engine.beat import Pulse, Work
from gristmill.engine.broker import Broker
from gristmill.engine.cores import cores
from gristmill.engine.inline import Inline
from gristmill.engine.isolate import Pool, RunnerLimits
from gristmill.engine.lease import LEASE, PARTS, renew
from gristmill.engine.message import End, ErrorRecord, Lease, Message, Release
from gristmill.engine.middleware.chain import Job, Middleware, chain
from gristmill.engine.middleware.log import logging
from gristmill.engine.middleware.meter import metering
from gristmill.engine.middleware.rate import pacing
from gristmill.engine.middleware.retry import retrying
from gristmill.engine.middleware.trace import tracing
from gristmill.engine.outcome import Ending, Outcome, ended, stopped
from gristmill.engine.reaper import reap
from gristmill.engine.report import Reporter
from gristmill.engine.schedule import schedule
from gristmill.engine.settle import Settler
from gristmill.engine.slots import Slots
from gristmill.engine.state import TaskState
from gristmill.engine.task import App, Periodic, Policy

log = get_logger(__name__)

SILENT = 120.0  # seconds after which a worker is forgotten
REMEMBERED = 1000  # cancels of tasks we do not hold
SETTLE = 10.0  # seconds for the last ends to be written
KEEP_ENDED = 86_400.0  # seconds


class Executor(Protocol):
    """Where bodies run."""

    policies: dict[str, Policy]
    periodics: list[Periodic]

    async def execute(self, message: Message, attempt: int, policy: Policy) -> Outcome: ...

    def stop(self, task_id: str, reason: str) -> None: ...


class Worker:
    """Runs tasks of one app from some queues.

    ``slots`` bodies of kind ``def`` and ``async_slots`` of kind ``async def`` at a time, in child processes; with
    ``inline`` in this process. Of one lane of a queue at most ``lane_limit`` run, over all workers. Leases of
    ``lease`` seconds are renewed at a third of that. One ``run`` for one Worker.
    """

    def __init__(
        self,
        broker: Broker,
        app: str | App,
        *,
        config: Mapping[str, Any] | None = None,
        queues: Sequence[str] = ("default",),
        slots: int | None = None,
        async_slots: int = 100,
        lane_limit: int | None = None,
        lease: float = LEASE,
        inline: bool = False,
        limits: RunnerLimits | None = None,
        middleware: Sequence[Middleware] | None = None,
        name: str | None = None,
        heartbeat_timeout: float = SILENT,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        if isinstance(app, App) and not inline:
            raise EngineError("runners import the app themselves: give its place as 'module:attribute'")
        if isinstance(app, str) and inline:
            raise EngineError("inline bodies run in this process: give the App itself")
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{new_id()[-6:]}"
        self.done = self.failed = 0
        self.ended = anyio.Event()  # set when ``run`` is over
        self._broker = broker
        self._app, self._config = app, dict(config or {})
        self._queues = list(queues)
        self._slots = Slots(slots or cores(), async_slots)
        self._lane_limit = lane_limit
        self._lease = lease
        self._limits = limits or RunnerLimits()
        self._clock = clock or SystemClock()
        rng = rng or Random()  # noqa: S311  jitter, no secret
        paced = [pacing(broker, self._clock), tracing(), logging(self._clock), metering(self._clock), retrying(rng)]
        self._middleware = list(middleware) if middleware is not None else paced
        self._held: dict[str, Lease] = {}  # until their end is written
        self._running: dict[str, Lease] = {}
        self._freed = anyio.Event()
        self._cancelled: dict[str, bool] = {}  # asked for before we knew the task
        self._reasons: dict[str, str] = {}  # why those are to end that were told so
        self._listening = anyio.Event()
        self._drained = anyio.Event()
        self._grace = 30.0
        self._consuming = anyio.CancelScope()
        self._settler = Settler(broker, self._settled, crowded=self._slots.crowded)
        self._reporter = Reporter(broker, self._running)
        self._pulse = Pulse(broker, self.name, queues, self._look, timeout=heartbeat_timeout, clock=self._clock)

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Work until ``drain``. Cancelled: bodies are ended, and what they held is handed back.

        Raises EngineError where the app cannot be loaded.
        """
        try:
            async with self._make_executor() as executor:
                self._executor = executor
                self._handle = chain(self._execute, self._middleware)
                self._slots.serve(policy.is_async for policy in executor.policies.values())
                async with anyio.create_task_group() as children:
                    self._start(children, executor)
                    task_status.started()
                    await self._work()
                    with anyio.move_on_after(SETTLE):  # a broker that is away gets these tasks back by their leases
                        await self._settler.empty()
                    children.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await self._hand_back(list(self._held.values()))
                await self._pulse.leave()
            self.ended.set()

    def _start(self, children: TaskGroup, executor: Executor) -> None:
        """What goes on beside the tasks."""
        for child in (self._listen, self._pulse.run, self._settler.run, self._reporter.run, self._slots.watch):
            children.start_soon(child)
        children.start_soon(schedule, self._broker, executor.periodics)
        children.start_soon(lambda: reap(self._broker, every=self._lease / PARTS, keep=KEEP_ENDED))
        children.start_soon(
            lambda: renew(
                self._broker, self._held, lease=self._lease, running=lambda: list(self._running), stop=self._stop
            )
        )

    def drain(self, *, grace: float = 30.0) -> None:
        """Take nothing new; let what runs end within ``grace`` seconds, hand the rest back. Again: with a new grace."""
        self._grace = grace
        self._consuming.cancel()
        self._drained.set()
        self._drained = anyio.Event()
        self._freed.set()

    def held(self) -> list[str]:
        """The ids of the tasks that this worker answers for now."""
        return list(self._held)

    @property
    def draining(self) -> bool:
        """Whether it was told to take nothing new."""
        return self._consuming.cancel_called

    @property
    def working(self) -> bool:
        """Whether it takes tasks."""
        return self._listening.is_set() and not self.draining

    def _look(self) -> Work:
        return Work(self.done, self.failed, self._running)

    def _make_executor(self) -> AbstractAsyncContextManager[Executor]:
        calls: dict[str, Any] = {"say": self._reporter.hear, "publish": self._broker.publish, "book": self._broker.book}
        if isinstance(self._app, App):
            return Inline(self._app, **calls)
        return Pool(self._app, config=self._config, limits=self._limits, **calls)

    async def _work(self) -> None:
        async with anyio.create_task_group() as jobs:
            with self._consuming:
                await self._listening.wait()  # or a cancel right after our first claim is missed
                await self._consume(jobs)
            await self._wind_up()

    async def _consume(self, jobs: TaskGroup) -> None:
        pause = 0.1
        while True:
            if not (room := self._slots.room()):
                await self._slots.more_room()
                continue
            asked = self._clock.monotonic()
            try:
                leases = await self._broker.reserve(
                    self._queues, worker=self.name, limit=room, lease=self._lease, per_lane=self._lane_limit
                )
                pause = 0.1
            except BrokerUnavailable as exc:
                log.warning("the broker does not answer", error=str(exc), again_after=pause)
                await anyio.sleep(pause)
                pause = min(pause * 2, 5.0)
                continue
            self._held.update({lease.id: lease for lease in leases})
            if self._clock.monotonic() - asked >= self._lease:
                leases = await self._still_ours(leases)
            for lease in leases:
                self._slots.take(self._is_async(lease))
                jobs.start_soon(self._one if self._begin(lease) else self._one_after_another, lease)
            await anyio.lowlevel.checkpoint()  # let them begin before more is asked for

    async def _still_ours(self, leases: list[Lease]) -> list[Lease]:
        """Of an answer that may be old: this process may have been stopped while it was on its way."""
        try:
            lost = await self._broker.extend(leases, lease=self._lease) if leases else []
        except BrokerUnavailable:
            return leases  # if they are lost, nobody will take what comes of them
        for lease in lost:
            meters.count("leases_lost", task=lease.message.task)
            log.warning("a claim came too late to be begun", task=lease.message.task, id=lease.id)
            self._settled(lease)
        return [lease for lease in leases if lease not in lost]

    def _is_async(self, lease: Lease) -> bool:
        policy = self._executor.policies.get(lease.message.task)
        return policy is not None and policy.is_async

    def _begin(self, lease: Lease) -> bool:
        if lease.id in self._running:
            return False
        self._running[lease.id] = lease
        return True

    async def _one_after_another(self, lease: Lease) -> None:
        """Our own earlier lease of this task has expired, unknown to us: its body ends before the next attempt begins."""
        self._stop(lease.id, "lost")
        while not self._begin(lease):
            await self._change()
        if self._held.get(lease.id) is not lease:
            self._end(lease, stopped("lost"))
        elif self._consuming.cancel_called:
            self._end(lease, stopped("shutdown"))
        else:
            await self._one(lease)

    async def _change(self) -> None:
        """Return when a task has ended."""
        if self._freed.is_set():
            self._freed = anyio.Event()
        await self._freed.wait()

    async def _one(self, lease: Lease) -> None:
        policy = self._executor.policies.get(lease.message.task)
        if policy is None:
            known = ", ".join(sorted(self._executor.policies)) or "none"
            error = UnknownTask(f"this worker's app has no task {lease.message.task!r}; it has: {known}")
            outcome = ended(error, attempt=lease.attempt)
        else:
            outcome = await self._handle(Job(lease, policy))
        self._end(lease, outcome)

    async def _execute(self, job: Job) -> Outcome:
        """The innermost handler: wait for a free slot, then run."""
        lease, kind = job.lease, job.policy.is_async
        refusal = self._refusal(lease.id) or await self._slots.enter(lease.id, kind)
        if refusal is not None:
            return stopped(refusal)
        try:
            if (reason := self._reasons.get(lease.id)) is not None:  # told while its slot was on the way to it
                return stopped(reason)
            began = self._clock.monotonic()
            outcome = await self._executor.execute(lease.message, lease.attempt, job.policy)
            self._slots.ran(self._clock.monotonic() - began)
            return outcome
        finally:
            self._slots.leave(kind)

    def _refusal(self, task_id: str) -> str | None:
        """Why a task that has not begun is not to begin."""
        if self._cancelled.pop(task_id, False):
            return "cancel"
        return self._reasons.get(task_id)

    def _stop(self, task_id: str, reason: str) -> None:
        """End a task wherever it is: waiting in a middleware or for its slot, or running."""
        if task_id not in self._running:
            return
        if reason == "lost":
            meters.count("leases_lost", task=self._running[task_id].message.task)
            log.warning("lease lost", task=self._running[task_id].message.task, id=task_id)
        if not self._slots.refuse(task_id, reason):
            self._reasons.setdefault(task_id, reason)
            self._executor.stop(task_id, reason)

    def _end(self, lease: Lease, outcome: Outcome) -> None:
        del self._running[lease.id]
        self._slots.give_back(self._is_async(lease))
        self._reporter.forget(lease.id)
        self._reasons.pop(lease.id, None)
        self._freed.set()
        if outcome.reason == "lost":
            self._settled(lease)
            return
        step = _step(lease, outcome, self._clock.now())
        if isinstance(step, End):
            self.done += step.state is TaskState.SUCCEEDED
            self.failed += step.state is TaskState.FAILED
        else:
            _count_again(step)
        self._settler.put(step)

    def _settled(self, lease: Lease) -> None:
        if self._held.get(lease.id) is lease:
            del self._held[lease.id]

    async def _wind_up(self) -> None:
        """Hand back what has not begun; let the running tasks end in time; then stop them."""
        self._slots.close("shutdown")
        while self._running:
            again = self._drained
            with anyio.move_on_after(self._grace) as late:
                while self._running and not again.is_set():
                    await self._change()
            if late.cancelled_caught:
                break
        for task_id in list(self._running):
            self._stop(task_id, "shutdown")

    async def _hand_back(self, leases: Sequence[Lease]) -> None:
        if leases:
            try:
                await self._broker.release([Release(lease, counted=False) for lease in leases])
            except BrokerUnavailable as exc:
                log.warning("leases could not be handed back; they will expire", error=str(exc), leases=len(leases))

    async def _listen(self) -> None:
        while True:
            try:
                async with self._broker.notices() as notices:
                    self._listening.set()
                    await self._catch_up()
                    async for notice in notices:
                        if notice.kind == "cancel":
                            self._hear_cancel(notice.id)
            except BrokerUnavailable:
                self._listening.set()
                await anyio.sleep(1.0)

    async def _catch_up(self) -> None:
        """Cancels that were asked for while we could not hear of them."""
        if self._running:
            for record in await self._broker.describe(list(self._running)):
                if record is not None and record.cancel_requested:
                    self._stop(record.id, "cancel")

    def _hear_cancel(self, task_id: str) -> None:
        running = self._running.get(task_id)
        if running is not None and self._held.get(task_id) is running:
            self._stop(task_id, "cancel")
        else:  # another worker's; or ours, and still on its way here
            self._cancelled[task_id] = True
            if len(self._cancelled) > REMEMBERED:
                del self._cancelled[next(iter(self._cancelled))]


def _step(lease: Lease, outcome: Outcome, now: float) -> End | Release:
    """What an outcome means for the lease."""
    error = None if outcome.error is None else msgspec.structs.replace(outcome.error, attempt=lease.attempt, at=now)
    if outcome.ending is Ending.OK:
        return End(lease, TaskState.SUCCEEDED, result=outcome.result)
    if outcome.ending is Ending.STOPPED and outcome.reason == "cancel":
        return End(lease, TaskState.CANCELLED, error=ErrorRecord("TaskCancelled", "cancelled", at=now))
    if outcome.ending is Ending.STOPPED:
        return Release(lease, delay=outcome.again_after or 0.0, counted=False)
    if outcome.again_after is not None:
        return Release(lease, delay=outcome.again_after, error=error)
    return End(lease, TaskState.FAILED, error=error)


def _count_again(release: Release) -> None:
    """A failure that may pass: another attempt, or, where none is left, a dead letter (the broker sees to it)."""
    if release.counted:
        last = release.lease.attempt >= release.lease.message.max_attempts
        meters.count("dead_letters" if last else "task_retries", task=release.lease.message.task)
