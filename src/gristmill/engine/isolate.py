"""Running bodies in child processes: the worker's side.

A nursery (a process that has imported the app) forks runners; each runner has a private socket to the worker. Deaths are
told by the nursery at once. Whatever a body does, here nothing waits for it longer than its limits.
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import anyio
import msgspec
from anyio.abc import TaskGroup

from gristmill.base import meters, traces
from gristmill.base.errors import (
    BrokerUnavailable,
    EngineError,
    GristmillError,
)
from gristmill.base.logs import get_logger
from gristmill.engine import stacks
from gristmill.engine.async_runner import STEP_TABLE
from gristmill.engine.blame import blamed
from gristmill.engine.children import Attempt, Nursery, Runner, start_nursery
from gristmill.engine.message import Message
from gristmill.engine.outcome import Outcome, ended, stopped
from gristmill.engine.runner import hard_limit
from gristmill.engine.sync_runner import STOP
from gristmill.engine.task import Periodic, Policy
from gristmill.engine.wire import (
    Answer,
    Ask,
    Beat,
    Book,
    Boot,
    Channel,
    Counted,
    Done,
    Fork,
    Frame,
    Said,
    Staged,
    Unfit,
    Work,
)
from gristmill.engine.wire import Stop as StopFrame

log = get_logger(__name__)

PATIENCE = 0.4  # seconds between asking a body to stop and ending its process
WATCH = 0.05  # seconds between looks at busy runners
BOOT_AGAIN, BOOT_LEAST = 10.0, 10.0  # times as long as before, and seconds, that a nursery has to load the app anew

Publish = Callable[[Sequence[Message]], Coroutine[Any, Any, list[bool]]]
Booker = Callable[..., Coroutine[Any, Any, float]]  # Broker.book
Say = Callable[[Said], None]


@dataclass(frozen=True)
class RunnerLimits:
    """When runners are replaced, and when an idle worker gives them up. Seconds and bytes."""

    max_jobs: int = 1000
    max_age: float = 3600.0
    max_rss: int | None = 2 * 1024**3
    memory_limit: int | None = None  # for tasks without one of their own
    idle: float = 10.0


class Pool:
    """Runs tasks in runners. ``policies`` and ``periodics`` are the app's, known once it has been entered."""

    def __init__(
        self,
        app: str,
        *,
        config: Mapping[str, Any],
        limits: RunnerLimits,
        say: Say,
        publish: Publish,
        book: Booker,
    ) -> None:
        self.policies: dict[str, Policy] = {}
        self.periodics: list[Periodic] = []
        self.deaths = 0
        self._patience = math.inf  # the first time it is the master that gives up
        self._boot = Boot(app, dict(config), list(sys.path))
        self._limits = limits
        self._say = say
        self._publish = publish
        self._book = book
        self._nursery: Nursery | None = None
        self._booting = anyio.Lock()
        self._idle: list[Runner] = []
        self._shared: Runner | None = None  # the async runner that takes new tasks
        self._sharing = anyio.Lock()
        self._jobs: dict[str, Attempt] = {}
        self._begun: dict[str, Outcome | None] = {}  # all that execute; what they came to if stopped without a runner
        self._numbers = itertools.count(1)
        self._slots = itertools.cycle(range(1, 2**31))
        self._busy = anyio.Event()

    async def __aenter__(self) -> Self:
        self._children: TaskGroup = anyio.create_task_group()
        await self._children.__aenter__()
        try:
            await self._ready_nursery()
        except BaseException:
            await self.__aexit__()
            raise
        self._children.start_soon(self._watch)
        stacks.tellers.append(self._tell)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._tell in stacks.tellers:
            stacks.tellers.remove(self._tell)
        nursery, self._nursery = self._nursery, None
        self._children.cancel_scope.cancel()
        try:
            await self._children.__aexit__(None, None, None)
        finally:
            if nursery is not None:
                with anyio.CancelScope(shield=True):
                    await nursery.close()

    def _tell(self) -> list[str]:
        return [job.told() for job in list(self._jobs.values())]

    async def execute(self, message: Message, attempt: int, policy: Policy) -> Outcome:
        """Run the task once, to its outcome. Cancelled: its runner is ended.

        When the runner dies through another task's fault, this one is begun again in a new runner.
        """
        self._begun[message.id] = None
        self._busy.set()
        try:
            while True:
                outcome = await self._attempt(message, attempt, policy)
                if outcome is not None:
                    return outcome
        finally:
            del self._begun[message.id]

    def stop(self, task_id: str, reason: str) -> None:
        """Have a running task end within PATIENCE, whatever it does; one that waits for its runner does not begin."""
        job = self._jobs.get(task_id)
        if job is None:
            if task_id in self._begun:
                self._begun[task_id] = self._begun[task_id] or stopped(reason)
        elif job.verdict is None:
            job.verdict = stopped(reason)
            self._children.start_soon(self._stop, job, reason)

    async def _attempt(self, message: Message, attempt: int, policy: Policy) -> Outcome | None:
        runner = self._ready(policy.is_async) or await (
            self._take_shared() if policy.is_async else self._fork(is_async=False)
        )
        if (verdict := self._begun[message.id]) is not None:
            self._give_back(runner)
            return verdict
        memory = policy.memory_limit if policy.memory_limit is not None else self._limits.memory_limit
        job = Attempt(Work(message, attempt, next(self._slots), memory), policy, runner, base=runner.rss)
        if policy.time_limit is not None:
            job.until = time.monotonic() + policy.time_limit
        rested = runner.is_async and not runner.jobs
        runner.jobs[message.id] = self._jobs[message.id] = job
        if runner.gone.is_set():  # it went between being chosen and getting this task
            job.end(None)
        try:
            runner.channel.post(job.work)
            if rested:
                runner.beaten, runner.burned = time.monotonic(), runner.processor_time()
            if memory is not None and not job.base:
                await runner.known.wait()
                job.base = runner.resident()
            await job.over.wait()
        finally:
            if not job.over.is_set():  # cancelled: the body must not go on without anybody who knows of it
                runner.killed = True
                self._children.start_soon(runner.kill)
            del self._jobs[message.id], runner.jobs[message.id]
            self._give_back(runner)
        return job.outcome

    async def _stop(self, job: Attempt, reason: str) -> None:
        runner = job.runner
        await runner.known.wait()
        if job.over.is_set() or runner.gone.is_set():
            return
        if runner.is_async:
            runner.channel.post(StopFrame(job.work.message.id, reason))
        else:
            with suppress(ProcessLookupError):
                os.kill(runner.pid, STOP)
        with anyio.move_on_after(PATIENCE):
            await job.over.wait()
        if not job.over.is_set():
            await self._force(job, stopped(reason))

    async def _force(self, job: Attempt, verdict: Outcome) -> None:
        """End the task's process; the task comes to ``verdict``. An async body may first clean up."""
        job.verdict = verdict
        if job.runner.is_async and verdict.error is not None and job.runner.stepping() is not job:
            job.runner.channel.post(StopFrame(job.work.message.id, "limit"))
            with anyio.move_on_after(PATIENCE):
                await job.over.wait()
        if not job.over.is_set():
            self.deaths += 1
            job.runner.sentenced = True
            await job.runner.kill()
        await job.over.wait()

    def _ready(self, is_async: bool) -> Runner | None:
        """A runner that is there already and takes a task."""
        if is_async:
            runner = self._shared
            if runner is None or not runner.usable or self._worn(runner):
                return None
            runner.count += 1
            return runner
        while self._idle:
            if (runner := self._idle.pop()).usable:
                return runner
        return None

    async def _take_shared(self) -> Runner:
        async with self._sharing:
            if (runner := self._ready(is_async=True)) is not None:
                return runner
            if self._shared is not None and not self._shared.jobs:
                self._shared.channel.hang_up()
            runner = self._shared = await self._fork(is_async=True)
            runner.count += 1
            return runner

    async def _fork(self, *, is_async: bool) -> Runner:
        nursery = await self._ready_nursery()
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as steps, theirs:
            steps.truncate(STEP_TABLE)
            table = mmap.mmap(steps.fileno(), STEP_TABLE)
            runner = Runner(next(self._numbers), is_async, Channel(ours), table, stacks.make(stacks.RUNNERS))
            runner.hear = self._hear
            nursery.runners[runner.number] = runner
            try:
                await nursery.channel.send(
                    Fork(runner.number, is_async), [theirs.fileno(), steps.fileno(), runner.stacks]
                )
            except ConnectionError:
                runner.died(None)
        self._children.start_soon(self._attend, runner)
        return runner

    def _give_back(self, runner: Runner) -> None:
        if runner.is_async:
            if runner is not self._shared and not runner.jobs:
                runner.channel.hang_up()
            return
        runner.count += 1
        if not runner.usable:
            return
        if self._worn(runner):
            runner.channel.hang_up()
        else:
            self._idle.append(runner)

    def _worn(self, runner: Runner) -> bool:
        limits = self._limits
        too_large = limits.max_rss is not None and runner.size > limits.max_rss
        return too_large or runner.count >= limits.max_jobs or time.monotonic() - runner.born > limits.max_age

    async def _attend(self, runner: Runner) -> None:
        """Talk with the runner until one of both ends it."""
        try:
            async with anyio.create_task_group() as writer:
                writer.start_soon(runner.channel.write)
                try:
                    await self._listen(runner)
                finally:
                    runner.channel.hang_up()
        finally:
            runner.channel.close()
        if runner.jobs:  # a body has closed or spoilt the socket: no word of it would come through any more
            await runner.kill()

    async def _listen(self, runner: Runner) -> None:
        try:
            while frames := await runner.channel.receive():
                for frame in frames:
                    self._hear(runner, frame)
        except msgspec.DecodeError:
            log.warning("a runner talked nonsense and was ended", pid=runner.pid)

    def _hear(self, runner: Runner, frame: Frame) -> None:
        if isinstance(frame, Done):
            runner.rss = frame.rss
            runner.size = frame.rss or runner.size
            job = runner.jobs.get(frame.id)
            if job is not None:
                verdict = job.verdict if not runner.killed else None
                job.end(verdict if verdict is not None and frame.outcome.ending != "ok" else frame.outcome)
        elif isinstance(frame, Said):
            self._say(frame)
        elif isinstance(frame, Beat):
            runner.beaten, runner.burned = time.monotonic(), runner.processor_time()
            runner.heaviest = frame.heaviest
        elif isinstance(frame, Counted):
            meters.add(frame.changes)
        elif isinstance(frame, Staged):
            if (job := runner.jobs.get(frame.id)) is not None:
                traces.record(job.work.message.trace, frame.stages)
        elif isinstance(frame, Unfit):
            runner.unfit = frame.error
        elif isinstance(frame, Ask | Book):
            self._children.start_soon(self._answer, runner, frame)

    async def _answer(self, runner: Runner, ask: Ask | Book) -> None:
        try:
            if isinstance(ask, Ask):
                answer = Answer(ask.number, await self._publish(ask.messages))
            else:
                wait = await self._book(ask.name, rate=ask.rate, burst=ask.burst, cost=ask.cost)
                answer = Answer(ask.number, wait=wait)
        except (BrokerUnavailable, EngineError) as exc:
            answer = Answer(ask.number, error=str(exc))
        runner.channel.post(answer)

    async def _watch(self) -> None:
        """Look at busy runners; when nothing has run for a while, give them all up."""
        while True:
            self._busy = anyio.Event()
            if not self._begun:
                with anyio.move_on_after(self._limits.idle):
                    await self._busy.wait()
                if not self._begun:
                    await self._retire()
                    await self._busy.wait()
            self._check()
            await anyio.sleep(WATCH)

    def _check(self) -> None:
        now = time.monotonic()
        if self._nursery is not None:
            self._nursery.look()
        for job in self._jobs.values():
            if not job.runner.known.is_set():  # its time begins when its runner is there
                job.until = job.policy.time_limit and now + job.policy.time_limit
            elif job.until is not None and job.until <= now:
                self._blame(job, hard_limit(job.policy.time_limit or 0.0))
        for runner in {id(job.runner): job.runner for job in self._jobs.values()}.values():
            if (found := blamed(runner)) is not None:
                self._blame(*found)

    def _blame(self, job: Attempt, error: GristmillError) -> None:
        if job.verdict is None:
            job.verdict = ended(error, attempt=job.work.attempt)
            self._children.start_soon(self._force, job, job.verdict)

    async def _retire(self) -> None:
        async with self._booting:
            if self._begun or self._nursery is None:  # one that waits for its runner needs the nursery, too
                return
            nursery, self._nursery = self._nursery, None
            self._idle.clear()
            self._shared = None
            await nursery.close()

    async def _ready_nursery(self) -> Nursery:
        async with self._booting:
            if self._nursery is None or self._nursery.over.is_set():
                self._idle.clear()
                self._shared = None
                if self._nursery is not None:
                    await self._nursery.close()
                self._nursery = await self._start_nursery()
            return self._nursery

    async def _start_nursery(self) -> Nursery:
        began = time.monotonic()
        nursery, booted = await start_nursery(self._boot, self._children, within=self._patience)
        self._patience = BOOT_LEAST + BOOT_AGAIN * (time.monotonic() - began)
        self.policies = {policy.name: policy for policy in booted.policies}
        self.periodics = booted.periodics
        return nursery
