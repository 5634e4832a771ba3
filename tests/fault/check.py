"""What must be true after a round: every document as an undisturbed ingest makes it, once, and nothing else anywhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault import corpus
from fault.play import DATASET
from gristmill.base.ids import digest
from gristmill.base.settings import load_settings
from gristmill.pipeline.doctor import examine
from gristmill.pipeline.index import chunk_id
from gristmill.pipeline.sweep import sweep
from gristmill.pipeline.work import Ports
from gristmill.ports.catalog import GenState, RunState
from gristmill.ports.docstore import Record, Space
from gristmill.wiring import TENANT, opened_ports

Piece = tuple[str, tuple[int, ...], str]  # text, pages, kind


@dataclass(frozen=True)
class Content:
    """The documents of a home: name -> chunks in order."""

    documents: dict[str, list[Piece]]


def content(home: Path) -> Content:
    """What a home holds, for comparison."""
    with opened_ports(load_settings(home=home, environ={})) as ports:
        return Content(
            {name: [_piece(one) for one in records] for name, _, records in _visible(ports) if name != corpus.BROKEN}
        )


def wrong(home: Path, folder: Path, expected: Content) -> list[str]:
    """Everything that is not as it should be."""
    with opened_ports(load_settings(home=home, environ={})) as ports:
        found = [f"doctor: {one.message}" for one in examine(ports)]
        found += _documents(ports, folder, expected)
        sweep(ports, grace=0.0, keep_dead=0.0, cache_bytes=2**40)
        found += [f"doctor after the sweep: {one.message}" for one in examine(ports)]
        found += _left_over(ports)
    return found


def _documents(ports: Ports, folder: Path, expected: Content) -> Iterator[str]:
    unfinished = ports.catalog.unfinished()
    if unfinished:
        yield f"runs that have not ended: {unfinished}"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    seen = set()
    for name, document, records in _visible(ports):
        seen.add(name)
        if name == corpus.BROKEN:
            if document.state is not RunState.FAILED or document.failure is None or not document.failure.final:
                yield f"{name} is {document.state}: {document.failure}"
            continue
        if document.state is not RunState.DONE:
            yield f"{name} is {document.state}: {document.failure}"
        if [_piece(one) for one in records] != expected.documents[name]:
            yield f"{name}: other chunks than those of an undisturbed ingest"
        ids = [one.chunk_id for one in records]
        if sorted(ids) != sorted(_ids(document.id, expected.documents[name])):
            yield f"{name}: other chunk ids than expected: {ids}"
    if names - seen:
        yield f"not there: {names - seen}"
    if seen - names - {f"deep/{corpus.GONE}"}:
        yield f"nobody's: {seen - names}"


def _left_over(ports: Ports) -> Iterator[str]:
    """What is stored is what live generations and documents own."""
    dataset = ports.catalog.dataset(TENANT, DATASET)
    live = ports.catalog.live(dataset.id)
    stored = ports.docstore.generations(Space(TENANT, dataset.id, dataset.dim))
    if stored != {gen: chunks for gen, (_, chunks) in live.items()}:
        yield f"stored generations {stored}, live ones {live}"
    states = Counter(ports.catalog.generations(dataset.id).values())
    if set(states) - {GenState.LIVE}:
        yield f"generations left: {states}"
    if ports.docstore.spaces() != [(TENANT, dataset.id)]:
        yield f"rooms: {ports.docstore.spaces()}"
    needed = {content for tenant, content in ports.catalog.blobs() if tenant == TENANT}
    blobs = {key.rsplit("/", 1)[-1] for key in ports.storage.keys("blobs/")}
    if blobs != needed:
        yield f"blobs too many: {blobs - needed}, missing: {needed - blobs}"
    for key in ports.storage.keys("assets/"):
        if key.split("/")[2] not in needed:
            yield f"picture of no document: {key}"


def _visible(ports: Ports) -> Iterator[tuple[str, Any, list[Record]]]:
    dataset = ports.catalog.dataset(TENANT, DATASET)
    space, view = Space(TENANT, dataset.id, dataset.dim), ports.catalog.view(dataset.id)
    for document in ports.catalog.documents(TENANT, dataset.id):
        yield document.name, document, ports.docstore.chunks(space, view, document.id)


def _piece(one: Record) -> Piece:
    return one.content, tuple(one.pages), one.kind


def _ids(document_id: str, pieces: list[Piece]) -> Iterator[str]:
    """The ids that these chunks must have: by text, repeats by their number."""
    seen: Counter[str] = Counter()
    for text, _, _ in pieces:
        base = chunk_id(document_id, text)
        seen[base] += 1
        yield base if seen[base] == 1 else digest(base, str(seen[base]))


def statuses(printed: str) -> dict[str, str]:
    """Path -> status of what ``ingest --json`` printed."""
    rows = [json.loads(line) for line in printed.splitlines()]
    return {Path(row["path"]).name: row["status"] for row in rows if "path" in row}
