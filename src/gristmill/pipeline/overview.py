"""What is there, what waits, who works: the same for the command line and for the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from anyio import to_thread

from gristmill.engine.broker import Broker, QueueDepth
from gristmill.engine.message import Heartbeat
from gristmill.ports.catalog import Catalog


class Current(msgspec.Struct, frozen=True):
    """A task that a worker runs, as its last sign of life says; what has ended since is left out."""

    worker: str
    id: str
    task: str
    queue: str
    lane: str
    attempt: int
    seconds: float
    progress: float
    message: str


class Stock(msgspec.Struct, frozen=True):
    """What the catalog holds: datasets, and how many documents are in which state."""

    datasets: list[dict[str, Any]]
    documents: dict[str, int]


class Janitor(msgspec.Struct, frozen=True):
    """The latest sweep that somebody has begun, whichever worker that was. ``ended`` is None while it runs."""

    state: str
    worker: str
    ended: float | None


class House(msgspec.Struct, frozen=True):
    """What the broker knows of queues and workers. ``now`` is its clock."""

    now: float
    queues: list[QueueDepth]
    workers: list[Heartbeat]
    current: list[Current]
    janitor: Janitor | None = None


async def look(broker: Broker, sweeps: Callable[[float], Sequence[str]] = lambda now: ()) -> House:
    """Ask the broker. Ages are by its clock. ``sweeps``: the keys of the latest sweeps at this moment, latest first."""
    workers = await broker.workers()
    now = await broker.now()
    of = {task_id: worker.name for worker in workers for task_id in worker.current}
    current = [
        Current(
            of[one.id], one.id, one.message.task, one.message.queue, one.message.lane, one.attempt,
            max(0.0, now - (one.started or now)), one.progress, one.progress_message,
        )
        for one in await broker.describe(list(of))
        if one is not None and not one.state.final and one.started is not None
    ]  # fmt: skip
    return House(now, await broker.depth(), workers, current, await _janitor(broker, sweeps(now)))


async def _janitor(broker: Broker, keys: Sequence[str]) -> Janitor | None:
    known = await broker.find(keys) if keys else {}
    begun = [known[key] for key in keys if key in known and known[key].attempt]
    return Janitor(str(begun[0].state), begun[0].worker, begun[0].ended) if begun else None


def unserved(house: House) -> list[QueueDepth]:
    """Queues with tasks that wait and no worker that takes from them."""
    served = {queue for worker in house.workers for queue in worker.queues}
    return [one for one in house.queues if one.queued > 0 and one.queue not in served]


async def count(catalog: Catalog, tenant: str) -> Stock:
    """Ask the catalog."""

    def asked() -> Stock:
        datasets = [
            {"name": one.name, "documents": one.documents, "chunks": one.chunks, "embedder": one.embedder}
            for one in catalog.datasets(tenant)
        ]
        return Stock(datasets, Counter(str(one.state) for one in catalog.documents(tenant)))

    return await to_thread.run_sync(asked)


def plain(home: str, stock: Stock, house: House) -> dict[str, Any]:
    """All of it as `gristmill status --json` prints it."""
    running: dict[str, list[Any]] = {worker.name: [] for worker in house.workers}
    for one in house.current:
        running[one.worker].append(msgspec.to_builtins(one))
    return {
        "home": home,
        "datasets": stock.datasets,
        "documents": stock.documents,
        "queues": [msgspec.to_builtins(one) | {"lag": one.queued, "pending": one.running} for one in house.queues],
        "workers": [msgspec.to_builtins(one) | {"current": running[one.name]} for one in house.workers],
        "janitor": msgspec.to_builtins(house.janitor),
        "unserved": [one.queue for one in unserved(house)],
    }
