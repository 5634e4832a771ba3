"""Writing down how leases ended: all that ended meanwhile in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import BrokerUnavailable, EngineError
from gristmill.base.logs import get_logger
from gristmill.engine import pause
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, ErrorRecord, Lease, Release
from gristmill.engine.state import TaskState

log = get_logger(__name__)

APART = 0.003  # seconds between writes
CROWDED = 0.01  # the same, while tasks wait here for their slot: then what counts is how many go in one step

REFUSED = "settle"  # the stage of an error that says why the real end could not be kept


class Settler:
    """Ends and releases on their way to the broker. While it does not answer they are kept and tried again.

    An end that the broker refuses takes no other with it: its task has failed, and the error says why (P10).
    """

    def __init__(
        self,
        broker: Broker,
        settled: Callable[[Lease], None],
        *,
        crowded: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        self._broker = broker
        self._settled = settled
        self._crowded = crowded
        self._clock = clock or SystemClock()
        self._waiting: list[End | Release] = []
        self._more = anyio.Event()
        self._none = anyio.Event()
        self._none.set()

    def put(self, step: End | Release) -> None:
        self._waiting.append(step)
        if self._none.is_set():
            self._none = anyio.Event()
        self._more.set()

    async def empty(self) -> None:
        """Wait until everything has been written."""
        await self._none.wait()

    async def run(self) -> None:
        """Write what is put, for ever: one end at once, of many in a row all that come within some milliseconds."""
        last = 0.0
        while True:
            await self._more.wait()
            apart = CROWDED if self._crowded() else APART
            if (early := last + apart - anyio.current_time()) > 0:
                await anyio.sleep(early)
            last = anyio.current_time()
            self._more = anyio.Event()
            steps, self._waiting = self._waiting, []
            await self._write(steps)
            if not self._waiting:
                self._none.set()

    async def _write(self, steps: list[End | Release]) -> None:
        ends = [step for step in steps if isinstance(step, End)]
        releases = [step for step in steps if isinstance(step, Release)]
        again_after = 0.1
        while ends or releases:
            try:
                if ends:
                    self._told(ends, await self._broker.finish(ends))
                    ends = []
                if releases:
                    self._told(releases, await self._broker.release(releases))
                    releases = []
            except BrokerUnavailable as exc:
                log.warning("ends could not be written", error=str(exc), again_after=again_after)
                await pause.sleep(self._clock, again_after)
                again_after = min(again_after * 2, 5.0)
            except EngineError as exc:
                await self._one_by_one(ends or releases, exc)
                ends, releases = [], releases if ends else []

    async def _one_by_one(self, steps: Sequence[End | Release], exc: EngineError) -> None:
        if len(steps) > 1:
            for step in steps:
                await self._write([step])
            return
        [step] = steps
        log.error("an end was refused", task=step.lease.message.task, id=step.lease.id, error=str(exc))
        if step.error is not None and step.error.stage == REFUSED:
            self._settled(step.lease)  # nothing more can be said; the lease will expire
        else:
            error = ErrorRecord(type(exc).__name__, str(exc), stage=REFUSED, attempt=step.lease.attempt)
            await self._write([End(step.lease, TaskState.FAILED, error=error)])

    def _told(self, steps: Sequence[End | Release], written: list[bool]) -> None:
        for step, kept in zip(steps, written, strict=True):
            self._settled(step.lease)
            if not kept:
                log.warning("an end came too late", task=step.lease.message.task, id=step.lease.id)
