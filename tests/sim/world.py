"""Plays one schedule: workers, runners, somebody who submits and cancels, a reconciler, and whatever goes wrong."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import hypothesis  # noqa: F401  imported, it has trio take its turns in an order that only its own Random decides
import trio
import trio._core._run

from gristmill.base import logs
from gristmill.base.errors import BrokerUnavailable, UnknownTask
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.client import Client
from gristmill.engine.message import Message
from gristmill.engine.state import TaskState
from sim.host import Host, HostClock
from sim.line import Hub, Line
from sim.oracle import Oracle
from sim.plan import Fault, Job, Plan
from sim.runners import BURST, RATE, SimWorker

PATIENCE = 150.0  # seconds for everything to end after the last fault
MOST_WAIT = 4.0


class Time(trio.abc.Clock):
    """Time stands still while anybody has something to do, and then jumps to the next moment that somebody waits for."""

    def __init__(self) -> None:
        self._now = 0.0
        self.idle: Callable[[], None] = lambda: None

    def start_clock(self) -> None:
        return None

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline == math.inf:
            return deadline  # only something from outside can wake anybody
        if deadline > self._now:
            self.idle()
            self._now = deadline
        return 0.0


@dataclass
class Played:
    """What came of a schedule."""

    wrong: dict[str, str]
    trace: list[str]
    counts: dict[str, int]


def play(
    plan: Plan,
    *,
    broker: type[MemoryBroker] = MemoryBroker,
    worker: type[SimWorker] = SimWorker,
    line: type[Line] = Line,
) -> Played:
    """Play it. The same plan is played in the same way every time, in every process."""
    time = Time()
    world = World(plan, broker, worker, line)
    time.idle = world.oracle.idle
    oracle = world.oracle
    with _quiet(), _turns(plan.seed):
        try:
            anyio.run(world.run, backend="trio", backend_options={"clock": time})
        except ExceptionGroup as exc:
            oracle.wrong["something broke"] = "".join(traceback.format_exception(exc))
    return Played(oracle.wrong, oracle.trace, dict(oracle.counts))


class World:
    def __init__(self, plan: Plan, broker: type[MemoryBroker], worker: type[SimWorker], line: type[Line]) -> None:
        self.plan = plan
        self.clock = HostClock()
        self.oracle = Oracle(plan, self.clock)
        self.hub = Hub(lambda: broker(clock=self.clock), self.oracle)
        self.line = Line(self.hub, plan, -1, "caller")
        self.jobs = {job.number: job for job in plan.jobs}
        self.done: dict[int, str] = {}  # the catalog: how what was asked for has ended
        self.asked: set[int] = set()
        self.cancelled: set[int] = set()
        self.told: set[int] = set()
        self._cancels: set[str] = set()  # tasks that the broker was told to cancel
        self.make_worker, self.make_line = worker, line
        self._hosts: dict[int, Host] = {}

    async def run(self) -> None:
        plan = self.plan
        ends = max([0.0, *plan.bookings, *(fault.at + max(fault.seconds, 0.0) % 600 for fault in plan.faults)])
        ends = max([ends, *(at for job in plan.jobs for at in (job.at, *job.again_at, job.cancel_at or 0.0))])
        async with anyio.create_task_group() as group:
            for number in range(plan.workers):
                self._hosts[number] = host = Host(self, number)
                group.start_soon(host.run)
            for job in plan.jobs:
                group.start_soon(self._ask, job)
                if job.awaited:
                    group.start_soon(self._await, job)
            for fault in plan.faults:
                group.start_soon(self._strike, fault)
            for at in plan.bookings:
                group.start_soon(self._book, at)
            group.start_soon(self._reconcile)
            while anyio.current_time() < ends + PATIENCE:
                await anyio.sleep(1.0)
                if anyio.current_time() > ends and not self._left():
                    break
            await self._close()
            group.cancel_scope.cancel()

    async def _close(self) -> None:
        """P1: everything has ended. P9: workers that are asked to end hand back what they hold, and do."""
        left = self._left()
        self.oracle.expect(not left, "work was lost, or never ends", left)
        await anyio.sleep(10.0)
        untold = sorted(job.number for job in self.plan.jobs if job.awaited and job.number not in self.told)
        self.oracle.expect(bool(left) or not untold, "whoever waits for an end is not told", untold)
        with anyio.move_on_after(60) as late:
            for host in self._hosts.values():
                await host.leave()
        self.oracle.expect(not late.cancelled_caught, "a worker does not end")
        running = [one.id for one in self.oracle.records().values() if one.state is TaskState.RUNNING]
        self.oracle.expect(not running or not self.plan.calm, "left running by workers that have ended", running)
        self.oracle.idle()
        self.oracle.rated()
        if self.plan.calm:
            for job in self.plan.jobs:
                self._as_written(job)

    def _left(self) -> list[str]:
        """What has not ended: for the catalog, or for the broker."""
        asked = [str(number) for number in self.jobs.keys() - self.done.keys()]
        return asked + [one.id for one in self.oracle.records().values() if one.message.args and not one.state.final]

    def _as_written(self, job: Job) -> None:
        """Where nothing went wrong, every task has ended as its body says, after so many attempts."""
        record = self.oracle.record(f"{job.number}.0")
        if record is None or job.cancel_at is not None or job.deadline is not None:
            return
        runs = [run for run in self.oracle.runs if run.task == record.id and run.how != "stopped"]
        hows = [job.attempt(number).how for number in range(1, job.most + 1)]
        last = next((number for number, how in enumerate(hows) if how in ("ok", "fails")), job.most - 1)
        expected = {"ok": TaskState.SUCCEEDED, "fails": TaskState.FAILED}.get(hows[last], TaskState.DEAD)
        self.oracle.expect(record.state is expected, "another end than its body's", record.id, record.state, expected)
        self.oracle.expect(len(runs) == last + 1, "another number of attempts", record.id, len(runs), last + 1)

    # Callers

    async def _ask(self, job: Job) -> None:
        async with anyio.create_task_group() as group:
            for number, at in enumerate((job.at, *job.again_at)):
                group.start_soon(self._submit, job, number, at)
            if job.cancel_at is not None:
                await anyio.sleep(job.cancel_at)
                self.cancelled.add(job.number)
                await self._cancel(job)

    async def _submit(self, job: Job, number: int, at: float) -> None:
        """Whoever gets no answer asks again, with the same message; somebody else asks for the same with his own."""
        await anyio.sleep(at)
        message = self._message(job, f"{job.number}.{number}" if number else f"{job.number}.0")
        while True:
            with suppress(BrokerUnavailable):
                await self.line.broker.publish([message])
                self.asked.add(job.number)
                return
            await anyio.sleep(0.5)

    async def _cancel(self, job: Job) -> None:
        """However late that is, and whatever the catalog says: until the broker has answered."""
        while True:
            with suppress(BrokerUnavailable):
                found = await self.line.broker.find([self._key(job)])
                ids = [record.id for record in found.values()]
                if any(state is not None for state in await self.line.broker.cancel(ids)) or job.number in self.done:
                    self._cancels.update(ids)
                    return
            await anyio.sleep(0.5)

    async def _await(self, job: Job) -> None:
        """Somebody waits for the end, and is told of it, whatever notices get lost."""
        client, task_id = Client(self.line.broker), f"{job.number}.0"
        while True:
            with suppress(BrokerUnavailable):
                try:
                    record = await client.wait(task_id)
                except UnknownTask:  # not yet; or the broker has forgotten it
                    if job.number in self.done:
                        break
                else:
                    kept = self.oracle.record(task_id)
                    same = kept is None or (kept.state, kept.result) == (record.state, record.result)
                    self.oracle.expect(record.state.final and same, "told of another end", task_id, record.state, kept)
                    break
            await anyio.sleep(0.5)
        self.told.add(job.number)

    async def _reconcile(self) -> None:
        """What the catalog knows as unfinished and the broker does not know is published again, with the same key."""
        number = 100
        while True:
            await anyio.sleep(3.0)
            left = [job for job in self.plan.jobs if job.number in self.asked - (self.done.keys() - self.cancelled)]
            with suppress(BrokerUnavailable):
                found = await self.line.broker.find([self._key(job) for job in left])
                number += 1
                lost = [job for job in left if self._key(job) not in found]
                for job in left:
                    record = found.get(self._key(job))
                    if record is not None and record.state.final:
                        self.commit(job.number, str(record.state))
                await self.line.broker.publish(
                    [self._message(job, f"{job.number}.{number}") for job in lost if job.number not in self.done]
                )
                known = [record.id for record in found.values() if self._of(record.id) in self.cancelled]
                fresh = [one for one in known if one not in self._cancels]
                if fresh:  # once: it has come back under another id, or was lost
                    await self.line.broker.cancel(fresh)
                    self._cancels.update(fresh)

    async def _book(self, at: float) -> None:
        await anyio.sleep(at)
        with suppress(BrokerUnavailable):
            await self.line.broker.book("rate", rate=RATE, burst=BURST, most=MOST_WAIT)

    def commit(self, number: int, how: str) -> None:
        """The catalog's word on how something has ended: the first one counts."""
        if number not in self.done:
            self.done[number] = how
            self.oracle.say("catalog", number, how)

    def _key(self, job: Job) -> str:
        return f"k{job.number}"

    def _of(self, task_id: str) -> int:
        return int(task_id.partition(".")[0])

    def _message(self, job: Job, task_id: str) -> Message:
        return Message(
            task_id,
            job.kind,
            [job.number],
            key=self._key(job),
            lane=job.lane,
            priority=job.priority,
            delay=job.delay,
            deadline=job.deadline,
            max_attempts=job.most,
        )

    # What goes wrong

    async def _strike(self, fault: Fault) -> None:
        await anyio.sleep(fault.at)
        self.oracle.say("fault", fault.what, fault.line, fault.seconds)
        self.oracle.counts[fault.what] += 1
        if fault.what == "broker's clock jumps":
            self.clock.offset += fault.seconds
        elif fault.what == "broker forgets":
            self.hub.forget()
            self._cancels.clear()
        elif fault.line >= 0:
            await self._hosts[fault.line].strike(fault)


@contextmanager
def _turns(seed: int) -> Iterator[None]:
    """Who goes first when several could is the seed's choice. (There is no public way to seed trio's own Random.)"""
    rng = trio._core._run._r
    before = rng.getstate()
    rng.seed(seed)
    try:
        yield
    finally:
        rng.setstate(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """What goes wrong is meant to: warnings about it are no news."""
    rank: Any = logs._set["rank"]
    logs._set["rank"] = 40
    try:
        yield
    finally:
        logs._set["rank"] = rank
