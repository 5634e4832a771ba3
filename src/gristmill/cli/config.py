"""``gristmill config``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from gristmill.cli.main import Face
from gristmill.cli.output import json_option, print_json, print_table


@click.group("config")
def command() -> None:
    """Show the settings and where they come from."""


@command.command("show")
@click.option("--all", "everything", is_flag=True, help="Also what is at its default.")
@json_option
@click.pass_obj
def show(face: Face, everything: bool, as_json: bool) -> None:
    """Every setting with its value and where it comes from. Secrets are masked."""
    settings = face.settings
    rows = [(key, value, settings.origin(key)) for key, value in _flat(settings.shown())]
    if as_json:
        print_json({key: {"value": value, "origin": origin} for key, value, origin in rows})
        return
    print_table(
        ["setting", "value", "from"],
        [(key, repr(value), origin) for key, value, origin in rows if everything or origin != "default"],
    )
    if settings.ignored:
        click.echo(f"for other programs, not read: {', '.join(settings.ignored)}")
    if not everything:
        click.echo("The other settings are at their defaults; --all shows them.")


def _flat(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
