"""A small tenant behind a large one: how soon its tasks start, and what a claim costs while 100,000 tasks are queued (P14).

    python bench/fairness.py [--queued 100000] [--only memory,valkey-9] [--output bench/results/fairness.json]

A worker with one slot has tasks of lane A without end; then ten tasks of lane B are published. Their wait is given in the
lengths of a task: with lanes that take turns the last of ten starts after about twenty. The same once more with two
workers, and with tasks that do nothing, of which a worker takes some ahead: there, in tasks of lane A that start meanwhile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from gristmill.base.logs import setup_logs
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Message, new_message
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.testing.processes import settles
from gristmill.testing.servers import MariaServer, PostgresServer, RedisServer
from gristmill.testing.workers import ends, working

SECONDS = 1.0  # a task's length
SMALL = 10
BATCH = 1000
CLAIMS = 300
BOUND = 22.0  # lengths of a task: ten turns each, the one that runs, and the way to the broker and back
SLOWER = 3.0  # times that a claim may take longer with everything queued than with a hundred

SERVERS: dict[str, Callable[[], Any]] = {
    "valkey-9": partial(RedisServer, "valkey-9"),
    "postgres": PostgresServer,
    "mariadb": MariaServer,
}
NAMES = ["memory", "sqlite", *SERVERS]

app = App("fairness")
started: list[str] = []  # the lanes of the bodies, in the order in which they began


@app.task(name="long", bind=True)
async def long(ctx: Any) -> None:
    started.append(ctx.lane)
    await anyio.sleep(SECONDS)


@app.task(name="short", bind=True)
async def short(ctx: Any) -> None:
    started.append(ctx.lane)
    await anyio.lowlevel.checkpoint()


@contextmanager
def place(name: str) -> Iterator[str]:
    """The URL of a fresh broker."""
    if name in SERVERS:
        with SERVERS[name]() as server:
            yield server.url
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield "memory://" if name == "memory" else f"sqlite:///{folder}/broker.db"


async def publish(broker: Broker, task: str, lane: str, count: int, queue: str = "default") -> list[Message]:
    messages = [new_message(task, lane=lane, queue=queue) for _ in range(count)]
    for at in range(0, count, BATCH):
        await broker.publish(messages[at : at + BATCH])
    return messages


async def claims(broker: Broker, queue: str) -> dict[str, float]:
    """Milliseconds of a claim of one task, and of its end."""
    claimed, finished = [], []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        [lease] = await broker.reserve([queue], worker="bench", limit=1, lease=60.0)
        then = time.perf_counter()
        await broker.finish([End(lease, TaskState.SUCCEEDED)])
        claimed.append(1000 * (then - began))
        finished.append(1000 * (time.perf_counter() - then))
    return {
        "claim_p50_ms": round(statistics.median(claimed), 3),
        "claim_p99_ms": round(sorted(claimed)[int(0.99 * CLAIMS)], 3),
        "finish_p50_ms": round(statistics.median(finished), 3),
    }


async def small_tenant(broker: Broker, queue: str, task: str, workers: int) -> dict[str, float]:
    """Publish the ten while the workers are at the other tenant's tasks; see when the last of them starts."""
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(working(broker, app, inline=True, async_slots=1, queues=[queue]))
        begun = len(started) + 10 * workers
        await settles(lambda: len(started) >= begun)
        before = len(started)
        messages = await publish(broker, task, "small", SMALL, queue)
        records = await ends(broker, messages, timeout=600)
    last = max((record.started or math.inf) - record.published for record in records)
    mine = [number for number, lane in enumerate(started[before:]) if lane == "small"]
    return {"last_start_s": round(last, 3), "others_first": mine[-1] + 1 - SMALL}


async def measure(url: str, queued: int) -> dict[str, Any]:
    async with open_broker(url) as broker:
        await publish(broker, "long", "large", CLAIMS + 100, "few")
        few = await claims(broker, "few")
        began = time.perf_counter()
        await publish(broker, "long", "large", queued, "many")
        rate = queued / (time.perf_counter() - began)
        many = await claims(broker, "many")
        one = await small_tenant(broker, "many", "long", 1)
        two = await small_tenant(broker, "many", "long", 2)
        await publish(broker, "short", "large", queued // 2, "noop")
        noop = await small_tenant(broker, "noop", "short", 1)
    return {
        "publish_per_s": round(rate),
        "claims_with_100": few,
        "claims_with_all": many,
        "claim_ratio": round(many["claim_p50_ms"] / few["claim_p50_ms"], 2),
        "one_worker": {**one, "task_lengths": round(one["last_start_s"] / SECONDS, 1)},
        "two_workers": {**two, "task_lengths": round(two["last_start_s"] / SECONDS, 1)},
        "no_op": noop,
    }


def missed(result: dict[str, Any]) -> list[str]:
    """The bounds that do not hold."""
    found = []
    for name, figures in result["brokers"].items():
        lengths = {who: figures[who]["task_lengths"] for who in ("one_worker", "two_workers")}
        found += [f"{name}: {who} {length} task lengths" for who, length in lengths.items() if length > BOUND]
        if figures["claim_ratio"] > SLOWER:
            found.append(f"{name}: a claim takes {figures['claim_ratio']} times as long")
    return found


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--queued", type=int, default=100_000)
    ap.add_argument("--only", default=",".join(NAMES))
    ap.add_argument("--output", default="")
    args = ap.parse_args()
    setup_logs("error")
    load = os.getloadavg()[0]
    result: dict[str, Any] = {"queued": args.queued, "task_s": SECONDS, "small": SMALL, "brokers": {}}
    for name in args.only.split(","):
        with place(name) as url:
            result["brokers"][name] = anyio.run(measure, url, args.queued)
    result["bounds"] = {"task_lengths": BOUND, "claim_ratio": SLOWER}
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
