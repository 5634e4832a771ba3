"""What running tasks say of themselves, on its way to the broker."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.engine.broker import Broker
from gristmill.engine.message import Lease, Progress
from gristmill.engine.wire import Said

log = get_logger(__name__)

EVERY = 0.25  # seconds between progress written for all tasks together


class Reporter:
    """The latest word of every running task, all together, a few times a second."""

    def __init__(self, broker: Broker, running: Mapping[str, Lease]) -> None:
        self._broker = broker
        self._running = running
        self._said: dict[str, Said] = {}
        self._spoke = anyio.Event()

    def hear(self, said: Said) -> None:
        if said.id in self._running:
            self._said[said.id] = said
            self._spoke.set()

    def forget(self, task_id: str) -> None:
        """The task has ended: what it said last is no news."""
        self._said.pop(task_id, None)

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            await self._spoke.wait()
            self._spoke = anyio.Event()
            said, self._said = self._said, {}
            updates = [
                Progress(self._running[one.id], one.value, one.message, one.data)
                for one in said.values()
                if one.id in self._running
            ]
            try:
                if updates:
                    await self._broker.progress(updates)
            except BrokerUnavailable as exc:
                log.debug("progress could not be kept", error=str(exc))
            await anyio.sleep(EVERY)
