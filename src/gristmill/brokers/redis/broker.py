"""A broker in Valkey or Redis, for many workers on many hosts."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectSendStream

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import GristmillError
from gristmill.base.ids import new_id
from gristmill.base.logs import get_logger
from gristmill.brokers.redis import records
from gristmill.brokers.redis.bells import Bells
from gristmill.brokers.redis.connection import Lost
from gristmill.brokers.redis.ear import Ear
from gristmill.brokers.redis.greeting import greet
from gristmill.brokers.redis.link import Link
from gristmill.brokers.redis.url import target
from gristmill.engine import bucket, pause
from gristmill.engine.beat import from_json, to_json
from gristmill.engine.broker import Broker, QueueDepth
from gristmill.engine.message import (
    End,
    ErrorRecord,
    Heartbeat,
    Lease,
    Message,
    Notice,
    Progress,
    Release,
    TaskRecord,
    encode,
)
from gristmill.engine.state import TaskState

log = get_logger(__name__)

KINDS = ("state", "progress", "cancel")  # of notices; each has a channel
NOTICE_BUFFER = 10_000  # notices a watcher may lag behind before it misses some
LOOK_AGAIN = 60.0  # seconds after which a reserve that waits looks even if it heard nothing
LINGER = 30.0  # seconds for which notices are heard on after the last watcher has left
GIVE_BACK = 2.0  # seconds at the end for what cancelled claims have taken
FORGET_EVERY = 60.0  # seconds between looks for records whose time is over, and for workers that are silent
SIGNS_KEPT = 1800.0  # seconds
PAGE = 500  # tasks looked at in one step
BATCH = 1000  # tasks looked at, cancelled or forgotten in one step


class RedisBroker(Broker):
    """Every method is one script, so one step of the store; all keys of a namespace are in one slot.

    A step whose answer was lost is asked for again and has one effect. While the server is away, calls wait for it as
    long as ``patience`` says, and raise BrokerUnavailable then.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._target = target(url)
        given = None if isinstance(clock, SystemClock) else clock  # without one, the server's clock decides
        self._given = given
        self._clock = given or SystemClock()
        self._opened = AsyncExitStack()
        self._nonces = (f"{number:x}.{new_id()[16:]}".encode() for number in itertools.count())

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._link = Link(self._target, clock=self._given)
            self._bells = Bells()
            self._ear = Ear(self._target, self._link.name, self._heard, self._bells.ring_all)
            self._channels = {f"{self._target.prefix}gristmill:notices:{kind}": kind for kind in KINDS}
            self._wake = f"{self._target.prefix}gristmill:wake"
            self._ends = f"{self._target.prefix}gristmill:notices:state"
            self._watchers: dict[MemoryObjectSendStream[Notice], Sequence[str]] = {}
            self._watching, self._left = 0, 0.0  # how many watch, and when the last one left
            self._capped = False  # whether a reserve has ever waited for the ends of others
            self._forgot = self._clock.monotonic()
            self._tidied = 0.0
            children = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(children.cancel_scope.cancel)
            children.start_soon(self._link.run)
            children.start_soon(self._ear.run)
            self._given_back = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(self._hurry)
            try:
                await self._link.connected()
                await greet(self._link)
            except GristmillError as exc:  # as it is, not in a group
                failure = exc
            else:
                self._opened = stack.pop_all()
                return self
        raise failure

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        return await self._accept([(message, b"") for message in messages])

    async def reserve(
        self,
        queues: Sequence[str],
        *,
        worker: str,
        limit: int,
        lease: float,
        wait: float | None = None,
        per_lane: int | None = None,
    ) -> list[Lease]:
        until = None if wait is None else self._clock.monotonic() + wait
        ends = False  # whether the end of a task may make room for another
        while limit > 0:
            if wait != 0:
                await self._hear(ends)
            rung = self._bells.rung(queues, ends=ends)
            leases, due, full = await self._claim(queues, worker, limit, lease, per_lane)
            left = None if until is None else until - self._clock.monotonic()
            if leases or (left is not None and left <= 0):
                return leases
            if full and not ends:
                ends = True
                continue
            pauses = [max(seconds, 0.0) for seconds in (left, due) if seconds is not None]
            with (
                self._bells.waiting(queues, ends=ends) as rings,
                pause.limit(self._clock, min([*pauses, LOOK_AGAIN])),
            ):
                if self._bells.rung(queues, ends=ends) == rung:
                    await rings.wait()
        return []

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        words = [word for held in leases for word in (held.id, held.token)]
        lost = await self._step("extend", repr(float(lease)), *words)
        return [held for held, is_lost in zip(leases, lost, strict=True) if is_lost]

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        words: list[bytes | str | int] = []
        for end in ends:
            held = end.lease
            words += (held.id, held.token, end.state.value, end.result or b"", _error(end.error), _raw(held))
        return _bools(await self._step("finish", *words))

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        words: list[bytes | str | int] = []
        for one in releases:
            held = one.lease
            words += (held.id, held.token, repr(one.delay), int(one.counted), _error(one.error), _raw(held))
        return _bools(await self._step("release", *words))

    async def progress(self, updates: Sequence[Progress]) -> list[bool]:
        words: list[bytes | str | int] = []
        for one in updates:
            data = msgspec.json.encode(one.data)
            words += (one.lease.id, one.lease.token, repr(one.value), one.message, data)
        return _bools(await self._step("progress", *words))

    async def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[TaskState | None]:
        why = reason.encode("utf-8", "replace")
        before: dict[str, TaskState | None] = {}
        for some in _pieces(list(dict.fromkeys(ids))):
            states = await self._step("cancel", why, *some)
            before |= {
                one: TaskState(state.decode()) if state else None for one, state in zip(some, states, strict=True)
            }
        return [before[one] for one in ids]

    async def reclaim(self, *, gone: Sequence[str] = ()) -> list[TaskRecord]:
        if self._clock.monotonic() - self._forgot > FORGET_EVERY:
            self._forgot = self._clock.monotonic()
            await self._forget()
        return _records(await self._step("reclaim", *gone))

    async def describe(self, ids: Sequence[str]) -> list[TaskRecord | None]:
        shown = [one for some in _pieces(ids) for one in await self._step("describe", *some)]
        return [records.record(one) for one in shown]

    async def tasks(
        self,
        *,
        states: Sequence[TaskState] = (),
        queue: str | None = None,
        lane: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[TaskRecord]:
        found: list[TaskRecord] = []
        before: bytes | str = ""
        wanted = [_or_any(queue), _or_any(lane), *states]
        while len(found) < offset + limit:
            before, page = await self._step("list", before, PAGE, offset + limit - len(found), *wanted)
            found += _records(page)
            if not before:
                break
        return found[offset : offset + limit]

    async def find(self, keys: Sequence[str]) -> dict[str, TaskRecord]:
        shown = [one for some in _pieces(keys) for one in await self._step("find", *some)]
        found = ((key, records.record(one)) for key, one in zip(keys, shown, strict=True))
        return {key: one for key, one in found if one is not None}

    async def replay(self, ids: Sequence[str]) -> list[str]:
        known = [one for one in await self.describe(list(dict.fromkeys(ids))) if one is not None and one.state.final]
        fresh = [(msgspec.structs.replace(one.message, id=new_id(), delay=0.0), one.id.encode()) for one in known]
        accepted = await self._accept(fresh)
        return [message.id for (message, _), new in zip(fresh, accepted, strict=True) if new]

    async def purge(self, *, states: Sequence[TaskState], older_than: float = 0.0) -> int:
        gone = 0
        for state in dict.fromkeys(states):
            looked = BATCH
            while state.final and looked == BATCH:
                there, looked = await self._step("purge", repr(float(older_than)), BATCH, state)
                gone += there
        return gone

    async def depth(self) -> list[QueueDepth]:
        rows = await self._step("depth")
        found = (
            QueueDepth(name.decode(), queued, delayed, running, float(oldest))
            for name, queued, delayed, running, oldest in rows
        )
        return sorted(found, key=lambda depth: depth.queue)

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        send, receive = anyio.create_memory_object_stream[Notice](NOTICE_BUFFER)
        self._watching += 1
        try:
            await self._ear.hear(*self._channels, anew=True)
            self._watchers[send] = KINDS
            with receive:
                yield receive
        finally:
            self._watchers.pop(send, None)
            send.close()
            self._watching -= 1
            self._left = self._clock.monotonic()

    async def beat(self, heartbeat: Heartbeat, *, timeout: float) -> None:
        await self._step("beat", heartbeat.name, to_json(heartbeat), repr(float(timeout)), int(SIGNS_KEPT))
        if self._clock.monotonic() - self._tidied > FORGET_EVERY:
            self._tidied = self._clock.monotonic()
            await self._step("tidy", heartbeat.name, int(FORGET_EVERY))

    async def workers(self) -> list[Heartbeat]:
        return sorted((from_json(one) for one in await self._step("workers")), key=lambda beat: beat.name)

    async def lock(self, name: str, *, owner: str, ttl: float) -> bool:
        return bool(await self._step("lock", _lock(name), owner, repr(float(ttl)), self._kept(ttl)))

    async def unlock(self, name: str, *, owner: str) -> None:
        await self._step("unlock", _lock(name), owner)

    async def book(
        self, name: str, *, rate: float, burst: float = 1.0, cost: float = 1.0, most: float | None = None
    ) -> float:
        bucket.check(rate, burst, cost)
        terms = [repr(float(number)) for number in (rate, burst, cost)]
        longest = "" if most is None else repr(float(most))
        return float(await self._step("book", name, *terms, longest, self._kept(1.0)))

    async def now(self) -> float:
        await anyio.lowlevel.checkpoint()
        return self._now()

    async def _accept(self, messages: Sequence[tuple[Message, bytes]]) -> list[bool]:
        """Accept messages, each in the place of an ended task or of none."""
        if not messages:
            await anyio.lowlevel.checkpoint()
            return []
        words: list[bytes | str | int] = []
        for message, old in messages:
            raw = encode(message)
            words += (
                message.id,
                "" if message.key is None else f"={message.key}",
                message.queue,
                message.priority,
                message.lane,
                repr(message.delay),
                "" if message.deadline is None else repr(message.deadline),
                message.max_attempts,
                raw,
                old,
            )
        return _bools(await self._step("publish", *words))

    async def _step(self, name: str, *words: bytes | str | int) -> Any:
        return await self._link.step(name, next(self._nonces), *words)

    async def _claim(
        self, queues: Sequence[str], worker: str, limit: int, lease: float, per_lane: int | None
    ) -> tuple[list[Lease], float | None, bool]:
        """Leases; or in how many seconds the next task is due, and whether a full lane holds something back."""
        nonce = next(self._nonces)
        cap = "" if per_lane is None else per_lane
        try:
            while True:
                try:
                    due, full, foreign, rows = await self._link.step_once(
                        "claim", nonce, worker, limit, repr(float(lease)), cap, *queues
                    )
                except Lost:
                    rows = await self._step("recall", worker, nonce)
                    if not rows:
                        continue
                    due, full, foreign = b"", 0, []
                break
        except anyio.get_cancelled_exc_class():
            self._given_back.start_soon(self._unclaim, worker, nonce)
            raise
        if foreign:
            log.warning("entries in the stream that are not ours stay there", entries=[one.decode() for one in foreign])
        return records.leases(rows, worker), float(due) - self._now() if due else None, bool(full)

    async def _unclaim(self, worker: str, nonce: bytes) -> None:
        """Whoever made this claim has gone: what it took goes back, uncounted."""
        try:
            rows = await self._step("recall", worker, nonce)
            if rows:
                await self.release([Release(lease, counted=False) for lease in records.leases(rows, worker)])
        except GristmillError as exc:
            log.warning("a claim could not be given back; its leases will expire", worker=worker, error=str(exc))

    def _hurry(self) -> None:
        self._given_back.cancel_scope.deadline = anyio.current_time() + GIVE_BACK

    async def _forget(self) -> None:
        for ttl, states in (
            (self._target.result_ttl, (TaskState.SUCCEEDED, TaskState.CANCELLED)),
            (self._target.failure_ttl, (TaskState.FAILED, TaskState.DEAD)),
        ):
            await self.purge(states=states, older_than=ttl)

    async def _hear(self, ends: bool) -> None:
        self._capped = self._capped or ends
        wanted = (self._wake, self._ends) if ends else (self._wake,)
        if not all(map(self._ear.hears, wanted)):
            await self._ear.hear(*wanted)

    def _heard(self, channel: str, payload: bytes) -> None:
        try:
            self._hand_on(channel, payload)
        except msgspec.MsgspecError as exc:  # anybody may publish
            log.warning("a notice that is none of ours was ignored", channel=channel, error=str(exc))

    def _hand_on(self, channel: str, payload: bytes) -> None:
        if channel == self._wake:
            self._bells.ring(records.queues(payload))
            return
        kind = self._channels[channel]
        if kind == "state":
            self._bells.ring_ends()
        watchers = [watcher for watcher, kinds in self._watchers.items() if kind in kinds]
        if not watchers:
            self._turn_away(channel)
            return
        for notice in records.notices(kind, payload):
            for watcher in watchers:
                try:
                    watcher.send_nowait(notice)
                except (anyio.WouldBlock, anyio.BrokenResourceError):
                    continue  # a notice is a hint; the record has the truth

    def _turn_away(self, channel: str) -> None:
        """Nobody has watched for a while: the server need not tell us any more. Who asks for results one by one is spared
        a subscription for each."""
        needed = self._watching or (self._capped and channel == self._ends)
        if not needed and self._clock.monotonic() - self._left > LINGER:
            self._ear.forget(channel)

    def _now(self) -> float:
        return self._link.now() if self._given is None else self._given.now()

    def _kept(self, seconds: float) -> str:
        """Milliseconds that a key is kept: with a clock that is not the server's, long enough for any use of it."""
        return str(int(seconds * 1000) + (0 if self._given is None else 86_400_000) or 1)


def _records(shown: Sequence[Any]) -> list[TaskRecord]:
    return [one for one in map(records.record, shown) if one is not None]


def _pieces(names: Sequence[str]) -> list[Sequence[str]]:
    """So many that the server answers others in between."""
    return [names[at : at + BATCH] for at in range(0, len(names), BATCH)]


def _bools(answer: Sequence[int]) -> list[bool]:
    return [bool(one) for one in answer]


def _raw(lease: Lease) -> bytes:
    return lease.raw if isinstance(lease, records.Held) else b""


def _error(error: ErrorRecord | None) -> bytes:
    return b"" if error is None else msgspec.json.encode(error)


def _or_any(name: str | None) -> str:
    return "" if name is None else f"={name}"


def _lock(name: str) -> str:
    return name if name == "clean_task_executor" else f"gristmill:lock:{name}"
