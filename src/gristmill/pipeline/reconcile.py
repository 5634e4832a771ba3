"""The reconciler: what the catalog knows as unfinished, and the broker does not know, is published again (P1)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing

import anyio
import msgspec
from anyio import to_thread

from gristmill.base import meters
from gristmill.base.clock import Clock
from gristmill.base.errors import BrokerUnavailable, StoreUnavailable
from gristmill.base.ids import new_id
from gristmill.base.logs import get_logger
from gristmill.engine.broker import Broker
from gristmill.engine.message import Notice, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.pipeline.plan import messages, open_keys, run_of_key
from gristmill.ports.catalog import Catalog, Failure, Run

log = get_logger(__name__)

LOCK = "reconcile"
BATCH = 200  # runs looked at in one step
_REST = 20  # times as long as a look at all runs took: so it never costs more than a twentieth of a core
_LEAST_TTL = 10.0  # seconds
_GATHER = 0.1  # seconds in which bad ends are gathered into one look
_LOST = Failure("run", "StoreError", "its tasks have succeeded, but the catalog has lost what they did", final=False)
_BAD = (TaskState.FAILED, TaskState.DEAD, TaskState.CANCELLED)


class Reconciled(msgspec.Struct, frozen=True):
    """What a look at unfinished runs led to. ``whole``: it was a look at all of them."""

    looked_at: int = 0
    published: int = 0
    failed: int = 0
    whole: bool = True


class Reconciler:
    """Compares catalog and broker. Safe in any number of processes at once; the lock only spares doing it twice."""

    def __init__(self, catalog: Catalog, broker: Broker, clock: Clock) -> None:
        self._catalog, self._broker, self._clock = catalog, broker, clock
        self._let_down: set[str] = set()  # tasks that have ended badly since the last look
        self._heard = anyio.Event()
        self._next = 0.0  # when all runs are looked at again, by the monotonic clock

    async def look(self, *, goes_on: Callable[[int], Awaitable[bool]] | None = None) -> Reconciled:
        """Look at the unfinished runs, oldest first; before each further batch ``goes_on`` is asked about the published."""
        looked_at = published = failed = 0
        async with aclosing(self.unfinished()) as batches:
            async for batch in batches:
                if looked_at and goes_on is not None and not await goes_on(published):
                    return Reconciled(looked_at, published, failed, whole=False)
                new, bad = await self._compare(batch)
                looked_at, published, failed = looked_at + len(batch), published + new, failed + bad
        return Reconciled(looked_at, published, failed)

    async def keep(self, *, every: float, owner: str) -> None:
        """Look every ``every`` seconds, and at a run at once when one of its tasks ends badly, for ever.

        Of all that do this one at a time is at work: the holder of a lock that is renewed at every step, and given back at
        the end. Each look begins with the oldest runs, and goes on to the others where the broker did not know one of them
        (it has lost its memory) or when their turn has come.
        """
        token = f"{owner}-{new_id()}"  # names of workers may be given twice
        try:
            while True:
                try:
                    await self._keep(every, token)
                except* (BrokerUnavailable, StoreUnavailable) as group:
                    log.warning("catalog and broker could not be compared", error=_first(group))
                await anyio.sleep(every)
        finally:
            with anyio.move_on_after(1, shield=True):
                await self._give_back(token)

    async def unfinished(self) -> AsyncGenerator[list[Run]]:
        """Unfinished runs, oldest first, some at a time."""
        look = self._catalog.unfinished
        batch = await to_thread.run_sync(lambda: look(limit=BATCH))
        while batch:
            yield batch
            batch = await to_thread.run_sync(lambda last: look(limit=BATCH, after=last), batch[-1])

    async def cancel(self, keys: Collection[str]) -> None:
        """Cancel the tasks of these keys that have not ended."""
        known = await self._broker.find([*keys])
        ids = [record.id for record in known.values() if not record.state.final]
        if ids:
            await self._broker.cancel(ids, reason="the document's run has ended")

    async def _keep(self, every: float, token: str) -> None:
        """Look and listen until the broker or the catalog does not answer."""
        async with self._broker.notices() as notices, anyio.create_task_group() as children:
            children.start_soon(self._hear, notices)
            while True:
                if await self.look_if_mine(every=every, token=token):
                    await self._listen(every)
                else:
                    await anyio.sleep(every)
                    self._let_down.clear()  # whoever has the lock has seen to them

    async def _hear(self, notices: AsyncIterator[Notice]) -> None:
        async for notice in notices:
            if notice.kind == "state" and notice.state in _BAD:
                self._let_down.add(notice.id)
                self._heard.set()

    async def _listen(self, every: float) -> None:
        """For ``every`` seconds see to runs whose tasks end badly."""
        with anyio.move_on_after(every):
            while True:
                if not self._let_down:
                    self._heard = anyio.Event()
                    await self._heard.wait()
                await anyio.sleep(_GATHER)
                await self._see_to(sorted(self._let_down))

    async def _see_to(self, task_ids: Sequence[str]) -> None:
        for first in range(0, len(task_ids), BATCH):
            some = task_ids[first : first + BATCH]
            records = [record for record in await self._broker.describe(some) if record is not None]
            runs = {run_of_key(record.message.key) for record in records if record.message.key} - {""}
            known = await to_thread.run_sync(self._catalog.runs, sorted(runs)) if runs else []
            _tell(len(runs), *await self._compare([run for run in known if not run.state.final]))
            self._let_down.difference_update(some)

    async def look_if_mine(self, *, every: float, token: str) -> bool:
        """Look, unless another process does it."""
        ttl = max(every * 3, _LEAST_TTL)

        async def mine() -> bool:
            return await self._broker.lock(LOCK, owner=token, ttl=ttl)

        async def goes_on(published: int) -> bool:
            return (published > 0 or began >= self._next) and await mine()

        if not await mine():
            return False
        began = self._clock.monotonic()
        before = set(self._let_down)
        done = await self.look(goes_on=goes_on)
        if done.whole:
            self._let_down -= before
            ended = self._clock.monotonic()
            self._next = ended + _REST * (ended - began)
        _tell(done.looked_at, done.published, done.failed)
        return True

    async def _give_back(self, token: str) -> None:
        try:
            await self._broker.unlock(LOCK, owner=token)
        except BrokerUnavailable as exc:
            log.debug("the reconciler's lock could not be given back; it will expire", error=str(exc))

    async def _compare(self, batch: Sequence[Run]) -> tuple[int, int]:
        """Returns how many tasks were published, and how many runs ended."""
        if not batch:
            return 0, 0
        parts = await to_thread.run_sync(self._catalog.parts_of, [run.id for run in batch])
        keys = {run.id: open_keys(run, parts[run.id]) for run in batch}
        known = await self._broker.find([key for some in keys.values() for key in some])
        wanted, ended = [], 0
        for run in batch:
            mine = [known[key] for key in keys[run.id] if key in known]
            if any(record.state.final for record in mine) and await self._end_with(run, mine):
                ended += 1
            elif len(mine) < len(keys[run.id]):
                wanted += [message for message in messages(run, parts[run.id]) if message.key not in known]
        return sum(await self._broker.publish(wanted)) if wanted else 0, ended

    async def _end_with(self, run: Run, mine: Sequence[TaskRecord]) -> bool:
        """End a run that one of its tasks has let down. Returns whether there is nothing more to do for it."""
        catalog = self._catalog
        bad = next((record for record in mine if record.state in _BAD), None)
        if bad is None and not await self._lost_effect(run, mine):
            return False
        if bad is None:
            ended = await to_thread.run_sync(catalog.fail, run.id, _LOST)
        elif bad.state is TaskState.CANCELLED:
            ended = await to_thread.run_sync(catalog.cancel, run.id)
        else:
            ended = await to_thread.run_sync(catalog.fail, run.id, _failure_of(bad))
        if ended and (bad is None or bad.state is not TaskState.CANCELLED):
            meters.count("documents", outcome="failed")
        await self.cancel([record.message.key or "" for record in mine if not record.state.final])
        return ended

    async def _lost_effect(self, run: Run, mine: Sequence[TaskRecord]) -> bool:
        """Whether a task that has succeeded is still to be done: the catalog was set back (power cut, old backup)."""
        done = {record.message.key for record in mine if record.state is TaskState.SUCCEEDED}
        # The task may have ended after we read the catalog; what the catalog says now is later than what the broker said.
        [run] = await to_thread.run_sync(self._catalog.runs, [run.id]) or [run]
        parts = await to_thread.run_sync(self._catalog.parts, run.id)
        return not run.state.final and not done.isdisjoint(open_keys(run, parts))


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def _tell(looked_at: int, published: int, failed: int) -> None:
    if published or failed:
        log.info("reconciled", looked_at=looked_at, published=published, failed=failed)


def _failure_of(record: TaskRecord) -> Failure:
    error = record.error or (record.history[-1] if record.history else None)
    if error is None:
        return Failure("run", "TaskDead", f"the task ended as {record.state} without saying why", final=False)
    return Failure(error.stage or "run", error.type, error.message, final=bool(error.limit))
