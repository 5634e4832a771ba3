"""``gristmill status``: what is there, what waits, who works."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import anyio
import click

from gristmill.base.settings import Settings
from gristmill.brokers import open_broker
from gristmill.cli.main import INTERRUPTED, Face
from gristmill.cli.output import duration, json_option, print_json, print_table, printable
from gristmill.engine.message import Heartbeat
from gristmill.pipeline.overview import Current, House, Stock, count, look, plain, unserved
from gristmill.pipeline.plan import QUEUE
from gristmill.ports.catalog import Catalog
from gristmill.wiring import TENANT, open_catalog, sweep_keys

SHOWN = 8  # current tasks of one worker in a table


@click.command("status")
@json_option
@click.option("--watch", is_flag=True, help="Show it again and again, until interrupted.")
@click.option(
    "--every", default=2.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds between, with --watch."
)
@click.pass_obj
def command(face: Face, as_json: bool, watch: bool, every: float) -> int:
    """What is there, what waits, who works.

    Of a queue: `queued` tasks wait (the lag), `delayed` ones wait for their time, `running` ones were given to a worker and
    have not ended (the source's pending); `oldest` is how long the first of them has waited.
    """
    settings = face.settings
    catalog = open_catalog(settings)
    look_on = partial(_show, settings, catalog, _as_json if as_json else _as_text, every if watch else None)
    try:
        if watch:
            anyio.run(_until_interrupted, look_on)
            return INTERRUPTED
        anyio.run(look_on)
        return 0
    finally:
        catalog.close()


async def _until_interrupted(work: Callable[[], Awaitable[None]]) -> None:
    """Ctrl-C ends it by a scope of ours: a task's own cancellation may get lost where two scopes end."""
    async with anyio.create_task_group() as group:
        with anyio.open_signal_receiver(signal.SIGINT) as signals:

            async def listen() -> None:
                async for _ in signals:
                    group.cancel_scope.cancel()

            group.start_soon(listen)
            await work()


async def _show(
    settings: Settings, catalog: Catalog, show: Callable[[Settings, Stock, House], None], every: float | None
) -> None:
    async with open_broker(settings.broker_url) as broker:
        while True:
            house, stock = await look(broker, partial(sweep_keys, settings)), await count(catalog, TENANT)
            if every is not None and show is _as_text:
                click.clear()
            show(settings, stock, house)
            if every is None:
                return
            await anyio.sleep(every)


def _as_json(settings: Settings, stock: Stock, house: House) -> None:
    print_json(plain(str(settings.home), stock, house))


def _as_text(settings: Settings, stock: Stock, house: House) -> None:
    click.echo(f"home: {settings.home}")
    heads = ["dataset", "documents", "chunks", "embedder"]
    print_table(heads, [list(one.values()) for one in stock.datasets])
    states = ", ".join(f"{number} {state}" for state, number in sorted(stock.documents.items()))
    click.echo(f"documents: {states or 'none'}")
    print_table(
        ["queue", "queued", "delayed", "running", "oldest"],
        [(one.queue, one.queued, one.delayed, one.running, duration(one.oldest)) for one in house.queues],
    )
    print_table(
        ["worker", "ip", "pid", "up", "seen", "queues", "done", "failed", "running"],
        [_row(house, one) for one in house.workers],
    )
    if house.current:
        print_table(["task", "id", "worker", "for", "attempt", "progress"], _tasks(house.current))
    if (swept := house.janitor) is not None:
        ago = f" {duration(max(0.0, house.now - swept.ended))} ago" if swept.ended else ""
        click.echo(f"janitor: {swept.state}{ago}, by {printable(swept.worker)}")
    for one in unserved(house):
        click.echo(f"no worker takes from the queue {one.queue}, where {one.queued} tasks wait: {_start(one.queue)}")


def _row(house: House, worker: Heartbeat) -> Sequence[object]:
    running = sum(one.worker == worker.name for one in house.current)
    up, seen = (duration(max(0.0, house.now - moment)) for moment in (worker.boot_at, worker.now))
    queues = ",".join(worker.queues)
    return (worker.name, worker.ip, worker.pid, up, f"{seen} ago", queues, worker.done, worker.failed, running)


def _tasks(current: Sequence[Current]) -> Iterator[Sequence[object]]:
    shown: Counter[str] = Counter()
    for one in sorted(current, key=lambda one: (one.worker, -one.seconds)):
        shown[one.worker] += 1
        if shown[one.worker] <= SHOWN:
            yield one.task, one.id, one.worker, duration(one.seconds), one.attempt, f"{one.progress:.0%} {one.message}"


def _start(queue: str) -> str:
    how = "`gristmill worker`" if queue == QUEUE else f"`gristmill worker --app MODULE:APP --queue {queue}`"
    return f"start one with {how}"
