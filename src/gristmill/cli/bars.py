"""An ingest on a terminal: a bar for each document in work, and one for all."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from gristmill.cli.output import printable
from gristmill.cli.plan import Plan
from gristmill.cli.report import Outcome, Totals
from gristmill.cli.show import line, summary_lines
from gristmill.cli.tally import Tally
from gristmill.cli.walk import Skipped
from gristmill.ports.catalog import Run

_MOST_BARS = 12
_LONGEST_NAME = 40


class Bars:
    """Bars while it runs; a line for each document that failed, and the summary, stay on the screen."""

    def __init__(self, plan: Plan) -> None:
        self._console = Console()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=30),
            TextColumn("{task.fields[said]}", markup=False),
            console=self._console, transient=True, refresh_per_second=8,
        )  # fmt: skip
        self._tally = Tally(plan)
        self._bars: dict[str, TaskID] = {}
        self._all: TaskID | None = None

    def started(self, name: str, run: Run) -> None:
        self._begin()
        self._tally.started(name, run)

    def moved(self, run: Run) -> None:
        self._begin()
        self._tally.moved(run)
        if run.state == "running" and run.document_id not in self._bars and len(self._bars) < _MOST_BARS:
            name = printable(self._tally.name(run.document_id))
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
        if self._tally.ended(outcome):
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
        if self._all is not None:
            self._progress.update(self._all, completed=self._tally.share(), said=self._tally.said())
