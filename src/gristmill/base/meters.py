"""Every metric there is, in one table; the only place that knows Prometheus."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metric(NamedTuple):
    """A metric: its kind, what it says, its labels."""

    kind: type[Counter | Gauge | Histogram]
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "tasks": Metric(Counter, "Attempts at tasks, by how they came out (ok, error, stopped).", ("task", "outcome")),
    "task_seconds": Metric(Histogram, "Seconds of an attempt at a task.", ("task",)),
}

registry = CollectorRegistry()
_made: dict[str, Counter | Gauge | Histogram] = {}


def count(name: str, amount: float = 1.0, **labels: str) -> None:
    """Add to a counter."""
    metric = _metric(name)
    assert isinstance(metric, Counter)
    (metric.labels(**labels) if labels else metric).inc(amount)


def observe(name: str, value: float, **labels: str) -> None:
    """Add a value to a histogram."""
    metric = _metric(name)
    assert isinstance(metric, Histogram)
    (metric.labels(**labels) if labels else metric).observe(value)


def render() -> bytes:
    """All metrics in Prometheus's text format."""
    return generate_latest(registry)


def _metric(name: str) -> Counter | Gauge | Histogram:
    if name not in _made:
        metric = METRICS[name]
        _made[name] = metric.kind(f"gristmill_{name}", metric.help, metric.labels, registry=registry)
    return _made[name]
