"""What a master shows of what its workers counted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gristmill.base import meters
from gristmill.engine import tally, telling
from gristmill.engine.probes import DEPTHS_EVERY, LOOKED, Probes
from gristmill.engine.tally import Tally

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def none_counted() -> Iterator[None]:
    meters.reset()
    yield
    meters.reset()


def samples(text: str) -> Samples:
    """Read as Prometheus reads."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def said() -> dict[str, Any]:
    """A worker's words, as they come out of its line."""
    words: dict[str, Any] = json.loads(json.dumps(telling.first_words() | telling.news()))
    return words


@pytest.fixture
def probes() -> Probes:
    return Probes("")


def shown(probes: Probes) -> Samples:
    return samples(probes.answer("/metrics")[2].decode())


def test_it_shows_what_a_worker_would_show_itself(probes: Probes) -> None:
    for value in (0.001, 0.3, 0.3, 7.0, 1e5):
        meters.observe("task_seconds", value, task="t")
        meters.count("tasks", task="t", outcome="ok")
        meters.observe("stage_seconds", value, task="t", stage="parse")
        probes.hear(said())
    wanted = samples(meters.render().decode())
    assert wanted.items() <= shown(probes).items()
    assert len(wanted) == 2 * (len(meters.BUCKETS) + 3) + 1


def test_counters_go_on_when_a_worker_is_replaced(probes: Probes) -> None:
    """What the dead counted stays; a successor begins at nothing."""
    key = ("gristmill_tasks_total", frozenset({("task", "t"), ("outcome", "ok")}))
    seen = []
    for _worker in range(3):
        meters.reset()
        for _ in range(2):
            meters.count("tasks", task="t", outcome="ok")
            probes.hear(said())
            seen.append(shown(probes)[key])
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "\\n", "名", 'x"} 1\ngristmill_evil 1'])
def test_values_of_labels_are_escaped(probes: Probes, value: str) -> None:
    meters.count("tasks", task=value, outcome="ok")
    probes.hear(said())
    assert shown(probes)["gristmill_tasks_total", frozenset({("task", value), ("outcome", "ok")})] == 1


def test_half_a_surrogate_pair_does_not_spoil_the_page(probes: Probes) -> None:
    meters.count("tasks", task="caf\udce9", outcome="ok")
    probes.hear(said())
    assert shown(probes)["gristmill_tasks_total", frozenset({("task", "caf?"), ("outcome", "ok")})] == 1


def test_what_nobody_explained_is_left_out(probes: Probes) -> None:
    probes.hear({"meters": [["tasks", ["t", "ok"], 1.0, []], ["orphans", ["too", "many"], 1.0, []]]})
    assert not any(name.startswith(("gristmill_tasks", "gristmill_orphans")) for name, _ in shown(probes))


def test_too_many_series_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_SERIES", 10)
    adding = Tally()
    adding.know({"m": ["counter", "M.", ["l"]]}, [])
    for number in range(15):
        adding.count("m", str(number))
    found = samples(adding.render({}))
    assert sum(name == "gristmill_m_total" for name, _ in found) == 10
    assert found["gristmill_series_left_out_total", frozenset()] == 5


def test_every_state_of_workers_is_there_also_when_no_worker_is_in_it(probes: Probes) -> None:
    probes.show({**probes._shown, "workers": [{"pid": 7, "state": "ready", "running": 2, "rss": 5}], "wanted": 1})
    states = {
        dict(labels)["state"]: number for (name, labels), number in shown(probes).items() if name == "gristmill_workers"
    }
    assert states == {"starting": 0, "ready": 1, "silent": 0, "draining": 0}
    assert shown(probes)["gristmill_worker_running", frozenset({("pid", "7")})] == 2


@pytest.mark.parametrize(
    "words",
    [{"meters": 5}, {"meters": [["tasks"]]}, {"meters": [5]}, {"heads": [], "bounds": 1}, {"heads": {"x": 1}}, {"depths": 7}],
    ids=str,
)  # fmt: skip
def test_a_worker_of_another_release_that_says_it_otherwise_spoils_nothing(
    probes: Probes, words: dict[str, Any]
) -> None:
    probes.hear(words)
    meters.count("tasks", task="t", outcome="ok")
    probes.hear(said())
    assert shown(probes)["gristmill_tasks_total", frozenset({("task", "t"), ("outcome", "ok")})] == 1


class TestQueues:
    def test_they_are_asked_for_only_while_somebody_looks(self, probes: Probes) -> None:
        assert not probes.ask_depths(math.inf)
        shown(probes)
        now = probes._looked or 0.0
        asked = [probes.ask_depths(now + after) for after in (0.0, 0.1, DEPTHS_EVERY, DEPTHS_EVERY + 1, LOOKED + 1)]
        assert asked == [True, False, True, False, False]

    def test_they_are_shown_with_their_age(self, probes: Probes) -> None:
        probes.hear({"depths": [["default", 4, 2, 1, 7.5], ["mail", 0, 0, 3, 0.0]]})
        found = shown(probes)
        queue = frozenset({("queue", "default")})
        names = ("lag", "delayed", "running", "oldest_seconds")
        assert [found[f"gristmill_queue_{name}", queue] for name in names] == [4, 2, 1, 7.5]
        assert found["gristmill_queue_lag", frozenset({("queue", "mail")})] == 0
        assert found["gristmill_queue_figures_age_seconds", frozenset()] < 60

    def test_an_ended_queue_is_shown_no_more(self, probes: Probes) -> None:
        for depths in ([["default", 4, 2, 1, 7.5]], []):
            probes.hear({"depths": depths})
        assert not any(name == "gristmill_queue_lag" for name, _ in shown(probes))


@pytest.mark.parametrize("name", tally.HEADS)
def test_every_metric_of_the_masters_says_what_it_is(name: str) -> None:
    kind, text, labels = tally.HEADS[name]
    assert name not in meters.METRICS
    values = ("x",) * len(labels)
    adding = Tally()
    if kind == "counter":
        adding.count(name, *values)
    found = samples(adding.render({} if kind == "counter" else {name: {values: 1.5}}))
    suffix = "_total" if kind == "counter" else ""
    assert found == {
        (f"gristmill_{name}{suffix}", frozenset(zip(labels, values, strict=True))): 1.0 if kind == "counter" else 1.5
    }
    assert text.endswith(".")


def test_a_master_has_no_client_of_prometheus_and_nothing_of_ours_below() -> None:
    """It has to stay small, and nothing that a worker loads may break it."""
    script = "import gristmill.engine.supervisor, sys; print([m for m in sys.modules if m in %r])"
    unwanted = ["prometheus_client", "anyio", "msgspec", "gristmill.base", "gristmill.base.meters", "opentelemetry"]
    found = subprocess.run([sys.executable, "-c", script % unwanted], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
