"""The live view of a master, as text: what is drawn, and how little room it takes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from rich.console import Console

from gristmill.cli.view import View, log_line
from gristmill.engine.broker import QueueDepth
from gristmill.pipeline.overview import Current, House


def worker(pid: int, state: str = "ready", done: int = 0, failed: int = 0) -> dict[str, Any]:
    return {
        "pid": pid, "name": f"w{pid}", "state": state, "running": 1, "done": done, "failed": failed, "rss": 50 << 20,
    }  # fmt: skip


def status(*workers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"ready": True, "stopping": "", "workers": list(workers), "servers": [], **more}


def drawn(view: View, height: int = 24, now: float = 60.0, width: int = 100) -> str:
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(view.draw(now, height))
    return capture.get()


def task(name: str, worker: str = "w1", message: str = "page 3 of 9") -> Current:
    return Current(worker, "id-1", name, "ingest", "a", 1, 12.0, 0.5, message)


def test_processes_queues_tasks_and_the_log_are_shown() -> None:
    view = View("gristmill up", began=0.0)
    view.told(status(worker(1, done=7), worker(2, "silent"), servers=[worker(3)]), 1.0)
    depth = QueueDepth("ingest", 5, 1, 2, 3.0)
    view.house = House(0.0, [depth], [], [task("parse"), task("elsewhere", worker="another host's")])
    view.log.append(log_line(json.dumps({"event": "a worker is ready", "timestamp": "2026-01-02T03:04:05Z", "pid": 1})))
    shown = [line.split() for line in drawn(view).splitlines()]
    assert shown[0][:5] == ["gristmill", "up", "·", "ready", "·"]
    assert ["server", "3", "ready", "1", "0", "0", "50", "MiB"] in shown
    assert ["worker", "1", "ready", "1", "7", "0", "50", "MiB"] in shown
    assert ["worker", "2", "silent", "1", "0", "0", "50", "MiB"] in shown
    assert ["ingest", "5", "1", "2", "3.0", "s"] in shown
    assert ["parse", "id-1", "12.0", "s", "50%", "page", "3", "of", "9"] in shown
    assert ["03:04:05", "a", "worker", "is", "ready", "pid=1"] in shown
    assert "elsewhere" not in drawn(view)


def test_totals_count_workers_that_are_gone_and_the_rate_is_the_latest() -> None:
    view = View("", began=0.0)
    view.told(status(worker(1, done=10, failed=1)), 0.0)
    view.told(status(worker(2, done=10)), 5.0)
    assert (view.totals, view.rate) == ((20, 1), 2.0)
    view.told(status(worker(2, done=10)), 100.0)
    assert (view.totals, view.rate) == ((20, 1), 0.0)


@pytest.mark.parametrize("height", [10, 24, 50])
@pytest.mark.parametrize("workers", [1, 200])
def test_it_fits_the_terminal(height: int, workers: int) -> None:
    view = View("x" * 500, began=0.0)
    view.told(status(*(worker(pid) for pid in range(workers))), 0.0)
    view.house = House(0.0, [QueueDepth(f"q{n}", 1, 0, 0, 0.0) for n in range(50)], [], [task("t" * 500)] * 50)
    view.log.extend(log_line("y" * 500) for _ in range(500))
    assert len(drawn(view, height).splitlines()) <= height


def test_a_narrow_terminal_keeps_ids_whole() -> None:
    view = View("", began=0.0)
    view.told(status(worker(1)), 0.0)
    current = task("a.module.with.a.long.name.and.a_body")
    view.house = House(0.0, [], [], [msgspec.structs.replace(current, id="01a2122130287cb2844cdfcb081fc75c")])
    assert "01a2122130287cb2844cdfcb081fc75c" in drawn(view, width=80)


def test_a_broker_that_is_away_is_told() -> None:
    view = View("", began=0.0, trouble="the broker does not answer: refused")
    assert "the broker does not answer: refused" in drawn(view)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("no json", "no json"),
        ("[1]", "[1]"),
        ("\x1b[2Jcleared", "\ufffd[2Jcleared"),
        ('{"event":"\\u001b[2J","level":"error","logger":"a","x":"\\u001b"}', "\ufffd[2J  x=\ufffd"),
        ('{"event":"e","held":[],"how":"","n":0}', "e  n=0"),
    ],
)
def test_lines_of_the_log_cannot_drive_the_terminal(line: str, shown: str) -> None:
    assert log_line(line).plain.strip() == shown
