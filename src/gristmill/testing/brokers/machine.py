"""Any order of steps: a state machine that compares a broker with a model of its promises (P1, P2, P3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

import anyio
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from gristmill.base.clock import Clock
from gristmill.base.ids import new_id
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Message, Progress, Release
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import BROKE
from gristmill.testing.clock import FakeClock

LEASE = 30.0
QUEUES = ["one", "two"]
FINALS = [TaskState.SUCCEEDED, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED]

Opener = Callable[[Path, Clock], Broker]
T = TypeVar("T")


@dataclass(frozen=True)
class How:
    """The details of what somebody does with a lease."""

    state: TaskState
    counted: bool
    delay: float
    progress: float


_messages = st.builds(
    Message,
    id=st.just(""),
    task=st.just("task"),
    key=st.sampled_from([None, "k1", "k2", "k3"]),
    queue=st.sampled_from(QUEUES),
    lane=st.sampled_from("ab"),
    priority=st.integers(0, 1),
    delay=st.sampled_from([0.0, 0.0, 0.0, 20.0]),
    max_attempts=st.sampled_from([3, 3, 2, 1]),
)
_hows = st.builds(
    How,
    state=st.sampled_from(FINALS),
    counted=st.booleans(),
    delay=st.sampled_from([0.0, 0.0, 10.0]),
    progress=st.sampled_from([0.25, 0.5]),
)
_one = st.integers(0, 3)  # picks the newest one, the one before, ...
_some = st.lists(_one, min_size=1, max_size=3)
_queues = st.sampled_from([QUEUES, QUEUES, ["one"]])
_with_ids = precondition(lambda machine: bool(machine.ids))
_with_leases = precondition(lambda machine: bool(machine.leases))


@dataclass
class Known:
    """What the model knows of one task: what a broker that keeps its promises must know, too."""

    message: Message
    due: float
    state: TaskState = TaskState.QUEUED
    attempt: int = 0
    token: int = 0
    lease_until: float | None = None
    cancelled: bool = False
    progress: float = 0.0
    tokens: list[int] = field(default_factory=list)
    orphan: bool = False  # claimed before the last restart: the broker may know that nobody holds it

    def holds(self, lease: Lease) -> bool:
        return self.state is TaskState.RUNNING and self.token == lease.token

    def end(self, state: TaskState) -> None:
        self.state, self.lease_until = state, None

    def back(self, now: float, *, counted: bool, delay: float = 0.0) -> None:
        if self.cancelled:
            self.end(TaskState.CANCELLED)
        elif counted and self.attempt >= self.message.max_attempts:
            self.end(TaskState.DEAD)
        else:
            self.state, self.lease_until = TaskState.QUEUED, None
            self.attempt -= not counted
            self.due = now + delay if delay else self.due

    def seen(self) -> tuple[Any, ...]:
        return self.state, self.attempt, self.lease_until, self.cancelled, self.progress


class BrokerMachine(RuleBasedStateMachine):
    """Publishes, claims, ends, crashes, lets time pass. Every lease ever given may be used at any time: nobody knows that
    he is late.
    """

    opener: ClassVar[Opener]
    durable: ClassVar[bool] = False  # whether what was accepted is there after the broker was closed and opened again
    backend: ClassVar[str] = "asyncio"

    @initialize(messages=st.lists(_messages, min_size=1, max_size=3))
    def open(self, messages: list[Message]) -> None:
        self.clock = FakeClock()
        self.model: dict[str, Known] = {}
        self.by_key: dict[str, str] = {}
        self.ids: list[str] = []  # of all tasks there ever were
        self.leases: list[Lease] = []  # all that were ever given
        self._stack = ExitStack()
        self._path = Path(self._stack.enter_context(TemporaryDirectory()))
        self._portal: BlockingPortal = self._stack.enter_context(start_blocking_portal(self.backend))
        self._open()
        self.publish(messages)

    def teardown(self) -> None:
        if hasattr(self, "_stack"):
            with self._stack:
                self._opened.__exit__(None, None, None)

    @rule(messages=st.lists(_messages, min_size=1, max_size=3))
    def publish(self, messages: list[Message]) -> None:
        fresh = [msgspec.structs.replace(message, id=new_id()) for message in messages]
        expected, keys = [], set(self.by_key)
        for message in fresh:
            expected.append(message.key is None or message.key not in keys)
            keys.add(message.key or "")
        accepted = self.call(lambda broker: broker.publish(fresh))
        assert accepted == expected, "a key is known or it is not"
        for message, new in zip(fresh, accepted, strict=True):
            if new:
                self._accept(message, self.clock.now() + message.delay)

    @_with_ids
    @rule(pick=_one)
    def publish_again(self, pick: int) -> None:
        """Somebody who got no answer asks again."""
        [task] = _newest(self.ids, [pick])
        if task in self.model:
            assert self.call(lambda broker: broker.publish([self.model[task].message])) == [False]

    @_with_ids
    @rule(limit=st.integers(1, 3), queues=_queues)
    def reserve(self, limit: int, queues: list[str]) -> None:
        self._reserve([limit], queues)

    @_with_ids
    @rule(limits=st.lists(st.integers(1, 3), min_size=2, max_size=3), queues=_queues)
    def reserve_together(self, limits: list[int], queues: list[str]) -> None:
        """Several workers claim at the same moment."""
        self._reserve(limits, queues)

    @_with_leases
    @rule(picks=_some, use=st.sampled_from(["finish", "finish", "release", "release", "extend", "progress"]), how=_hows)
    def use(self, picks: list[int], use: str, how: How) -> None:
        """Somebody who was given leases uses them, whether they are still his or not."""
        some = _newest(self.leases, picks)
        getattr(self, f"_{use}")(some, how)

    @_with_ids
    @rule(pick=_one)
    def cancel(self, pick: int) -> None:
        some = _newest(self.ids, [pick])
        before = self.call(lambda broker: broker.cancel(some))
        assert before == [self.model[one].state if one in self.model else None for one in some]
        for known in (self.model[one] for one in some if one in self.model):
            if known.state is TaskState.QUEUED:
                known.end(TaskState.CANCELLED)
            elif known.state is TaskState.RUNNING:
                known.cancelled = True

    @rule(seconds=st.sampled_from([1.0, 15.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.move(seconds)

    @_with_leases
    @rule()
    def reclaim(self) -> None:
        """Whoever fell silent loses what he held."""
        self._reclaim()

    @_with_leases
    @rule()
    def crash(self) -> None:
        """All workers are gone at once; their leases run out, and others take what they held."""
        self.clock.move(LEASE + 1)
        self._reclaim()
        self._reserve([3], QUEUES)

    @precondition(lambda self: self.durable and bool(self.leases))
    @rule(picks=_some, how=_hows)
    def finish_and_restart(self, picks: list[int], how: How) -> None:
        """P1: what was answered is written, whatever comes next."""
        self._finish(_newest(self.leases, picks), how)
        self.restart()

    @precondition(lambda self: self.durable and bool(self.ids))
    @rule()
    def restart(self) -> None:
        """The broker is gone, too, and comes back."""
        for known in self.model.values():
            known.orphan = True
        self._opened.__exit__(None, None, None)
        self._open()
        self.call(lambda broker: broker.now())

    @_with_ids
    @rule(picks=_some)
    def replay(self, picks: list[int]) -> None:
        some = _newest(self.ids, picks)
        fresh = self.call(lambda broker: broker.replay(some))
        expected = [one for one in dict.fromkeys(some) if self._replayable(one)]
        assert len(fresh) == len(expected), "what did not succeed is replayed, once for each key"
        for old, new in zip(expected, fresh, strict=True):
            self._accept(msgspec.structs.replace(self.model[old].message, id=new, delay=0.0), self.clock.now())

    @precondition(lambda self: any(known.state.final for known in self.model.values()))
    @rule(states=st.lists(st.sampled_from(list(TaskState)), min_size=1, max_size=2))
    def purge(self, states: list[TaskState]) -> None:
        gone = [known.message for known in self.model.values() if known.state in states and known.state.final]
        assert self.call(lambda broker: broker.purge(states=states)) == len(gone), "only what has ended is forgotten"
        for message in gone:
            del self.model[message.id]
            if message.key is not None and self.by_key.get(message.key) == message.id:
                del self.by_key[message.key]

    @invariant()
    def the_broker_knows_what_the_model_knows(self) -> None:
        """P1, P2, P3: nothing lost, no end changed, no state that the holders' steps do not explain."""
        found, by_key = self._seen
        assert found.keys() == self.model.keys(), "a task is lost, or made up"
        assert {key: one.id for key, one in by_key.items()} == self.by_key
        for known in self.model.values():
            record = found[known.message.id]
            assert record.message == known.message
            shown = (record.state, record.attempt, record.lease_until, record.cancel_requested, record.progress)
            assert shown == known.seen(), "a record that no step explains"

    def call(self, step: Callable[[Broker], Any]) -> Any:
        """Run a step of the broker in its event loop, and look at what has become of all tasks."""

        async def run() -> Any:
            broker = self._broker
            done = await step(broker)
            everything = await broker.tasks(limit=10_000)
            by_key = await broker.find(["k1", "k2", "k3"])
            return done, ({one.id: one for one in everything}, by_key)

        done, self._seen = self._portal.call(run)
        return done

    def _open(self) -> None:
        opener = type(self).opener
        self._opened: AbstractContextManager[Broker] = self._portal.wrap_async_context_manager(
            _opened(lambda: opener(self._path, self.clock))
        )
        self._broker = self._opened.__enter__()

    def _accept(self, message: Message, due: float) -> None:
        self.ids.append(message.id)
        self.model[message.id] = Known(message, due)
        if message.key is not None:
            self.by_key[message.key] = message.id

    def _reserve(self, limits: list[int], queues: list[str]) -> None:
        due = [one for one in self.model.values() if self._claimable(one, queues)]

        async def claim(broker: Broker) -> list[list[Lease]]:
            got: list[list[Lease]] = [[] for _ in limits]

            async def work(number: int) -> None:
                got[number] = await broker.reserve(
                    queues, worker=f"w{number}", limit=limits[number], lease=LEASE, wait=0
                )

            async with anyio.create_task_group() as group:
                for number in range(len(limits)):
                    group.start_soon(work, number)
            return got

        got = self.call(claim)
        leases = [lease for some in got for lease in some]
        assert len({lease.id for lease in leases}) == len(leases), "two hold one task"
        assert len(leases) == min(len(due), sum(limits)), "what is due is given out, and no more"
        left = [one.message.priority for one in due if one.message.id not in {lease.id for lease in leases}]
        assert all(lease.message.priority >= max(left, default=0) for lease in leases), "lower before higher"
        for lease in leases:
            known = self.model[lease.id]
            assert self._claimable(known, queues), f"{known.state} was claimed"
            assert lease.token not in known.tokens, "a token was given twice"
            assert lease.token > known.token, "tokens grow"
            assert lease.message == known.message
            known.attempt += 1
            known.tokens.append(lease.token)
            known.orphan = False
            known.state, known.token, known.lease_until = TaskState.RUNNING, lease.token, self.clock.now() + LEASE
            assert lease.attempt == known.attempt <= known.message.max_attempts, "attempts are bounded"
            self.leases.append(lease)

    def _finish(self, some: list[Lease], how: How) -> None:
        done = self.call(lambda broker: broker.finish([End(lease, how.state, error=BROKE) for lease in some]))
        for lease, written in zip(some, done, strict=True):
            assert written is self._held(lease), "an end is written by the holder, and only by him"
            if written:
                self.model[lease.id].end(how.state)

    def _release(self, some: list[Lease], how: How) -> None:
        given = [Release(lease, delay=how.delay, counted=how.counted, error=BROKE) for lease in some]
        done = self.call(lambda broker: broker.release(given))
        for lease, written in zip(some, done, strict=True):
            assert written is self._held(lease), "a lease is given back by the holder, and only by him"
            if written:
                self.model[lease.id].back(self.clock.now(), counted=how.counted, delay=how.delay)

    def _extend(self, some: list[Lease], _: How) -> None:
        lost = self.call(lambda broker: broker.extend(some, lease=LEASE))
        assert lost == [lease for lease in some if not self._held(lease)], (
            "a lease is renewed by the holder, and only by him"
        )
        for lease in some:
            if self._held(lease):
                self.model[lease.id].lease_until = self.clock.now() + LEASE

    def _progress(self, some: list[Lease], how: How) -> None:
        done = self.call(lambda broker: broker.progress([Progress(lease, how.progress) for lease in some]))
        for lease, written in zip(some, done, strict=True):
            assert written is self._held(lease), "progress is told by the holder, and only by him"
            if written:
                self.model[lease.id].progress = how.progress

    def _held(self, lease: Lease) -> bool:
        return lease.id in self.model and self.model[lease.id].holds(lease)

    def _claimable(self, known: Known, queues: Sequence[str]) -> bool:
        waits = known.state is TaskState.QUEUED and known.due <= self.clock.now()
        return waits and known.message.queue in queues

    def _replayable(self, task: str) -> bool:
        known = self.model.get(task)
        if known is None or not known.state.final or known.state is TaskState.SUCCEEDED:
            return False
        return known.message.key is None or self.by_key.get(known.message.key) == task

    def _reclaim(self) -> None:
        now = self.clock.now()
        expired = {
            task for task, known in self.model.items() if known.lease_until is not None and known.lease_until <= now
        }
        orphans = {task for task, known in self.model.items() if known.orphan and known.state is TaskState.RUNNING}
        taken = {one.id for one in self.call(lambda broker: broker.reclaim())}
        assert expired <= taken <= expired | orphans, "expired leases are taken, and no other but of who is gone"
        for task in taken:
            self.model[task].back(now, counted=True)


def _newest(known: Sequence[T], picks: Sequence[int]) -> list[T]:
    return [known[-1 - pick % len(known)] for pick in picks]


@asynccontextmanager
async def _opened(make: Callable[[], Broker]) -> AsyncIterator[Broker]:
    async with make() as broker:
        yield broker


def check(
    opener: Opener,
    *,
    durable: bool = False,
    backend: str = "asyncio",
    examples: int = 100,
    steps: int = 60,
    shrink: bool = False,
) -> None:
    """Have the machine try so many orders of so many steps; the same ones every time. Raises what it finds.

    ``opener`` makes a broker from a folder that is its own and a clock; with ``durable`` it is closed and opened again.
    ``shrink`` looks for the shortest order that fails, which takes minutes.
    """
    fields = {"opener": staticmethod(opener), "durable": durable, "backend": backend}
    run(
        type("Machine", (BrokerMachine,), fields),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        ),
    )
