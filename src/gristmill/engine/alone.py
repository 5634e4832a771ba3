"""The probes of a worker that has no master: answered by a thread of its own, so that they come when its loop hangs."""

from __future__ import annotations

import os
import time

import anyio

from gristmill.engine import telling
from gristmill.engine.broker import Broker
from gristmill.engine.child import rss
from gristmill.engine.probes import Probes
from gristmill.engine.worker import Worker

TURN = 0.5  # seconds between signs that the loop turns


class OwnProbes(Probes):
    """``/health`` (the worker's loop turns), ``/ready`` (it takes tasks), ``/metrics`` (what it and its bodies count)."""

    def __init__(self, address: str, worker: Worker) -> None:
        super().__init__(address)
        self._worker = worker
        self._turned = time.monotonic()
        self.hear(telling.first_words())

    async def keep(self, broker: Broker) -> None:
        """Show that the loop turns, and look at the queues while somebody looks at the metrics; for ever."""
        while True:
            self._turned = time.monotonic()
            if self.ask_depths(self._turned):
                self.hear(await telling.depths(broker))
            await anyio.sleep(TURN)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path, by what is so at this moment."""
        self.hear(telling.news())
        worker = self._worker
        state = "draining" if worker.draining else "ready" if worker.working else "starting"
        own = {
            "pid": os.getpid(),
            "name": worker.name,
            "state": state,
            "running": len(worker.held()),
            "done": worker.done,
            "failed": worker.failed,
            "rss": rss(),
        }
        self.show(
            {
                "at": self._turned,
                "ready": state == "ready",
                "orphans": 0,
                "stopping": "drain" if worker.draining else "",
                "wanted": 1,
                "workers": [own],
            }
        )
        return super().answer(path)
