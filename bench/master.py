"""A master with two workers: what it costs when there is nothing to do, and whether work goes on while workers are replaced.

    python bench/master.py [--seconds 30] [--replacements 100] [--only idle,replacements] [--output bench/results/master.json]

Idle: `gristmill worker -w 2` with probes, after its workers have given up their runners; processor time (user and system) of
the master and of all below it. Replacements: SIGHUP again and again under constant load; the gap is the longest time
between two tasks' ends anywhere in the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import anyio
import psutil
from anyio import to_thread

from gristmill.brokers import open_broker
from gristmill.testing.load import Load, replace_all
from gristmill.testing.masters import Master
from gristmill.testing.processes import settles
from gristmill.testing.servers import RedisServer
from gristmill.testing.servers.process import free_port

WORKERS = 2
REST = 5.0  # seconds after the runners are given up until the clock starts
BOUNDS = {"idle_cpu_percent": 1.0, "master_rss_mib": 25.0, "longest_gap_s": 1.0, "lost": 0, "doubled": 0}


@contextmanager
def broker_of(name: str, folder: Path) -> Iterator[str]:
    """The broker's URL."""
    if name == "sqlite":
        yield f"sqlite:///{folder}/tasks.db"
    else:
        with RedisServer(name) as server:
            yield server.url


def burned(processes: list[psutil.Process]) -> list[float]:
    """Processor seconds of each, so far."""
    return [times.user + times.system for times in (one.cpu_times() for one in processes)]


def started(command: list[str], places: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env={**os.environ, **places}, stderr=subprocess.DEVNULL)


async def idle(name: str, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home, broker_of(name, Path(home)) as url:
        at, health = urlsplit(url), f"127.0.0.1:{free_port()}"
        places = {} if name == "sqlite" else {"REDIS_HOST": str(at.hostname), "REDIS_PORT": str(at.port)}
        command = [sys.executable, "-m", "gristmill", "--home", home, "worker", "-w", str(WORKERS), "--health", health]
        with started(command, places) as process:
            await settles(lambda: told(health).get("ready", 0) == WORKERS)
            master = psutil.Process(process.pid)
            await settles(lambda: len(master.children(recursive=True)) == WORKERS)
            await anyio.sleep(REST)
            all_of = [master, *master.children()]
            before = burned(all_of)
            await anyio.sleep(seconds)
            shares = [100 * (b - a) / seconds for a, b in zip(before, burned(all_of), strict=True)]
            figures = {
                "idle_cpu_percent": round(sum(shares), 2),
                "of_master_percent": round(shares[0], 2),
                "master_rss_mib": round(master.memory_info().rss / 2**20, 1),
                "worker_rss_mib": [round(one.memory_info().rss / 2**20, 1) for one in all_of[1:]],
                "processes": 1 + len(master.children(recursive=True)),
            }
            process.send_signal(signal.SIGTERM)
            figures["exit_code"] = process.wait()
    return figures


def told(health: str) -> dict[str, int]:
    """How many workers are in which state; nothing while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{health}/health") as answer:
            found: dict[str, int] = json.loads(answer.read())["workers"]
    except OSError:
        return {}
    return found


async def replacements(name: str, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, broker_of(name, Path(folder)) as url:
        async with open_broker(url) as broker, anyio.create_task_group() as group:
            load = Load(broker, Path(folder) / "ledger", Random(count))
            with Master(url, workers=WORKERS, slots=2, lease=600.0) as master:
                await to_thread.run_sync(master.ready)
                group.start_soon(load.run)
                await load.ends(50)
                began = time.monotonic()
                for _ in range(count):
                    await replace_all(master)
                took = time.monotonic() - began
                load.stop()
                while len(load.ended) < len(load.published):
                    await load.ends(1)
        ledger, wrong = load.ledger(), load.wrong()
    return {
        "replacements": count,
        "seconds_each": round(took / count, 2),
        "tasks": len(load.published),
        "tasks_per_s": round(len(ledger.times) / (max(ledger.times) - min(ledger.times))),
        "longest_gap_s": round(ledger.longest_gap(), 3),
        "lost": sum(one.startswith("LOST") for one in wrong),
        "doubled": sum(len(times) > 1 for times in ledger.done.values()),
        "wrong": len(wrong),
    }


def missed(figures: dict[str, Any]) -> list[str]:
    """The bounds that do not hold."""
    return [f"{name} {figures[name]}" for name, most in BOUNDS.items() if figures.get(name, 0) > most]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--replacements", type=int, default=100)
    parser.add_argument("--only", default="idle,replacements")
    parser.add_argument("--brokers", default="sqlite,valkey-9")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    load, rounds = os.getloadavg()[0], dict[str, Any]()
    for name in arguments.brokers.split(","):
        if "idle" in arguments.only:
            rounds[f"idle, {name}"] = anyio.run(idle, name, arguments.seconds)
        if "replacements" in arguments.only:
            rounds[f"replacements, {name}"] = anyio.run(replacements, name, arguments.replacements)
    report = {
        "rounds": rounds,
        "bounds": BOUNDS,
        "missed": {name: found for name, figures in rounds.items() if (found := missed(figures))},
        "machine": {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "load_before": round(load, 1),
            "load_after": round(os.getloadavg()[0], 1),
        },
    }
    print(json.dumps(report, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
