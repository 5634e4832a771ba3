"""Writing down how leases ended: all that ended meanwhile in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Release

log = get_logger(__name__)


class Settler:
    """Ends and releases on their way to the broker. While it does not answer they are kept and tried again."""

    def __init__(self, broker: Broker, settled: Callable[[Lease], None]) -> None:
        self._broker = broker
        self._settled = settled
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
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            steps, self._waiting = self._waiting, []
            await self._write(steps)
            if not self._waiting:
                self._none.set()

    async def _write(self, steps: list[End | Release]) -> None:
        ends = [step for step in steps if isinstance(step, End)]
        releases = [step for step in steps if isinstance(step, Release)]
        pause = 0.1
        while ends or releases:
            try:
                if ends:
                    self._told(ends, await self._broker.finish(ends))
                    ends = []
                if releases:
                    self._told(releases, await self._broker.release(releases))
                    releases = []
            except BrokerUnavailable as exc:
                log.warning("ends could not be written", error=str(exc), again_after=pause)
                await anyio.sleep(pause)
                pause = min(pause * 2, 5.0)

    def _told(self, steps: Sequence[End | Release], written: list[bool]) -> None:
        for step, kept in zip(steps, written, strict=True):
            self._settled(step.lease)
            if not kept:
                log.warning("an end came too late", task=step.lease.message.task, id=step.lease.id)
