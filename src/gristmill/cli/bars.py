"""An ingest on a terminal: a bar for each document in work, and one for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from gristmill.cli.output import duration, printable
from gristmill.cli.plan import Plan
from gristmill.cli.report import Outcome, Totals
from gristmill.cli.show import line, summary_lines
from gristmill.cli.walk import Skipped
from gristmill.ports.catalog import Run

_MOST_BARS = 12
_LONGEST_NAME = 40
_WINDOW = 30.0  # seconds that the rate is taken over


class Bars:
    """Bars while it runs; a line for each document that failed, and the summary, stay on the screen."""

    def __init__(self, plan: Plan, totals: Totals) -> None:
        self._console = Console()
        self._totals = totals
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=30),
            TextColumn("{task.fields[said]}", markup=False),
            console=self._console, transient=True, refresh_per_second=8,
        )  # fmt: skip
        self._sizes = {one.name: max(one.size, 1) for one in plan.files}
        self._size = sum(self._sizes.values())
        self._count = len(plan.files)
        self._ended_size = 0
        self._ended = 0
        self._names: dict[str, str] = {}
        self._runs: dict[str, Run] = {}
        self._bars: dict[str, TaskID] = {}
        self._began = monotonic()
        self._rates: deque[tuple[float, int]] = deque()
        self._ended_chunks = 0
        self._all: TaskID | None = None

    def started(self, name: str, run: Run) -> None:
        self._begin()
        self._names[run.document_id] = name
        self._runs[run.document_id] = run

    def moved(self, run: Run) -> None:
        self._begin()
        self._runs[run.document_id] = run
        if run.state == "running" and run.document_id not in self._bars and len(self._bars) < _MOST_BARS:
            name = printable(self._names.get(run.document_id, ""))
            shown = name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]
            self._bars[run.document_id] = self._progress.add_task(shown, total=1.0, said="")
        if run.document_id in self._bars:
            parts = f"  part {run.parts_done}/{run.parts}" if run.parts > 1 else ""
            self._progress.update(
                self._bars[run.document_id],
                completed=run.progress,
                said=f"{run.progress:4.0%}  {run.chunks} chunks{parts}",
            )
        self._tell()

    def ended(self, outcome: Outcome) -> None:
        bar = self._bars.pop(outcome.document_id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._runs.pop(outcome.document_id, None)
        name = self._names.pop(outcome.document_id, "")
        if name:
            self._ended += 1
            self._ended_size += self._sizes.get(name, 0)
            self._ended_chunks += outcome.chunks
            self._tell()
        if outcome.status in ("failed", "cancelled"):
            self.note(line(outcome))

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)  # a path stays one piece

    def summary(self, totals: Totals, skipped: Sequence[Skipped]) -> None:
        self._progress.stop()
        for text in summary_lines(totals, skipped):
            self.note(text)

    def _begin(self) -> None:
        if self._all is None:
            self._progress.start()
            self._all = self._progress.add_task("all documents", total=1.0, said="")

    def _tell(self) -> None:
        """The bar of all: by size, since documents differ; the rate in chunks, since those are what costs."""
        if self._all is None:
            return
        running = sum(self._sizes.get(self._names.get(key, ""), 0) * run.progress for key, run in self._runs.items())
        share = min(1.0, (self._ended_size + running) / self._size)
        chunks = self._ended_chunks + sum(run.chunks for run in self._runs.values())
        said = f"{self._ended}/{self._count}  {self._rate(chunks):.1f} chunks/s"
        passed = monotonic() - self._began
        if 0.01 < share < 1 and passed > 2:
            said += f"  {duration(passed * (1 - share) / share)} left"
        self._progress.update(self._all, completed=share, said=said)

    def _rate(self, chunks: int) -> float:
        now = monotonic()
        self._rates.append((now, chunks))
        while now - self._rates[0][0] > _WINDOW:
            self._rates.popleft()
        first = self._rates[0]
        return (chunks - first[1]) / (now - first[0]) if now > first[0] else 0.0
