"""Becoming a master: the command line's process gives way to one that imports nothing it supervises."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

import click

from gristmill.base.ids import new_id
from gristmill.base.settings import Settings
from gristmill.cli.console import run_master, wanted
from gristmill.cli.main import Face
from gristmill.engine.fleet import Plan, reopen_stderr

ME = [sys.executable, "-m", "gristmill"]


@dataclass(frozen=True)
class Wish:
    """What the command line asks of a master, over what the settings say; and of each of its workers (``words``)."""

    command: str
    words: list[str] = field(default_factory=list)
    workers: int | None = None
    health: str = ""
    pidfile: str = ""
    listen: str = ""  # where a server answers; empty: there is none


def become_master(face: Face, wish: Wish, *, only_print: bool = False, plain: bool = False) -> int:
    """Go on as the master, in this very process; or only print its plan (that is how a master reads settings again).

    On a terminal, unless ``plain`` lines are wanted, this process shows how a master in another one is.
    """
    plan = make_plan(face, wish)
    if not only_print and not plain and wanted():
        return run_master(face.settings, plan, f"gristmill {wish.command}")
    if not only_print:
        if plan.log_file:
            reopen_stderr(plan.log_file)
        os.execv(sys.executable, [sys.executable, "-m", "gristmill.engine.supervisor", plan.dump()])  # noqa: S606  ourselves
    click.echo(plan.dump())
    return 0


def make_plan(face: Face, wish: Wish) -> Plan:
    """The plan by settings and command line."""
    settings, own = face.settings, face.settings.supervisor
    worker = [*ME, *face.words(), "worker", *wish.words]
    again = [*ME, *face.words(), wish.command, *wish.words, *_masters(wish), "--plan"]
    return Plan(
        argv=worker,
        workers=wish.workers or own.workers,
        grace=settings.worker.grace_seconds,
        timeout=own.timeout,
        boot_timeout=own.boot_timeout,
        max_tasks=own.max_tasks,
        max_tasks_jitter=own.max_tasks_jitter,
        max_age=own.max_age_seconds,
        max_rss=own.max_rss,
        pidfile=wish.pidfile or own.pidfile,
        health=wish.health or own.health,
        server=[*ME, *face.words(), "server"] if wish.listen else [],
        listen=wish.listen,
        hooks=own.hooks,
        log_file=own.log_file,
        log_json=settings.log.format == "json" or (settings.log.format == "auto" and not sys.stderr.isatty()),
        reload=again,
        take_back=[*worker, "--take-back"],
    )


def _masters(wish: Wish) -> list[str]:
    given = {"--workers": wish.workers, "--health": wish.health, "--pidfile": wish.pidfile, "--listen": wish.listen}
    return [word for name, value in given.items() if value for word in (name, str(value))]


def own_name(name: str, *, under_master: bool) -> str:
    """The worker's name: one that a master's workers would share gets an ending of its own."""
    return f"{name}-{os.getpid()}-{new_id()[-4:]}" if name and under_master else name


def reopen_log(settings: Settings) -> None:
    """Go on in a fresh log file."""
    if settings.supervisor.log_file:
        reopen_stderr(settings.supervisor.log_file)
