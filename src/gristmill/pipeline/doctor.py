"""The examiner: catalog, blobs and doc store compared in every detail.

What it may meet while others work (runs that have not ended, generations that wait for the sweep) is no damage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from gristmill.base.errors import BlobMissing
from gristmill.base.ids import content_digest
from gristmill.pipeline.stages import Ports, blob_key
from gristmill.ports.catalog import Dataset, Document, GenState, RunState
from gristmill.ports.docstore import Space

_INGEST = "run the same ingest again"


class Damage(msgspec.Struct, frozen=True):
    """Something that is not as promised: what kind, where, a sentence, and what to do."""

    kind: str
    where: str
    message: str
    remedy: str


def examine(ports: Ports) -> list[Damage]:
    """Every damage. Reads all records and blobs: minutes on a large home."""
    catalog = ports.catalog
    found = [Damage("catalog", "", sentence, "restore the catalog from a backup") for sentence in catalog.check()]
    spaces = ports.docstore.spaces()
    known: set[tuple[str, str]] = set()
    for tenant in catalog.tenants():
        documents = catalog.documents(tenant)
        for dataset in catalog.datasets(tenant):
            known.add((tenant, dataset.id))
            mine = [one for one in documents if one.dataset_id == dataset.id]
            found += _store(ports, dataset)
            for document in mine:
                found += _document(ports, dataset, document)
    found += [
        Damage(
            "orphan", dataset_id, f"the doc store has a room {dataset_id} of no dataset", "the next sweep removes it"
        )
        for tenant, dataset_id in spaces
        if (tenant, dataset_id) not in known
    ]
    return found + list(_blobs(ports))


def _store(ports: Ports, dataset: Dataset) -> Iterator[Damage]:
    """The generations of a dataset: those that readers see are whole, the others are known."""
    space = Space(dataset.tenant, dataset.id, dataset.dim)
    for sentence in ports.docstore.check(space):
        yield Damage("docstore", dataset.name, f"dataset {dataset.name}: {sentence}", _INGEST)
    stored = ports.docstore.generations(space)
    states = ports.catalog.generations(dataset.id)
    live = ports.catalog.live(dataset.id)
    for gen, (document_id, chunks) in live.items():
        if stored.get(gen, 0) != chunks:
            message = f"document {document_id}: {chunks} chunks were committed, {stored.get(gen, 0)} are stored"
            yield Damage("chunks", document_id, message, "gristmill documents retry " + document_id)
    for gen in stored.keys() - states.keys():
        message = f"dataset {dataset.name}: {stored[gen]} chunks of generation {gen}, which nobody knows"
        yield Damage("orphan", dataset.name, message, "the next sweep removes them")
    for gen, state in states.items():
        if state is GenState.LIVE and gen not in live:
            message = f"dataset {dataset.name}: generation {gen} is live, but of no document"
            yield Damage("orphan", dataset.name, message, "the next sweep removes it")


def _document(ports: Ports, dataset: Dataset, document: Document) -> Iterator[Damage]:
    if document.state is RunState.DONE and (document.live is None or document.chunks == 0):
        message = f"{document.name} is done, but readers see no chunk of it"
        yield Damage("document", document.id, message, "gristmill documents retry " + document.id)
    if document.live is None:
        return
    space = Space(dataset.tenant, dataset.id, dataset.dim)
    records = ports.docstore.chunks(space, ports.catalog.view(dataset.id), document.id)
    if len(records) != document.chunks:
        message = f"{document.name}: readers see {len(records)} chunks, the catalog counts {document.chunks}"
        yield Damage("chunks", document.id, message, "gristmill documents retry " + document.id)
    for chunk_id, count in Counter(record.chunk_id for record in records).items():
        if count > 1:
            message = f"{document.name}: chunk {chunk_id} is there {count} times"
            yield Damage("doubled", document.id, message, "gristmill documents retry " + document.id)
    if {record.gen for record in records} - {document.live}:
        message = f"{document.name}: readers see chunks of more than one generation"
        yield Damage("mixed", document.id, message, "gristmill documents retry " + document.id)


def _blobs(ports: Ports) -> Iterator[Damage]:
    """Every document's bytes are there and are the bytes that were given."""
    needed: dict[str, Document] = {}
    for tenant in ports.catalog.tenants():
        for document in ports.catalog.documents(tenant):
            final = document.failure is not None and document.failure.stage == "detect"
            if not final:
                needed[blob_key(tenant, document.digest)] = document
    for key, document in needed.items():
        try:
            data = ports.storage.get(key)
        except BlobMissing:
            yield Damage("blob", document.id, f"{document.name}: its bytes are gone", _INGEST)
            continue
        if content_digest(data) != document.digest:
            yield Damage("blob", document.id, f"{document.name}: its stored bytes are damaged", _INGEST)
    for key in ports.storage.keys("blobs/"):
        if key not in needed and key.rsplit("/", 1)[-1] not in ports.catalog.blobs():
            yield Damage("orphan", key, f"blob {key} belongs to no document", "the next sweep removes it")
