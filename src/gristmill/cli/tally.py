"""How far an ingest is: the share that is done, the rate, and the time that is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from gristmill.cli.output import duration
from gristmill.cli.plan import Plan
from gristmill.cli.report import Outcome
from gristmill.ports.catalog import Run

_WINDOW = 30.0  # seconds that the rate is taken over


class Tally:
    """Counts by size, since documents differ; the rate is in chunks, since those are what costs."""

    def __init__(self, plan: Plan, *, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._sizes = {one.name: max(one.size, 1) for one in plan.files}
        self._size = sum(self._sizes.values())
        self._count = len(plan.files)
        self._ended_size = 0
        self._ended = 0
        self._ended_chunks = 0
        self._names: dict[str, str] = {}
        self._runs: dict[str, Run] = {}
        self._began = now()
        self._rates: deque[tuple[float, int]] = deque([(self._began, 0)])

    def started(self, name: str, run: Run) -> None:
        """A document is taken in."""
        self._names[run.document_id] = name
        self._runs[run.document_id] = run

    def moved(self, run: Run) -> None:
        """A run got further."""
        self._runs[run.document_id] = run

    def ended(self, outcome: Outcome) -> bool:
        """A document has ended. Whether it was one of those that were taken in."""
        self._runs.pop(outcome.document_id, None)
        name = self._names.pop(outcome.document_id, "")
        if name:
            self._ended += 1
            self._ended_size += self._sizes.get(name, 0)
            self._ended_chunks += outcome.chunks
        return bool(name)

    def name(self, document_id: str) -> str:
        """The name of a document that was taken in and has not ended."""
        return self._names.get(document_id, "")

    def share(self) -> float:
        """How much is done, 0..1."""
        running = sum(self._sizes.get(self.name(key), 0) * run.progress for key, run in self._runs.items())
        return min(1.0, (self._ended_size + running) / self._size) if self._size else 1.0

    def said(self) -> str:
        """Documents, rate and time left, for people."""
        share, passed = self.share(), self._now() - self._began
        said = f"{self._ended}/{self._count}  {self._rate():.1f} chunks/s"
        if 0.01 < share < 1 and passed > 2:
            said += f"  {duration(passed * (1 - share) / share)} left"
        return said

    def _rate(self) -> float:
        now = self._now()
        self._rates.append((now, self._ended_chunks + sum(run.chunks for run in self._runs.values())))
        while now - self._rates[0][0] > _WINDOW and len(self._rates) > 2:
            self._rates.popleft()
        (first, before), (_, chunks) = self._rates[0], self._rates[-1]
        return (chunks - before) / (now - first) if now > first else 0.0
