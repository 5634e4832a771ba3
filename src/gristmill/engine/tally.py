"""What workers counted, added up over the living and the dead, and written as Prometheus wants it.

It knows no metric but a master's own: workers tell what theirs are. It imports nothing, for it is a part of the master.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

PREFIX = "gristmill_"
MOST_SERIES = 20_000  # of all metrics together; what comes later is left out, and counted
TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The master's own: kind, meaning, labels.
HEADS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "workers": ("gauge", "Workers, by state (starting, ready, silent, draining).", ("state",)),
    "workers_wanted": ("gauge", "How many workers there should be.", ()),
    "worker_running": ("gauge", "Tasks that a worker runs now.", ("pid",)),
    "worker_rss_bytes": ("gauge", "Resident bytes of a worker's keeper.", ("pid",)),
    "worker_starts": ("counter", "Workers that were started.", ()),
    "worker_exits": ("counter", "Workers that ended, by why (told, boot, exit, signal, silent, late).", ("reason",)),
    "drains": ("counter", "Stops of the master, by how (drain, quick).", ("how",)),
    "replacements": ("counter", "Replacements of workers that were begun, by why (worn, all).", ("why",)),
    "orphans": ("counter", "Orphans reaped as the first process of a container.", ()),
    "queue_lag": ("gauge", "Tasks of a queue that could run now, and wait for a worker.", ("queue",)),
    "queue_delayed": ("gauge", "Tasks of a queue that wait for their time.", ("queue",)),
    "queue_running": ("gauge", "Tasks of a queue that run, on any host.", ("queue",)),
    "queue_oldest_seconds": ("gauge", "Age of the oldest task of a queue that could run now.", ("queue",)),
    "queue_figures_age_seconds": ("gauge", "How old the figures of the queues are.", ()),
    "series_left_out": ("counter", "Changes of series that were left out, for there are too many.", ()),
}

_Values = tuple[str, ...]


class Tally:
    """Counters and histograms of many processes. Any thread may add and render."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heads: dict[str, tuple[str, str, tuple[str, ...]]] = dict(HEADS)
        self._bounds: list[str] = []
        self._totals: dict[str, dict[_Values, float]] = {}
        self._filled: dict[str, dict[_Values, list[int]]] = {}
        self._number = 0

    def know(self, heads: Mapping[str, Sequence[Any]], bounds: Sequence[float]) -> None:
        """Learn what the metrics of a worker are. The master's own stay what they are."""
        with self._lock:
            for name, (kind, text, labels) in heads.items():
                self._heads.setdefault(name, (kind, text, tuple(labels)))
            if not self._bounds:
                self._bounds = [*map(str, bounds), "+Inf"]

    def count(self, name: str, *values: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        self.add([(name, values, amount, ())])

    def add(self, changes: Iterable[Sequence[Any]]) -> None:
        """Add what a process has counted since it last told: see ``meters.changes``."""
        with self._lock:
            for name, values, amount, filled in changes:
                self._add(name, tuple(values), amount, filled)

    def _add(self, name: str, values: _Values, amount: float, filled: Iterable[tuple[int, int]]) -> None:
        if name not in self._heads or len(values) != len(self._heads[name][2]):
            return
        totals = self._totals.setdefault(name, {})
        if values not in totals:
            if self._number >= MOST_SERIES and name not in HEADS:
                self._add("series_left_out", (), 1.0, ())
                return
            self._number += 1
            totals[values] = 0.0
        totals[values] += amount
        if self._heads[name][0] == "histogram":
            buckets = self._filled.setdefault(name, {}).setdefault(values, [0] * len(self._bounds))
            for at, more in filled:
                if at < len(buckets):
                    buckets[at] += more

    def render(self, gauges: Mapping[str, Mapping[_Values, float]]) -> str:
        """All that has a value, and these gauges, in Prometheus's text format."""
        with self._lock:
            return "".join(self._lines(gauges))

    def _lines(self, gauges: Mapping[str, Mapping[_Values, float]]) -> Iterator[str]:
        for name, (kind, text, labels) in self._heads.items():
            series = gauges.get(name) if kind == "gauge" else self._totals.get(name)
            if not series:
                continue
            shown = f"{PREFIX}{name}" + ("_total" if kind == "counter" else "")
            yield f"# HELP {shown} {_escaped(text)}\n# TYPE {shown} {kind}\n"
            for values, total in series.items():
                pairs = [f'{label}="{_quoted(value)}"' for label, value in zip(labels, values, strict=True)]
                if kind == "histogram":
                    yield from self._histogram(shown, pairs, self._filled[name][values], total)
                else:
                    yield f"{shown}{_braces(pairs)} {total:.15g}\n"

    def _histogram(self, shown: str, pairs: list[str], filled: list[int], total: float) -> Iterator[str]:
        number = 0
        for bound, number in zip(self._bounds, accumulate(filled), strict=True):
            le = f'le="{bound}"'
            yield f"{shown}_bucket{_braces([*pairs, le])} {number}\n"
        yield f"{shown}_count{_braces(pairs)} {number}\n{shown}_sum{_braces(pairs)} {total:.15g}\n"


def _braces(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"').encode("utf-8", "replace").decode()
