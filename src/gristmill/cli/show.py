"""How an ingest is shown: as JSON, or in lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

import click
import msgspec

from gristmill.cli.output import duration, print_json, printable
from gristmill.cli.plan import Plan
from gristmill.cli.report import Outcome, Totals
from gristmill.cli.tally import Tally
from gristmill.cli.walk import Skipped
from gristmill.ports.catalog import Run

TELL_EVERY = 5.0  # seconds between lines that say how far all are
_WIDTH = 30
_LISTED = 10  # skipped files named at the end


class Show(Protocol):
    """What is told of an ingest while it runs."""

    def started(self, name: str, run: Run) -> None:
        """A document is taken in."""

    def moved(self, run: Run) -> None:
        """A run got further."""

    def ended(self, outcome: Outcome) -> None:
        """A document has ended, or had ended before."""

    def note(self, text: str) -> None:
        """Something to know."""

    def summary(self, totals: Totals, skipped: Sequence[Skipped]) -> None:
        """The end."""


class ShowJson:
    """An object for each document, then the summary; nothing else on the standard output."""

    def started(self, name: str, run: Run) -> None:
        pass

    def moved(self, run: Run) -> None:
        pass

    def ended(self, outcome: Outcome) -> None:
        shown = msgspec.to_builtins(outcome)
        if outcome.error:
            shown["error"] = {
                "stage": outcome.error.stage,
                "type": outcome.error.type,
                "message": outcome.error.message,
            }
        print_json(shown)

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def summary(self, totals: Totals, skipped: Sequence[Skipped]) -> None:
        named = [{"path": printable(str(one.path)), "reason": one.reason} for one in skipped]
        print_json({"summary": {**msgspec.to_builtins(totals), "skipped_files": named}})


class Lines:
    """A line for each document that was worked on, now and then one that says how far all are, then the summary."""

    def __init__(self, plan: Plan, *, now: Callable[[], float] = monotonic) -> None:
        self._tally = Tally(plan, now=now)
        self._now = now
        self._told = now()

    def started(self, name: str, run: Run) -> None:
        self._tally.started(name, run)

    def moved(self, run: Run) -> None:
        self._tally.moved(run)
        if self._now() - self._told >= TELL_EVERY:
            self._told = self._now()
            share = self._tally.share()
            self.note(f"[{'#' * int(share * _WIDTH):.<{_WIDTH}}] {share:4.0%}  {self._tally.said()}")

    def ended(self, outcome: Outcome) -> None:
        self._tally.ended(outcome)
        if outcome.status != "unchanged":
            self.note(line(outcome))

    def note(self, text: str) -> None:
        click.echo(text)

    def summary(self, totals: Totals, skipped: Sequence[Skipped]) -> None:
        for text in summary_lines(totals, skipped):
            self.note(text)


def line(outcome: Outcome) -> str:
    """A document in one line."""
    name = printable(outcome.path)
    if outcome.error:
        return f"failed     {name}: {printable(outcome.error.message)} ({outcome.error.stage}, {outcome.error.type})"
    pages = f", {outcome.pages} pages" if outcome.pages else ""
    return f"{outcome.status:10} {name}: {outcome.chunks} chunks{pages}, {duration(outcome.seconds)}"


def summary_lines(totals: Totals, skipped: Sequence[Skipped]) -> list[str]:
    """The end, in lines."""
    counts = {
        "done": totals.done, "unchanged": totals.unchanged, "failed": totals.failed, "cancelled": totals.cancelled,
        "skipped": totals.skipped,
    }  # fmt: skip
    said = ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "nothing to do"
    rate = f" ({totals.chunks / totals.seconds:.1f} chunks/s)" if totals.chunks and totals.seconds else ""
    lines = [
        f"{said}; {totals.chunks} chunks, {totals.tokens} tokens, {totals.pages} pages in {duration(totals.seconds)}{rate}"
    ]
    lines += [f"skipped    {printable(str(one.path))}: {one.reason}" for one in skipped[:_LISTED]]
    if len(skipped) > _LISTED:
        lines.append(f"           and {len(skipped) - _LISTED} more")
    if totals.interrupted:
        lines.append("Interrupted. The work done so far is kept; the same command goes on from here.")
    return lines
