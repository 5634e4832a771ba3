"""``gristmill documents``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec

from gristmill.base.errors import NotFound
from gristmill.cli.main import Face
from gristmill.cli.output import (
    duration,
    json_option,
    own_fields,
    pages_of,
    positions_of,
    print_json,
    print_table,
    printable,
    when,
)
from gristmill.cli.parameters import parameters_option, parser_config
from gristmill.cli.picture import picture_of
from gristmill.pipeline.work import Ports
from gristmill.ports.catalog import Catalog, Document
from gristmill.ports.docstore import Record, Space
from gristmill.search.ragflow import ragflow_record
from gristmill.wiring import TENANT, again_settings, open_catalog, open_services, opened_ports

dataset_option = click.option("--dataset", help="Only this dataset.")


@click.group("documents")
def command() -> None:
    """Look at documents; delete, repeat or export them. Ids may be shortened."""


@command.command("list")
@dataset_option
@json_option
@click.pass_obj
def list_(face: Face, dataset: str | None, as_json: bool) -> None:
    """Documents, oldest first."""
    catalog = open_catalog(face.settings)
    found = _documents(catalog, dataset)
    if as_json:
        print_json([_shape(one) for one in found])
        return
    print_table(
        ["id", "dataset", "name", "status", "chunks", "pages"],
        [(one.id[:12], one.dataset, one.name, one.state, one.chunks, one.pages or "") for one in found],
    )


@command.command("show")
@click.argument("document_id")
@json_option
@click.pass_obj
def show(face: Face, document_id: str, as_json: bool) -> None:
    """All that is known of a document, with the log of its latest run."""
    catalog = open_catalog(face.settings)
    document = _find(catalog, document_id)
    log = catalog.logs(document.run_id)
    if as_json:
        print_json(_shape(document) | {"log": [msgspec.to_builtins(one) for one in log]})
        return
    for name, value in _shape(document).items():
        click.echo(f"{name:12} {printable(str(value))}")
    for one in log:
        click.echo(f"{when(one.at)}  {one.stage:8} {printable(one.message)}")


@command.command("chunks")
@click.argument("document_id")
@json_option
@click.pass_obj
def chunks(face: Face, document_id: str, as_json: bool) -> None:
    """The chunks of a document in order."""
    with opened_ports(face.settings) as ports:
        document = _find(ports.catalog, document_id)
        found = [_chunk(n, one, document) for n, one in enumerate(_chunks(ports, document))]
    if as_json:
        print_json(found)
        return
    for one in found:
        head = " ".join(part for part in (one["kind"], pages_of(one["pages"]), " › ".join(one["path"])) if part)
        click.echo(click.style(f"{one['chunk_id'][:12]}  {printable(head)}  {one['tokens']} tokens", bold=True))
        click.echo(printable(one["content"], lines=True))
        click.echo()


@command.command("export")
@click.argument("document_ids", nargs=-1)
@dataset_option
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of the standard output."
)
@click.pass_obj
def export(face: Face, document_ids: tuple[str, ...], dataset: str | None, output: Path | None) -> None:
    """Chunks as JSON lines, each with its document."""
    with opened_ports(face.settings) as ports:
        wanted = [_find(ports.catalog, one) for one in document_ids] or _documents(ports.catalog, dataset)
        if output is None:
            for row in _rows(ports, wanted):
                print_json(row)
        else:
            with output.open("wb") as file:
                for row in _rows(ports, wanted):
                    file.write(msgspec.json.encode(row) + b"\n")


@command.command("picture")
@click.argument("chunk_id")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@json_option
@click.pass_obj
def picture(face: Face, chunk_id: str, out: Path, as_json: bool) -> None:
    """The picture of a chunk: the one it is made of, or in a PDF the part of the page where it stands, as PNG."""
    with opened_ports(face.settings) as ports:
        found = picture_of(ports, TENANT, chunk_id)
    out.write_bytes(found.data)
    if as_json:
        print_json(
            {"chunk_id": found.record.chunk_id, "path": str(out), "source": found.source, "size": len(found.data)}
        )
    else:
        click.echo(f"{found.source} picture of {printable(found.record.document)}: {len(found.data):,} bytes in {out}")


@command.command("delete")
@click.argument("document_ids", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def delete(face: Face, document_ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete documents. They are gone for searches at once."""
    with opened_ports(face.settings) as ports:
        found = [_find(ports.catalog, one) for one in document_ids]
        if not yes and not as_json:
            click.confirm(f"Delete {', '.join(printable(one.name) for one in found)}?", abort=True)

        async def step() -> None:
            async with open_services(face.settings, ports) as services:
                for one in found:
                    await services.service.delete(TENANT, one.id)

        anyio.run(step)
    _told(found, "deleted", as_json=as_json)


@command.command("retry")
@click.argument("document_ids", nargs=-1, required=True)
@click.option("--method", help="Another chunk method than the last time.")
@parameters_option
@json_option
@click.pass_obj
def retry(
    face: Face, document_ids: tuple[str, ...], method: str | None, parameters: tuple[str, ...], as_json: bool
) -> None:
    """Ingest stored documents anew; a running worker, or the next ingest, does it.

    Method and parameters are those of the last time, but for what is given here. The models are those that are set now.
    """
    config = parser_config(parameters)
    with opened_ports(face.settings) as ports:
        found = [_find(ports.catalog, one) for one in document_ids]
        runs = [ports.catalog.run(one.run_id) for one in found]
        wanted = [again_settings(face.settings, run, method, config) for run in runs]

        async def step() -> None:
            async with open_services(face.settings, ports) as services:
                for one, settings in zip(found, wanted, strict=True):
                    await services.service.retry(TENANT, one.id, settings)

        anyio.run(step)
    _told(found, "queued", as_json=as_json)


@command.command("cancel")
@click.argument("document_ids", nargs=-1, required=True)
@json_option
@click.pass_obj
def cancel(face: Face, document_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel the ingestion of documents. What was there before stays."""
    with opened_ports(face.settings) as ports:
        found = [_find(ports.catalog, one) for one in document_ids]

        async def step() -> None:
            async with open_services(face.settings, ports) as services:
                for one in found:
                    await services.service.cancel(TENANT, one.id)

        anyio.run(step)
    _told(found, "cancelled", as_json=as_json)


def _documents(catalog: Catalog, dataset: str | None) -> list[Document]:
    return catalog.documents(TENANT, catalog.dataset(TENANT, dataset).id if dataset else None)


def _find(catalog: Catalog, document_id: str) -> Document:
    """A document by its id, the beginning of it, or its name."""
    every = catalog.documents(TENANT)
    exact = [one for one in every if document_id in (one.id, one.name, one.source)]
    found = exact or [one for one in every if one.id.startswith(document_id)]
    if len(found) != 1:
        raise NotFound(f"{'no document is' if not found else 'several documents are'} called {document_id!r}")
    return found[0]


def _shape(one: Document) -> dict[str, Any]:
    failure = one.failure
    return {
        "document_id": one.id,
        "name": one.name,
        "dataset": one.dataset,
        "status": str(one.state),
        "chunks": one.chunks,
        "tokens": one.tokens,
        "pages": one.pages,
        "format": one.format,
        "size": one.size,
        "path": one.source,
        "digest": one.digest,
        "created": one.created,
        "updated": one.updated,
        "seconds": round(one.seconds, 3),
        "error": {"stage": failure.stage, "type": failure.type, "message": failure.message} if failure else None,
    }


def _chunks(ports: Ports, document: Document) -> list[Record]:
    dataset = ports.catalog.dataset(TENANT, document.dataset_id)
    space = Space(TENANT, dataset.id, dataset.dim)
    return ports.docstore.chunks(space, ports.catalog.view(dataset.id), document.id)


def _chunk(number: int, one: Record, document: Document) -> dict[str, Any]:
    """A chunk under our names and, beside them, under the source's."""
    return ragflow_record(one, document.dataset_id, place=number) | {
        "chunk_id": one.chunk_id,
        "content": one.content,
        "pages": one.pages,
        "positions": positions_of(one.boxes),
        "kind": one.kind,
        "path": one.path,
        "tokens": one.tokens,
        "asset": one.asset,
        "keywords": one.keywords,
        "questions": one.questions,
        "tags": one.tags,
        "available": one.available,
        **own_fields(one),
    }


def _rows(ports: Ports, documents: list[Document]) -> Iterator[dict[str, Any]]:
    for document in documents:
        about = {"document_id": document.id, "document": document.name, "dataset": document.dataset}
        for number, one in enumerate(_chunks(ports, document)):
            yield about | _chunk(number, one, document)


def _told(found: list[Document], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json([{"document_id": one.id, "name": one.name, "status": what} for one in found])
        return
    for one in found:
        click.echo(f"{what} {printable(one.name)} ({one.id[:12]}, {duration(one.seconds)})")
