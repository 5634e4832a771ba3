"""A master on a terminal: its processes, what they run, what waits, and the last lines of the log."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gristmill.cli.output import duration, printable
from gristmill.pipeline.overview import Current, House

TASKS, QUEUES, PROCESSES = 6, 6, 16  # rows of each table, at most
ELASTIC = ("queue", "task", "says")  # columns that are cut where the terminal is narrow
RATE_OVER = 10.0  # seconds
KEPT = 200  # lines of the log
_COLOURS = {"ready": "green", "starting": "yellow", "draining": "yellow", "silent": "red"}
_LEVELS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}


@dataclass
class View:
    """What is known, and how it is drawn. Times are of the monotonic clock."""

    title: str
    began: float
    status: Mapping[str, Any] = field(default_factory=dict)
    house: House | None = None
    trouble: str = ""  # why there is no house
    log: deque[Text] = field(default_factory=lambda: deque(maxlen=KEPT))
    gone: tuple[int, int] = (0, 0)  # done and failed of processes that are no more
    _seen: dict[int, tuple[int, int]] = field(default_factory=dict)
    _done: deque[tuple[float, int]] = field(default_factory=deque)

    def told(self, status: Mapping[str, Any], now: float) -> None:
        """The master has said how it is."""
        self.status = status
        here = {one["pid"]: (one["done"], one["failed"]) for one in status["workers"]}
        left = [numbers for pid, numbers in self._seen.items() if pid not in here]
        self.gone = (self.gone[0] + sum(done for done, _ in left), self.gone[1] + sum(bad for _, bad in left))
        self._seen = here
        self._done.append((now, self.totals[0]))
        while self._done[0][0] < now - RATE_OVER:
            self._done.popleft()

    @property
    def totals(self) -> tuple[int, int]:
        """Tasks that were done and that failed since the start."""
        return tuple(gone + sum(numbers) for gone, numbers in zip(self.gone, self._columns(), strict=True))  # type: ignore[return-value]

    @property
    def rate(self) -> float:
        """Tasks done a second, of late."""
        (first, before), (last, after) = self._done[0], self._done[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def draw(self, now: float, height: int) -> RenderableType:
        """All of it in so many lines."""
        most = max(1, (height - 7) // 3)  # rows of a table, so that three of them fit
        parts: list[Text | Table | None] = [
            Text(self._head(now), style="bold", no_wrap=True, overflow="ellipsis"),
            self._processes(min(most, PROCESSES)),
        ]
        if self.house is None:
            parts.append(Text(self.trouble or "asking the broker …", style="red" if self.trouble else "dim"))
        else:
            parts += [self._queues(self.house, min(most, QUEUES)), self._tasks(self.house.current, min(most, TASKS))]
        used = sum(1 if isinstance(part, Text) else 1 + part.row_count for part in parts if part)
        room = max(0, height - used - 1)
        return Group(*(part for part in parts if part), *list(self.log)[-room:] if room else ())

    def _columns(self) -> tuple[list[int], list[int]]:
        return [done for done, _ in self._seen.values()], [failed for _, failed in self._seen.values()]

    def _head(self, now: float) -> str:
        if not self.status:
            return f"{self.title} · starting"
        done, failed = self.totals
        state = self.status["stopping"] or ("ready" if self.status["ready"] else "not ready")
        return f"{self.title} · {state} · up {duration(now - self.began)} · {done} done, {failed} failed · {self.rate:.1f}/s"

    def _processes(self, most: int) -> Table | None:
        kinds = [("server", self.status.get("servers", [])), ("worker", self.status.get("workers", []))]
        rows = [
            (
                kind, str(one["pid"]), Text(one["state"], style=_COLOURS.get(one["state"], "")), str(one["running"]),
                str(one["done"]), str(one["failed"]), f"{one['rss'] / 2**20:.0f} MiB",
            )
            for kind, some in kinds
            for one in some
        ]  # fmt: skip
        return _table(["process", "pid", "state", "running", "done", "failed", "memory"], rows, most)

    def _queues(self, house: House, most: int) -> Table | None:
        rows = [
            (printable(one.queue), str(one.queued), str(one.delayed), str(one.running), duration(one.oldest))
            for one in house.queues
        ]
        return _table(["queue", "queued", "delayed", "running", "oldest"], rows, most)

    def _tasks(self, current: Sequence[Current], most: int) -> Table | None:
        pids = {one["name"] for one in self.status.get("workers", [])}
        rows = [
            (printable(one.task), one.id, duration(one.seconds), f"{one.progress:.0%}", printable(one.message))
            for one in sorted(current, key=lambda one: -one.seconds)
            if one.worker in pids
        ]
        return _table(["task", "id", "for", "progress", "says"], rows, most)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str | Text]], most: int) -> Table | None:
    """None where there is nothing to show."""
    if not rows:
        return None
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column, head in enumerate(heads):
        whole = 0 if head in ELASTIC else max(len(row[column]) for row in rows[:most])
        table.add_column(head, no_wrap=True, overflow="ellipsis", min_width=whole)
    for row in rows[:most]:
        table.add_row(*(Text(one) if isinstance(one, str) else one for one in row))
    if len(rows) > most:
        table.add_row(Text(f"and {len(rows) - most} more", style="dim"))
    return table


def log_line(line: str) -> Text:
    """A line of the log as people read it; what is no JSON stays as it is."""
    try:
        told = json.loads(line)
        event, level, at = told.pop("event"), told.pop("level", ""), told.pop("timestamp", "")
    except (ValueError, KeyError, AttributeError, TypeError):
        return Text(printable(line), no_wrap=True, overflow="ellipsis")
    told.pop("logger", None)
    words = " ".join(f"{key}={value}" for key, value in told.items() if value not in ("", [], None))
    shown = f"{str(at)[11:19]} {printable(str(event))}  {printable(words)}"
    return Text(shown.rstrip(), style=_LEVELS.get(level, ""), no_wrap=True, overflow="ellipsis")
