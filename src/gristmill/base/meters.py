"""Every metric there is, in one table; the only place that knows Prometheus.

Counting is adding to a number; Prometheus's client is imported when somebody wants to see them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
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
}

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # seconds


@dataclass
class _Series:
    """The values of one metric with one set of labels."""

    total: float = 0.0
    filled: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))  # the last one: larger than all


_made: dict[str, dict[tuple[str, ...], _Series]] = {}


def count(name: str, amount: float = 1.0, **labels: str) -> None:
    """Add to a counter."""
    _series(name, labels).total += amount


def observe(name: str, value: float, **labels: str) -> None:
    """Add a value to a histogram."""
    series = _series(name, labels)
    series.total += value
    series.filled[bisect_left(BUCKETS, value)] += 1


def render() -> bytes:
    """All metrics that have a value, in Prometheus's text format."""
    client = imported("prometheus_client")
    registry = client.CollectorRegistry()
    registry.register(_Collector())
    text: bytes = client.generate_latest(registry)
    return text


def _series(name: str, labels: dict[str, str]) -> _Series:
    values = tuple(map(labels.__getitem__, METRICS[name].labels))
    try:
        return _made[name][values]
    except KeyError:
        return _made.setdefault(name, {}).setdefault(values, _Series())


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
