"""Every metric there is, in one table; the only place that knows Prometheus.

Prometheus's client is imported when the first value is counted.
"""

from __future__ import annotations

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

_made: dict[str, Any] = {}


def count(name: str, amount: float = 1.0, **labels: str) -> None:
    """Add to a counter."""
    _metric(name).labels(**labels).inc(amount)


def observe(name: str, value: float, **labels: str) -> None:
    """Add a value to a histogram."""
    _metric(name).labels(**labels).observe(value)


def render() -> bytes:
    """All metrics that have a value, in Prometheus's text format."""
    text: bytes = imported("prometheus_client").generate_latest(_registry())
    return text


def _metric(name: str) -> Any:
    if name not in _made:
        metric = METRICS[name]
        kind = getattr(imported("prometheus_client"), metric.kind)
        _made[name] = kind(f"gristmill_{name}", metric.help, metric.labels, registry=_registry())
    return _made[name]


def _registry() -> Any:
    if "" not in _made:
        _made[""] = imported("prometheus_client").CollectorRegistry()
    return _made[""]
