"""Every metric that workers and their bodies count, in one table; the only place that knows Prometheus.

Counting is adding to a number; Prometheus's client is imported when somebody wants to see them. Processes tell each other
what has been counted since they last did (``changes``, ``add``): a runner its keeper, a keeper its master. A process that is
forked counts from nothing.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from gristmill.base.registry import imported


class Metric(NamedTuple):
    """A metric: its kind, what it says, its labels."""

    kind: Literal["Counter", "Histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "tasks": Metric("Counter", "Attempts at tasks, by how they came out (ok, error, stopped).", ("task", "outcome")),
    "task_seconds": Metric("Histogram", "Seconds of an attempt at a task.", ("task",)),
    "task_retries": Metric("Counter", "Attempts that failed and are followed by another one.", ("task",)),
    "dead_letters": Metric("Counter", "Tasks that became dead letters: no attempt was left.", ("task",)),
    "leases_lost": Metric("Counter", "Tasks whose lease was lost while they ran here; they were stopped.", ("task",)),
    "leases_expired": Metric("Counter", "Tasks taken back from workers that died or went silent.", ("task",)),
    "runner_deaths": Metric("Counter", "Runners that died while they ran a task, by how.", ("how",)),
    "stage_seconds": Metric("Histogram", "Seconds of a stage of a task.", ("task", "stage")),
    "documents": Metric("Counter", "Documents whose run has ended, by how (committed, failed).", ("outcome",)),
    "pages": Metric("Counter", "Pages of documents that were read."),
    "chunks": Metric("Counter", "Chunks written to the index."),
    "embeddings": Metric("Counter", "Vectors of chunks, by where they came from (cached, computed).", ("source",)),
    "model_requests": Metric(
        "Counter", "Requests to models, by how they came out (ok, throttled, error).", ("model", "outcome")
    ),
    "throttle_seconds": Metric("Counter", "Seconds that bodies waited for their turn at a shared rate.", ("rate",)),
}

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # seconds
MOST_SERIES = 1000  # of one metric; what has other labels is counted together
OTHER = "other"

# What a series grew by: name, values of the labels, amount, and of a histogram how many more in which buckets.
Change = tuple[str, list[str], float, list[tuple[int, int]]]


@dataclass(eq=False)
class _Series:
    """The values of one metric with one set of labels; and what of them has been told."""

    name: str
    values: tuple[str, ...]
    total: float = 0.0
    filled: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))  # the last one: larger than all
    told: float = 0.0
    told_filled: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def change(self) -> Change:
        """What it grew by since this was last asked."""
        total, filled = self.total, list(self.filled)
        more = [
            (at, new - old) for at, (new, old) in enumerate(zip(filled, self.told_filled, strict=True)) if new != old
        ]
        change = (self.name, list(self.values), total - self.told, more)
        self.told, self.told_filled = total, filled
        return change


_made: dict[str, dict[tuple[str, ...], _Series]] = {}
_fresh: dict[_Series, None] = {}  # those that grew since ``changes``


def count(name: str, amount: float = 1.0, **labels: str) -> None:
    """Add to a counter."""
    series = _series(name, tuple(map(labels.__getitem__, METRICS[name].labels)))
    series.total += amount
    _fresh[series] = None


def observe(name: str, value: float, **labels: str) -> None:
    """Add a value to a histogram."""
    series = _series(name, tuple(map(labels.__getitem__, METRICS[name].labels)))
    series.total += value
    series.filled[bisect_left(BUCKETS, value)] += 1
    _fresh[series] = None


def changes(limit: int = 500) -> list[Change]:
    """What was counted since the last call; of more than ``limit`` series the rest comes with the next."""
    told: list[Change] = []
    while _fresh and len(told) < limit:
        series, _ = _fresh.popitem()
        told.append(series.change())
    return told


def add(changes: Iterable[Change]) -> None:
    """Count what another process counted. What this release does not know is left out."""
    for name, values, amount, filled in changes:
        if name not in METRICS or len(values) != len(METRICS[name].labels):
            continue
        series = _series(name, tuple(values))
        series.total += amount
        for at, more in filled:
            series.filled[at] += more
        _fresh[series] = None


def heads() -> dict[str, list[Any]]:
    """The table as plain data, for who must not import it: kind, help and labels by name."""
    return {name: [metric.kind.lower(), metric.help, list(metric.labels)] for name, metric in METRICS.items()}


def reset() -> None:
    """Forget all that was counted."""
    _made.clear()
    _fresh.clear()


def render() -> bytes:
    """All metrics of this process that have a value, in Prometheus's text format."""
    client = imported("prometheus_client")
    registry = client.CollectorRegistry()
    registry.register(_Collector())
    text: bytes = client.generate_latest(registry)
    return text


def _series(name: str, values: tuple[str, ...]) -> _Series:
    try:
        return _made[name][values]
    except KeyError:
        made = _made.setdefault(name, {})
        if len(made) >= MOST_SERIES:
            values = (OTHER,) * len(values)
        return made.setdefault(values, _Series(name, values))


class _Collector:
    """What was counted, as Prometheus's client wants it."""

    def collect(self) -> Iterator[Any]:
        families = imported("prometheus_client.core")
        for name, made in list(_made.items()):
            metric = METRICS[name]
            family = getattr(families, f"{metric.kind}MetricFamily")
            shown = family(f"gristmill_{name}", metric.help, labels=metric.labels)
            for values, series in list(made.items()):
                if metric.kind == "Counter":
                    shown.add_metric(values, series.total)
                else:
                    shown.add_metric(values, _cumulated(series), series.total)
            yield shown


def _cumulated(series: _Series) -> list[tuple[str, int]]:
    bounds = [*map(str, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(series.filled), strict=True))


os.register_at_fork(after_in_child=reset)
