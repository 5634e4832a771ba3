"""``gristmill up``: everything that runs on one host, under one master."""

from __future__ import annotations

import click

from gristmill.cli.main import Face
from gristmill.cli.master import Wish, become_master
from gristmill.cli.server import address, require

HEALTH = "127.0.0.1:9381"


@click.command("up")
@click.option("-w", "--workers", type=click.IntRange(1, 1024), help="Worker processes (default: supervisor.workers).")
@click.option("--slots", type=click.IntRange(1, 1024), help="Tasks at a time in each (default: one for each core).")
@click.option("--listen", help="HOST:PORT of the server (default: ragflow.host and ragflow.http_port, 127.0.0.1:9380).")
@click.option("--health", help=f"HOST:PORT of /health, /ready, /metrics (default: {HEALTH}).")
@click.option("--pidfile", help="A file for the master's process id.")
@click.option("--plain", is_flag=True, help="Lines of the log, also on a terminal, instead of a live view.")
@click.option("--plan", is_flag=True, hidden=True, help="Print what a master is to do, and end.")
@click.pass_obj
def command(
    face: Face,
    *,
    workers: int | None,
    slots: int | None,
    listen: str | None,
    health: str | None,
    pidfile: str | None,
    plain: bool,
    plan: bool,
) -> int:
    """Run a server and workers for the pipeline, watched and replaced by a master, with probes on a port."""
    require()
    words = ["--slots", str(slots)] if slots else []
    chosen = health or face.settings.supervisor.health or HEALTH
    wish = Wish("up", words, workers, chosen, pidfile or "", listen or address(face.settings))
    return become_master(face, wish, only_print=plan, plain=plain)
