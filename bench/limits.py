"""What the engine promises and costs: limits, cancel, neighbours, throughput, latency, an idle worker.

    python bench/limits.py [--rounds 3] [--tasks 5000] [--only limits,cancel,cost,idle] [--output bench/results/limits.json]

The worker proper runs in this process, so that its own longest silence is measured, too. Every figure is the worst of the
rounds unless its name says otherwise. Seconds are the broker's: from the start that it noted to the end that it noted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import psutil

from gristmill.base.logs import setup_logs
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.testing import bodies
from gristmill.testing.processes import settles
from gristmill.testing.workers import ends, reached, said, working

SOFT, HARD = bodies.LIMITS["soft_time_limit"] or 0.0, bodies.LIMITS["time_limit"] or 0.0
LIMIT = {
    "SoftTimeLimitExceeded": SOFT,
    "HardTimeLimitExceeded": HARD,
    "LoopBlocked": 0.24,  # the limit of one step
    "MemoryLimitExceeded": 0.0,  # reached whenever it is; the soft limit bounds the time
    "RunnerCrashed": 0.0,
}
BOUNDS = {"over_limit_s": 0.5, "neighbour_silence_s": 0.5, "next_task_s": 1.0, "cancel_s": 1.0, "start_s": 1.0}
PUBLISH = 1000  # messages in one call


class Silence:
    """The longest pause of the keeper's own loop."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await anyio.sleep(0.005)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last - 0.005), now


@asynccontextmanager
async def neighbours(broker: Broker, folder: Path) -> AsyncIterator[dict[str, Path]]:
    """One of each kind, at work within the block: it says when it was alive."""
    files = {"def": folder / "def", "async def": folder / "async"}
    messages = [bodies.beats.message(str(files["def"])), bodies.beats_async.message(str(files["async def"]))]
    await broker.publish(messages)
    await settles(lambda: all(file.exists() and file.stat().st_size > 0 for file in files.values()))
    await anyio.sleep(0.2)
    yield files
    await broker.cancel([message.id for message in messages])
    await ends(broker, messages)


def longest_silence(file: Path, since: float, until: float) -> float:
    beats = [float(line) for line in file.read_text().split()]
    gaps = [later - earlier for earlier, later in pairwise(beats) if later >= since and earlier <= until]
    return max(gaps, default=math.inf)


async def run_next(broker: Broker, message: Message, after: Message) -> tuple[TaskRecord, TaskRecord]:
    """Publish both at once; the second one can only start in the slot that the first one leaves."""
    await broker.publish([message, after])
    first, second = await ends(broker, [message, after])
    return first, second


async def one_limit(broker: Broker, task: Any, kind: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        async with neighbours(broker, Path(scratch)) as files:
            since = time.monotonic()
            after = bodies.add_async if task.policy.is_async else bodies.add
            first, second = await run_next(broker, task.message(kind), after.message(1, 1))
            await anyio.sleep(0.3)
            until = time.monotonic()
            silence = {name: longest_silence(file, since, until) for name, file in files.items()}
    assert first.error is not None
    assert first.ended
    assert first.started
    assert second.started
    seconds = first.ended - first.started
    return {
        "error": first.error.type,
        "seconds": seconds,
        "over_limit_s": max(0.0, seconds - LIMIT[first.error.type]),
        "neighbour_silence_s": max(silence.values()),
        "next_task_s": max(0.0, second.started - first.ended),
    }


async def limits(rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    silence = Silence()
    async with open_broker("memory://") as broker, anyio.create_task_group() as group:
        group.start_soon(silence.run)
        # Of two slots for each kind, one is its neighbour's: the next task can only start in the one that the bad body had.
        async with working(broker, slots=2, async_slots=2):
            silence.longest = 0.0
            for kind in bodies.BAD:
                for name, task in (("def", bodies.bad_sync), ("async def", bodies.bad_async)):
                    runs = [await one_limit(broker, task, kind) for _ in range(rounds)]
                    result[f"{kind}, {name}"] = worst(runs)
        group.cancel_scope.cancel()
    return {"bodies": result, "keeper_silence_s": round(silence.longest, 4)}


def worst(runs: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [name for name, value in runs[0].items() if isinstance(value, float)]
    return {"error": sorted({run["error"] for run in runs})} | {
        name: round(max(run[name] for run in runs), 3) for name in numbers
    }


async def cancels(rounds: int) -> dict[str, Any]:
    result: dict[str, list[float]] = {}
    tasks = [bodies.waits, bodies.waits_async, bodies.swallows, bodies.swallows_async, bodies.loops_in_c]
    async with open_broker("memory://") as broker, working(broker, slots=2):
        for task in [*tasks, bodies.loops_in_c_async]:
            for _ in range(rounds):
                message = task.message()
                await broker.publish([message])
                await (said(broker, message) if task in tasks else reached(broker, message, TaskState.RUNNING))
                await anyio.sleep(0.1)
                asked = await broker.now()
                await broker.cancel([message.id])
                [record] = await ends(broker, [message])
                name = task.name.rpartition(".")[2].removesuffix("_async")
                kind = "async def" if task.policy.is_async else "def"
                result.setdefault(f"{name}, {kind}", []).append((record.ended or math.inf) - asked)
    return {name: round(max(values), 3) for name, values in result.items()}


def cpu() -> float:
    """Processor seconds of this process and of all that it started, the ended ones included."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = mine.ru_utime + mine.ru_stime + gone.ru_utime + gone.ru_stime
    for child in psutil.Process().children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


async def drain(url: str, task: Any, count: int, options: dict[str, Any]) -> dict[str, float]:
    async with open_broker(url) as broker:
        began, burned = time.perf_counter(), cpu()
        messages = [task.message(n, n) for n in range(count)]
        for at in range(0, count, PUBLISH):
            await broker.publish(messages[at : at + PUBLISH])
        published, after = time.perf_counter() - began, cpu() - burned
        async with working(broker, slots=2, **options) as worker:
            began, burned = time.perf_counter(), cpu()
            await settles(lambda: worker.done >= count, timeout=600)
            wall, spent = time.perf_counter() - began, cpu() - burned
    return {
        "publish_per_s": round(count / published),
        "publish_cpu_ms": round(1000 * after / count, 4),
        "tasks_per_s": round(count / wall),
        "cpu_ms_per_task": round(1000 * spent / count, 4),
    }


async def latency(url: str, task: Any, options: dict[str, Any], samples: int = 300) -> dict[str, float]:
    """Submit to start on an idle queue, ms."""
    waits = []
    async with open_broker(url) as broker, working(broker, slots=2, **options):
        for n in range(samples):
            message = task.message(n, n)
            await broker.publish([message])
            [record] = await ends(broker, [message])
            waits.append(1000 * ((record.started or math.inf) - record.published))
            await anyio.sleep(0.003)
    waits = sorted(waits[10:])
    return {"p50": round(statistics.median(waits), 2), "p99": round(waits[int(len(waits) * 0.99)], 2)}


async def cost(count: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for broker in ("memory", "sqlite"):
        for place, options in (("inline", {"app": bodies.app, "inline": True}), ("runners", {})):
            for kind, task in (("def", bodies.add), ("async def", bodies.add_async)):
                with tempfile.TemporaryDirectory() as scratch:
                    url = {"memory": "memory://", "sqlite": f"sqlite:///{scratch}/a.db"}[broker]
                    other = {"memory": "memory://", "sqlite": f"sqlite:///{scratch}/b.db"}[broker]
                    figures: dict[str, Any] = dict(await drain(url, task, count, options))
                    figures["submit_to_start_ms"] = await latency(other, task, options)
                result[f"{broker}, {place}, {kind}"] = figures
    return result


def started(home: str, app: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gristmill", "--home", home, "worker"]
    command += ["--app", "gristmill.testing.bodies:app"] if app else []
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


async def first_task(home: str, began: float, message: Message | None) -> dict[str, float]:
    """Seconds from the start of the process to the first task's start and end."""
    path = Path(home) / "broker.db"
    await settles(path.exists)
    async with open_broker(f"sqlite:///{path}") as broker:
        while not (found := [one for one in await broker.tasks() if one.state.final]):  # noqa: ASYNC110
            await anyio.sleep(0.01)
        record = next(one for one in found if message is None or one.id == message.id)
    now, wall = time.monotonic(), time.time()
    return {
        "start_to_first_task_s": round((record.started or math.inf) - (wall - (now - began)), 3),
        "start_to_its_end_s": round((record.ended or math.inf) - (wall - (now - began)), 3),
    }


async def idle(seconds: float, app: bool) -> dict[str, Any]:
    """A worker of the command line with nothing to do, after its runners were given up."""
    with tempfile.TemporaryDirectory() as home:
        message = None
        if app:
            message = bodies.add.message(1, 1)
            async with open_broker(f"sqlite:///{home}/broker.db") as broker:
                await broker.publish([message])
        began = time.monotonic()
        with started(home, app) as process:
            figures: dict[str, Any] = await first_task(home, began, message)
            this = psutil.Process(process.pid)
            await settles(lambda: not this.children())
            await anyio.sleep(2.0)
            before = this.cpu_times()
            await anyio.sleep(seconds)
            after = this.cpu_times()
            burned = after.user + after.system - before.user - before.system
            figures["idle_cpu_percent"] = round(100 * burned / seconds, 2)
            figures["idle_rss_mib"] = round(this.memory_info().rss / 2**20, 1)
            figures["idle_processes"] = 1 + len(this.children(recursive=True))
            process.send_signal(signal.SIGTERM)
            figures["exit_code"] = process.wait()
    return figures


async def idles(seconds: float) -> dict[str, Any]:
    return {"pipeline": await idle(seconds, app=False), "own app": await idle(seconds, app=True)}


def missed(result: dict[str, Any]) -> list[str]:
    """The bounds that do not hold."""
    found = []
    for name, figures in result.get("limits", {}).get("bodies", {}).items():
        found += [f"{name}: {what} {figures[what]}" for what, most in BOUNDS.items() if figures.get(what, 0.0) > most]
    found += [
        f"cancel {name}: {value}" for name, value in result.get("cancel_s", {}).items() if value > BOUNDS["cancel_s"]
    ]
    for name, figures in result.get("idle", {}).items():
        if figures["idle_cpu_percent"] >= 1.0 or figures["idle_rss_mib"] >= 60:
            found.append(f"idle {name}: {figures['idle_cpu_percent']} %, {figures['idle_rss_mib']} MiB")
        if figures["start_to_first_task_s"] >= BOUNDS["start_s"]:
            found.append(f"start {name}: {figures['start_to_first_task_s']} s")
    return found


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--tasks", type=int, default=5000)
    ap.add_argument("--seconds", type=float, default=20.0)
    ap.add_argument("--only", default="limits,cancel,cost,idle")
    ap.add_argument("--output", default="")
    args = ap.parse_args()
    setup_logs("error")
    load = os.getloadavg()[0]
    parts: dict[str, tuple[str, Callable[[], Any]]] = {
        "limits": ("limits", lambda: anyio.run(limits, args.rounds)),
        "cancel": ("cancel_s", lambda: anyio.run(cancels, args.rounds)),
        "cost": ("cost", lambda: anyio.run(cost, args.tasks)),
        "idle": ("idle", lambda: anyio.run(idles, args.seconds)),
    }
    result: dict[str, Any] = {parts[name][0]: parts[name][1]() for name in args.only.split(",")}
    result["bounds"] = BOUNDS | {"idle_cpu_percent": 1.0, "idle_rss_mib": 60}
    result["missed"] = missed(result)
    result["machine"] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        Path(args.output).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
