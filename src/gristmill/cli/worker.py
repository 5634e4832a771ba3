"""``gristmill worker``: one process that runs tasks; or a master and several of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio
import click

from gristmill.base.clock import SystemClock
from gristmill.base.settings import Settings
from gristmill.brokers import open_broker
from gristmill.cli.main import Face
from gristmill.cli.master import Wish, become_master, own_name, reopen_log
from gristmill.engine.alone import OwnProbes
from gristmill.engine.broker import Broker
from gristmill.engine.child import MasterLink, work
from gristmill.engine.diagnostics import MemoryTrace
from gristmill.engine.hooks import Hooks
from gristmill.engine.worker import Worker
from gristmill.pipeline.tidy import SCRATCH_SECONDS, keep_tidy
from gristmill.wiring import close_ports, make_worker, open_ports, open_services, traced, worker_options


def _checked(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[\w.:@-]{0,200}", name):
        raise click.BadParameter("letters, digits and _ . : @ - only, 200 at most")
    return name


@click.command("worker")
@click.option("--slots", type=click.IntRange(1, 1024), help="Tasks at a time (default: one for each core).")
@click.option("--name", default="", callback=_checked, help="What `status` shows it as (default: host, pid, letters).")
@click.option("--app", help="Tasks of your own, as module:attribute, instead of the pipeline's.")
@click.option("--queue", "queues", multiple=True, help="Queues of --app; may be repeated (default: default).")
@click.option("-w", "--workers", type=click.IntRange(1, 1024), help="That many workers, under a master.")
@click.option("--health", default="", help="HOST:PORT of /health, /ready and /metrics.")
@click.option("--pidfile", default="", help="A file for the master's process id (with -w).")
@click.option("--plain", is_flag=True, help="Lines of the log, also on a terminal, instead of a live view (with -w).")
@click.option("--take-back", multiple=True, hidden=True, help="Take back what these dead workers held, and end.")
@click.option("--plan", is_flag=True, hidden=True, help="Print what a master is to do, and end.")
@click.pass_obj
def command(
    face: Face,
    *,
    slots: int | None,
    name: str,
    app: str | None,
    queues: tuple[str, ...],
    workers: int | None,
    health: str,
    pidfile: str,
    plain: bool,
    take_back: tuple[str, ...],
    plan: bool,
) -> int:
    """Run tasks until told to stop.

    SIGTERM: finish or hand back within worker.grace_seconds. SIGINT, or a second signal: hand back at once.
    With -w a master starts so many workers, watches them and replaces them: see "Signals" in the documentation.
    """
    settings = face.settings
    if take_back:
        anyio.run(_take_back, settings, take_back)
        return 0
    if workers is not None or plan:
        given = {"--slots": slots, "--name": name, "--app": app}
        words = [word for option, value in given.items() if value for word in (option, str(value))]
        words += [word for queue in queues for word in ("--queue", queue)]
        return become_master(face, Wish("worker", words, workers, health, pidfile), only_print=plan, plain=plain)
    link = MasterLink.from_environment(reopen=lambda: reopen_log(settings))
    face.log(settings, "info")
    name = own_name(name or settings.worker.name, under_master=link is not None)
    if app:
        options = worker_options(settings, slots=slots, name=name)
        return anyio.run(partial(_own, settings, app, list(queues) or ["default"], options, link, health=health))
    return _pipeline(settings, slots, name, link, health)


def _pipeline(settings: Settings, slots: int | None, name: str, link: MasterLink | None, health: str) -> int:
    ports = open_ports(settings)

    async def run() -> int:
        async with open_services(settings, ports) as services:
            worker = make_worker(services, slots=slots, name=name)
            every = settings.pipeline.reconcile_seconds
            reconcile = partial(services.service.keep_reconciled, every=every, owner=worker.name)
            tidy = partial(
                keep_tidy, settings.home / "logs", SystemClock(),
                every=settings.pipeline.sweep_seconds,
                keep_logs=settings.worker.keep_logs_seconds,
                keep_scratch=SCRATCH_SECONDS,
            )  # fmt: skip
            return await _work(worker, services.broker, settings, link, health, beside=[reconcile, tidy])

    try:
        return anyio.run(run)
    finally:
        close_ports(ports)


async def _own(
    settings: Settings, app: str, queues: list[str], options: dict[str, Any], link: MasterLink | None, *, health: str
) -> int:
    with traced(settings):
        async with open_broker(settings.broker_url) as broker:
            return await _work(Worker(broker, app, queues=queues, **options), broker, settings, link, health)


async def _take_back(settings: Settings, names: Sequence[str]) -> None:
    async with open_broker(settings.broker_url) as broker:
        await broker.reclaim(gone=names)


async def _work(
    worker: Worker,
    broker: Broker,
    settings: Settings,
    link: MasterLink | None,
    health: str,
    *,
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> int:
    trace = MemoryTrace(settings.home / "logs")
    hooks = Hooks(settings.supervisor.hooks if link is not None else "")
    if settings.worker.trace_malloc:
        trace.snapshot()
    probes = OwnProbes(health, worker)
    if health:
        beside = [*beside, partial(probes.keep, broker)]
    with probes.serving():
        return await work(
            worker, broker, grace=settings.worker.grace_seconds, link=link, trace=trace, hooks=hooks, beside=beside
        )
