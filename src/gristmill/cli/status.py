"""``gristmill status``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import click
import msgspec

from gristmill.base.settings import Settings
from gristmill.brokers import open_broker
from gristmill.cli.main import Face
from gristmill.cli.output import json_option, print_json, print_table, when
from gristmill.wiring import TENANT, open_catalog


@click.command("status")
@json_option
@click.pass_obj
def command(face: Face, as_json: bool) -> int:
    """What is there, what waits, who works."""
    settings = face.settings
    catalog = open_catalog(settings)
    datasets = [
        {"name": one.name, "documents": one.documents, "chunks": one.chunks, "embedder": one.embedder}
        for one in catalog.datasets(TENANT)
    ]
    states = Counter(str(one.state) for one in catalog.documents(TENANT))
    queues, workers = anyio.run(_broker, settings)
    if as_json:
        print_json(
            {
                "home": str(settings.home), "datasets": datasets, "documents": states,
                "queues": [msgspec.to_builtins(one) for one in queues],
                "workers": [msgspec.to_builtins(one) for one in workers],
            }
        )  # fmt: skip
        return 0
    click.echo(f"home: {settings.home}")
    print_table(["dataset", "documents", "chunks", "embedder"], [list(one.values()) for one in datasets])
    click.echo("documents: " + (", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "none"))
    print_table(
        ["queue", "queued", "delayed", "running", "oldest"],
        [(one.queue, one.queued, one.delayed, one.running, f"{one.oldest:.0f} s") for one in queues],
    )
    print_table(
        ["worker", "pid", "seen", "done", "failed", "current"],
        [(one.name, one.pid, when(one.now), one.done, one.failed, len(one.current)) for one in workers],
    )
    return 0


async def _broker(settings: Settings) -> tuple[list[Any], list[Any]]:
    async with open_broker(settings.broker_url) as broker:
        return list(await broker.depth()), list(await broker.workers())
