"""``gristmill search``: a question to chunks."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from gristmill.base.errors import NotFound, QueryError
from gristmill.cli.main import Face
from gristmill.cli.output import json_option, own_fields, pages_of, positions_of, print_json, printable
from gristmill.ports.catalog import Catalog
from gristmill.ports.docstore import Filter
from gristmill.search.highlight import matches
from gristmill.search.query import VECTOR_WEIGHT, SearchRequest, understand
from gristmill.search.ragflow import ragflow_record
from gristmill.search.service import SearchHit
from gristmill.search.where import conditions
from gristmill.wiring import TENANT, opened_ports, search_service

_SHOWN = 400  # characters of a hit
_SHARE = click.FloatRange(0, 1)


def _ranges(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pages and ranges of pages, from 1."""
    ranges = []
    for value in values:
        found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", value)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last:
            raise click.BadParameter(f"{value!r} is neither a page nor a range of pages like 3-5", ctx, param)
        ranges.append((first, last))
    return tuple(ranges)


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--dataset", "datasets", multiple=True, help="Where to search; may be repeated (default: everywhere).")
@click.option("--top-k", default=5, show_default=True, type=click.IntRange(1, 1000), help="How many hits.")
@click.option(
    "--legs", default="hybrid", show_default=True, type=click.Choice(["hybrid", "terms", "vector"]), help="How to find."
)
@click.option(
    "--vector-weight", default=VECTOR_WEIGHT, show_default=True, type=_SHARE, help="The vectors' part of a score."
)
@click.option("--threshold", default=0.0, show_default=True, type=_SHARE, help="Leave out hits with a lower score.")
@click.option("--document", "documents", multiple=True, help="Only in this document (id or name); may be repeated.")
@click.option(
    "--kind", "kinds", multiple=True, help="Only chunks of this kind: text, table, code ...; may be repeated."
)
@click.option("--tag", "tags", multiple=True, help="Only chunks with this tag; may be repeated.")
@click.option(
    "--page",
    "pages",
    multiple=True,
    callback=_ranges,
    metavar="PAGE",
    help="Only chunks on this page, or 3-5; may be repeated.",
)
@click.option(
    "--where",
    "asked",
    multiple=True,
    metavar="CONDITION",
    help="Only rows like 'price >= 10 and unit = kg'; repeatable.",
)
@click.option("--parents/--children", default=True, help="Parents in the place of their children, or these.")
@json_option
@click.pass_obj
def command(
    face: Face,
    /,
    *,
    words: tuple[str, ...],
    datasets: tuple[str, ...],
    documents: tuple[str, ...],
    kinds: tuple[str, ...],
    tags: tuple[str, ...],
    pages: tuple[tuple[int, int], ...],
    asked: tuple[str, ...],
    as_json: bool,
    **how: Any,
) -> int:
    """Answer a question from the documents: by word and by meaning."""
    fields = conditions(asked)
    with opened_ports(face.settings) as ports:
        chosen = datasets or _all(ports.catalog)
        _known(ports.catalog, chosen)
        where = Filter(tuple(_ids(ports.catalog, chosen, documents)), kinds, tags, pages, fields)
        request = SearchRequest(tenant=TENANT, datasets=tuple(chosen), query=" ".join(words), where=where, **how)
        hits: list[SearchHit] = search_service(face.settings, ports).search(request)
    if as_json:
        print_json([_shape(hit) for hit in hits])
    else:
        terms = understand(request).terms
        for number, hit in enumerate(hits, 1):
            _print(number, hit, terms)
        if not hits:
            click.echo("Nothing found.")
    return 0


def _all(catalog: Catalog) -> list[str]:
    """All datasets that have something in them, if they can be searched together."""
    filled = [dataset for dataset in catalog.datasets(TENANT) if dataset.chunks]
    if not filled:
        raise NotFound("there is nothing to search yet: ingest some documents first (gristmill ingest PATH)")
    if len({dataset.embedder for dataset in filled}) > 1:
        names = ", ".join(f"{dataset.name} ({dataset.embedder})" for dataset in filled)
        raise QueryError(f"these datasets were built with different embedders; choose with --dataset: {names}")
    return [dataset.name for dataset in filled]


def _known(catalog: Catalog, names: Sequence[str]) -> None:
    known = catalog.datasets(TENANT)
    for name in names:
        if not any(name in (dataset.name, dataset.id) for dataset in known):
            raise NotFound(f"no dataset {name!r}; known: {', '.join(dataset.name for dataset in known) or 'none'}")


def _ids(catalog: Catalog, datasets: Sequence[str], names: Sequence[str]) -> list[str]:
    """The ids of documents by id or name; several may have one name."""
    if not names:
        return []
    every = [one for one in catalog.documents(TENANT) if one.dataset in datasets or one.dataset_id in datasets]
    for name in names:
        if not any(name in (one.id, one.name) for one in every):
            raise NotFound(f"no document {name!r} in {', '.join(datasets)}: see gristmill documents list")
    return [one.id for one in every if one.id in names or one.name in names]


def _shape(hit: SearchHit) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(hit)
    del shown["record"]
    record = msgspec.structs.replace(hit.record, boxes=hit.positions, pages=hit.pages)
    shown |= own_fields(record) | {"positions": positions_of(hit.positions)}
    for score in ("score", "term_score", "vector_score", "cosine"):
        shown[score] = round(shown[score], 6)
    return ragflow_record(record, hit.dataset_id) | shown


def _print(number: int, hit: SearchHit, terms: Sequence[str]) -> None:
    place = " › ".join(hit.path)
    pages = pages_of(hit.pages)
    head = f"{number}. {printable(hit.document)}" + (f", {pages}" if pages else "")
    click.echo(click.style(head, bold=True) + f"   {hit.score:.2f}")
    if place:
        click.echo(f"   {printable(place)}")
    width = max(40, min(shutil.get_terminal_size().columns, 120) - 3)
    for row in textwrap.wrap(_snippet(hit), width):
        click.echo(f"   {marked(row, terms)}")
    click.echo()


def marked(row: str, terms: Sequence[str]) -> str:
    """A line with the words that match in bold, where the output is a terminal."""
    pieces, end = [], 0
    for first, last in matches(row, terms):
        pieces += [row[end:first], click.style(row[first:last], bold=True, fg="yellow")]
        end = last
    return "".join([*pieces, row[end:]])


def _snippet(hit: SearchHit) -> str:
    """The part of the text with most of the words that matched, in their surroundings."""
    text = hit.content
    if len(text) > _SHOWN and hit.matches:
        best = max(hit.matches, key=lambda one: sum(one[0] <= other[0] < one[0] + _SHOWN for other in hit.matches))
        first = max(0, best[0] - _SHOWN // 4)
        begin = first and (first + re.search(r"\s|$", text[first:]).start())  # type: ignore[union-attr]  # $ matches
        text = ("… " if begin else "") + text[begin : begin + _SHOWN] + (" …" if begin + _SHOWN < len(text) else "")
    elif len(text) > _SHOWN:
        text = text[:_SHOWN] + " …"
    return printable(text)
