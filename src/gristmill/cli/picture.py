"""The picture of a chunk: the one that is stored, or the part of the page where it stands."""

from __future__ import annotations

from typing import Any

import msgspec

from gristmill.base.errors import BlobMissing, Conflict, NotFound
from gristmill.base.registry import imported
from gristmill.pipeline.work import Ports, asset_key, blob_key
from gristmill.ports.catalog import Dataset, Document
from gristmill.ports.docstore import Record, Space

_SHORTEST = 6  # characters of an id that is shortened


class Picture(msgspec.Struct, frozen=True):
    """The bytes of a picture, whose it is, and whether it was ``stored`` or ``drawn``."""

    record: Record
    data: bytes
    source: str


def picture_of(ports: Ports, tenant: str, name: str) -> Picture:
    """The picture of a chunk, by its id or the beginning of it.

    Raises NotFound where there is no such chunk, or no picture of it, and what the stores and the drawing raise.
    """
    dataset, record = _chunk(ports, tenant, name)
    document = ports.catalog.document(tenant, record.document_id)
    if record.asset and record.kind != "speech":
        return Picture(record, _stored(ports, document, record), "stored")
    if document.format == "pdf" and record.boxes:
        return Picture(record, _drawn(ports, document, record), "drawn")
    raise NotFound(
        f"there is no picture of chunk {record.chunk_id} of {document.name} in {dataset.name}: only pictures, and chunks of a"
        " PDF that stand on its pages, have one"
    )


def _chunk(ports: Ports, tenant: str, name: str) -> tuple[Dataset, Record]:
    found = [
        (dataset, record)
        for dataset in ports.catalog.datasets(tenant)
        for record in ports.docstore.named(_space(dataset), ports.catalog.view(dataset.id), name)
    ]
    exact = [one for one in found if one[1].chunk_id == name]
    if not exact and len(name) < _SHORTEST:
        raise NotFound(f"no chunk is called {name!r}: give {_SHORTEST} characters of its id at least")
    if len(exact or found) != 1:
        raise NotFound(
            f"{'several chunks are' if found else 'no chunk is'} called {name!r}: see gristmill documents chunks"
        )
    return (exact or found)[0]


def _space(dataset: Dataset) -> Space:
    return Space(dataset.tenant, dataset.id, dataset.dim)


def _stored(ports: Ports, document: Document, record: Record) -> bytes:
    try:
        return ports.storage.get(asset_key(document.tenant, document.digest, record.asset))
    except BlobMissing as exc:
        raise BlobMissing(
            f"the stored picture of {document.name} is gone: gristmill documents retry {document.id}"
        ) from exc


def _drawn(ports: Ports, document: Document, record: Record) -> bytes:
    if ports.catalog.run(document.run_id).gen != record.gen:
        raise Conflict(
            f"{document.name} is being ingested anew, or that failed: its pages may not be those of this chunk"
        )
    crop: Any = imported("gristmill.parsers.pdf.crop")
    data: bytes = crop.crop(document.name, ports.storage.get(blob_key(document.tenant, document.digest)), record.boxes)
    return data
