"""Meters: every metric stands in one table, and is shown in Prometheus's text format."""

from __future__ import annotations

import pytest

from gristmill.base import meters
from gristmill.base.meters import METRICS


@pytest.fixture(autouse=True)
def none_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "_made", {})


def test_a_counter_adds_up_by_its_labels() -> None:
    meters.count("tasks", task="t", outcome="ok")
    meters.count("tasks", 2, task="t", outcome="ok")
    meters.count("tasks", task="t", outcome="error")
    shown = meters.render().decode()
    assert 'gristmill_tasks_total{outcome="ok",task="t"} 3.0' in shown
    assert 'gristmill_tasks_total{outcome="error",task="t"} 1.0' in shown


def test_a_histogram_has_count_and_sum() -> None:
    meters.observe("task_seconds", 0.5, task="t")
    meters.observe("task_seconds", 1.5, task="t")
    shown = meters.render().decode()
    assert 'gristmill_task_seconds_count{task="t"} 2.0' in shown
    assert 'gristmill_task_seconds_sum{task="t"} 2.0' in shown


def test_nothing_is_shown_before_anything_is_counted() -> None:
    assert meters.render() == b""


def test_a_name_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(KeyError):
        meters.count("tsaks")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_of_the_table_can_be_made_and_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    labels = dict.fromkeys(metric.labels, "x")
    if metric.kind == "Counter":
        meters.count(name, 1.0, **labels)
    else:
        meters.observe(name, 1.0, **labels)
    assert f"# HELP gristmill_{name}" in meters.render().decode()
    assert metric.help.endswith(".")
