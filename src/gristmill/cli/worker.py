"""``gristmill worker``: one process that runs tasks."""

from __future__ import annotations

import re
import signal
from typing import Any

import anyio
import click

from gristmill.base.logs import get_logger
from gristmill.base.settings import Settings
from gristmill.brokers import open_broker
from gristmill.cli.main import Face
from gristmill.engine.worker import Worker
from gristmill.wiring import Services, close_ports, make_worker, open_ports, open_services, worker_options

log = get_logger(__name__)


def _checked(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[\w.:@-]{0,200}", name):
        raise click.BadParameter("letters, digits and _ . : @ - only, 200 at most")
    return name


@click.command("worker")
@click.option("--slots", type=click.IntRange(1, 1024), help="Tasks at a time (default: one for each core).")
@click.option("--name", default="", callback=_checked, help="What `status` shows it as (default: host, pid, letters).")
@click.option("--app", help="Tasks of your own, as module:attribute, instead of the pipeline's.")
@click.option("--queue", "queues", multiple=True, help="Queues of --app; may be repeated (default: default).")
@click.pass_obj
def command(face: Face, slots: int | None, name: str, app: str | None, queues: tuple[str, ...]) -> int:
    """Run tasks until told to stop.

    SIGTERM: finish or hand back within worker.grace_seconds. SIGINT, or a second signal: hand back at once.
    """
    settings = face.settings
    face.log(settings, "info")
    name = name or settings.worker.name
    if app:
        anyio.run(_own, settings, app, list(queues) or ["default"], worker_options(settings, slots=slots, name=name))
    else:
        _pipeline(settings, slots, name)
    return 0


def _pipeline(settings: Settings, slots: int | None, name: str) -> None:
    ports = open_ports(settings)

    async def work() -> None:
        async with open_services(settings, ports) as services:
            await _work(make_worker(services, slots=slots, name=name), settings, services)

    try:
        anyio.run(work)
    finally:
        close_ports(ports)


async def _own(settings: Settings, app: str, queues: list[str], options: dict[str, Any]) -> None:
    async with open_broker(settings.broker_url) as broker:
        await _work(Worker(broker, app, queues=queues, **options), settings)


async def _work(worker: Worker, settings: Settings, services: Services | None = None) -> None:
    async with anyio.create_task_group() as children:

        async def hear() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                told = 0
                async for number in signals:
                    told += 1
                    grace = 0.0 if told > 1 or number == signal.SIGINT else settings.worker.grace_seconds
                    log.info("draining: no new work", signal=number.name, grace=grace)
                    worker.drain(grace=grace)

        children.start_soon(hear)
        if services is not None:
            every = settings.pipeline.reconcile_seconds
            children.start_soon(lambda: services.service.keep_reconciled(every=every, owner=worker.name))
        log.info("working", worker=worker.name, home=str(settings.home))
        await worker.run()
        log.info("stopped", worker=worker.name, done=worker.done, failed=worker.failed)
        children.cancel_scope.cancel()
