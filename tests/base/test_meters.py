"""Meters: every metric stands in one table, and is shown in Prometheus's text format."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec
import pytest

from gristmill.base import meters
from gristmill.base.meters import METRICS


@pytest.fixture(autouse=True)
def none_counted() -> Iterator[None]:
    meters.reset()
    yield
    meters.reset()


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


def test_what_was_counted_is_told_once() -> None:
    meters.count("tasks", 2, task="t", outcome="ok")
    meters.observe("task_seconds", 0.02, task="t")
    told = sorted(meters.changes())
    assert told == [("task_seconds", ["t"], 0.02, [(2, 1)]), ("tasks", ["t", "ok"], 2.0, [])]
    assert meters.changes() == []
    meters.count("tasks", task="t", outcome="ok")
    assert meters.changes() == [("tasks", ["t", "ok"], 1.0, [])]


def test_what_another_process_counted_is_added_and_told_on() -> None:
    for _ in range(3):
        meters.observe("task_seconds", 1e6, task="t")
        meters.count("tasks", task="t", outcome="ok")
        told = meters.changes()
    sent = msgspec.json.decode(msgspec.json.encode(told), type=list[meters.Change])
    meters.reset()
    meters.count("tasks", task="t", outcome="ok")
    meters.add([*sent, *sent, ("unknown", [], 1.0, []), ("tasks", ["too few"], 1.0, [])])
    shown = meters.render().decode()
    assert 'gristmill_tasks_total{outcome="ok",task="t"} 3.0' in shown
    assert 'gristmill_task_seconds_bucket{le="+Inf",task="t"} 2.0' in shown
    assert 'gristmill_task_seconds_bucket{le="1800.0",task="t"} 0.0' in shown
    assert sorted(meters.changes())[1] == ("tasks", ["t", "ok"], 3.0, [])


def test_of_many_changes_the_rest_comes_with_the_next_call() -> None:
    for number in range(25):
        meters.count("tasks", task=str(number), outcome="ok")
    told = [len(meters.changes(10)) for _ in range(4)]
    assert told == [10, 10, 5, 0]


def test_a_body_that_names_its_stages_after_documents_does_not_fill_the_memory() -> None:
    for number in range(meters.MOST_SERIES + 50):
        meters.observe("stage_seconds", 1.0, task="t", stage=str(number))
    shown = meters.render().decode()
    assert shown.count("gristmill_stage_seconds_sum") == meters.MOST_SERIES + 1
    assert 'gristmill_stage_seconds_count{stage="other",task="other"} 50.0' in shown


def test_a_forked_process_counts_from_nothing() -> None:
    meters.count("tasks", task="t", outcome="ok")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if meters.changes() == [] and meters.render() == b"" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(meters.changes()) == 1
