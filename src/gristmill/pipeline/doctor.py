"""The examiner: catalog, blobs and doc store compared in every detail.

What it may meet while others work (runs that have not ended, generations that wait for the sweep) is no damage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from gristmill.base.errors import BlobMissing, NotFound, StoreError
from gristmill.base.ids import content_digest
from gristmill.pipeline.sweep import owner_of_asset, owner_of_blob
from gristmill.pipeline.work import Ports, asset_key, blob_key
from gristmill.ports.catalog import Dataset, Document, GenState
from gristmill.ports.docstore import Flaw, Record, Space

SWEPT = "the next sweep removes it"
REBUILT = "stop every worker, move the dataset's file away, and look again: the documents that it names can be repeated"
RESTORED = "restore the catalog from a backup"


class Damage(msgspec.Struct, frozen=True):
    """Something that is not as promised: what kind, where, a sentence, and what to do."""

    kind: str
    where: str
    message: str
    remedy: str


def examine(ports: Ports) -> list[Damage]:
    """Every damage, each once. Reads all records and blobs: minutes on a large home."""
    found: list[Damage] = []
    hurt: set[str] = set()  # documents of which a cause is known; what follows from it is not told again
    known: set[tuple[str, str]] = set()
    for flaw in ports.catalog.check():
        remedy = _retry(flaw.document_id) if _is_there(ports, flaw.document_id) else RESTORED
        found.append(Damage("catalog", flaw.document_id, flaw.message, remedy))
        hurt.add(flaw.document_id)
    for tenant in ports.catalog.tenants():
        for dataset in ports.catalog.datasets(tenant):
            known.add((tenant, dataset.id))
            found += _dataset(ports, dataset, hurt)
    given_up = {(one.tenant, one.kind, one.name) for one in ports.catalog.released()}
    for tenant, dataset_id in ports.docstore.spaces():
        if (tenant, dataset_id) not in known and (tenant, "room", dataset_id) not in given_up:
            message = f"the doc store has a room {dataset_id} of no dataset"
            found.append(Damage("orphan", dataset_id, message, SWEPT))
    return found + list(_blobs(ports, given_up))


def _retry(document_id: str) -> str:
    return f"gristmill documents retry {document_id}"


def _is_there(ports: Ports, document_id: str) -> bool:
    return any(_document(ports, tenant, document_id) for tenant in ports.catalog.tenants())


def _document(ports: Ports, tenant: str, document_id: str) -> Document | None:
    try:
        return ports.catalog.document(tenant, document_id)
    except NotFound:
        return None


def _dataset(ports: Ports, dataset: Dataset, hurt: set[str]) -> Iterator[Damage]:
    """The generations of a dataset: those that readers see are whole, the others are known."""
    space = Space(dataset.tenant, dataset.id, dataset.dim)
    try:
        stored = ports.docstore.generations(space)
        flaws = ports.docstore.check(space)
    except StoreError as exc:
        yield Damage("docstore", dataset.name, f"dataset {dataset.name}: {exc}", REBUILT)
        return
    states = ports.catalog.generations(dataset.id)
    live = ports.catalog.live(dataset.id)
    for flaw in flaws:
        if flaw.gen and states.get(flaw.gen) is not GenState.LIVE:
            continue  # nobody sees it, and it is swept
        document_id = live[flaw.gen][0] if flaw.gen else ""
        hurt.add(document_id)
        yield _flawed(dataset, flaw, document_id)
    for gen in sorted(stored.keys() - states.keys()):
        message = f"dataset {dataset.name}: {stored[gen]} chunks of generation {gen}, which nobody knows"
        yield Damage("orphan", dataset.name, message, SWEPT)
    for gen, (document_id, chunks) in live.items():
        if stored.get(gen, 0) != chunks and document_id not in hurt:
            hurt.add(document_id)
            message = f"document {document_id}: {chunks} chunks were committed, {stored.get(gen, 0)} are stored"
            yield Damage("chunks", document_id, message, _retry(document_id))
    yield from _read(ports, dataset, live, hurt, set(stored) - set(states))


def _flawed(dataset: Dataset, flaw: Flaw, document_id: str) -> Damage:
    message = f"dataset {dataset.name}: {flaw.message}"
    if not document_id:
        return Damage("docstore", dataset.name, message, REBUILT)
    return Damage("docstore", document_id, f"{message} (document {document_id})", _retry(document_id))


def _read(
    ports: Ports, dataset: Dataset, live: dict[int, tuple[str, int]], hurt: set[str], unknown: set[int]
) -> Iterator[Damage]:
    """Every document as readers see it: chunks of its own generation, and of no other."""
    space = Space(dataset.tenant, dataset.id, dataset.dim)
    unseen: list[Document] = []
    for document in ports.catalog.documents(dataset.tenant, dataset.id):
        if document.live is None:
            continue
        records = ports.docstore.chunks(space, ports.catalog.view(dataset.id), document.id)
        latest = _document(ports, dataset.tenant, document.id)
        if latest is None or latest.live != document.live:
            continue  # replaced or deleted meanwhile
        if not records:
            unseen.append(document)
        if document.id not in hurt:
            yield from _pictures(ports, document, records)
        for gen in {record.gen for record in records} - unknown - {document.live}:
            owner = live[gen][0] if gen in live else document.id
            if owner not in hurt:
                hurt.add(owner)
                message = f"{document.name}: readers see chunks of generation {gen}, which is of document {owner}"
                yield Damage("mixed", owner, message, _retry(owner))
    for document in unseen:
        if document.id not in hurt:
            yield Damage("chunks", document.id, f"{document.name}: readers see no chunk of it", _retry(document.id))


def _pictures(ports: Ports, document: Document, records: Sequence[Record]) -> Iterator[Damage]:
    """The pictures of a document's chunks are there. Those of an older content than the latest run's are not looked for."""
    assets = sorted({record.asset for record in records if record.asset})
    keys = [asset_key(document.tenant, document.digest, asset) for asset in assets]
    gone = sum(not ports.storage.exists(key) for key in keys)
    if not gone or ports.catalog.run(document.run_id).gen != document.live:
        return
    latest = _document(ports, document.tenant, document.id)
    if latest is not None and latest.live == document.live:
        said = "1 picture of its chunks is gone" if gone == 1 else f"{gone} pictures of its chunks are gone"
        yield Damage("asset", document.id, f"{document.name}: {said}", _retry(document.id))


def _blobs(ports: Ports, given_up: set[tuple[str, str, str]]) -> Iterator[Damage]:
    """Every document's bytes are there and are the bytes that were given; others wait for the sweep."""
    blobs = sorted(ports.storage.keys("blobs/"))
    assets = sorted(ports.storage.keys("assets/"))
    needed = ports.catalog.blobs()
    checked: set[str] = set()
    for tenant in ports.catalog.tenants():
        for document in ports.catalog.documents(tenant):
            key = blob_key(tenant, document.digest)
            if document.format and key not in checked:  # without a format it was never read as a document
                checked.add(key)
                yield from _blob(ports, key, document)
    owned = [("blob", key, owner_of_blob(key)) for key in blobs] + [
        ("picture", key, owner_of_asset(key)) for key in assets
    ]
    for what, key, (tenant, content) in owned:
        if (tenant, content) in needed or (tenant, "blob", content) in given_up:
            continue
        if not ports.catalog.needs_blob(tenant, content):
            yield Damage("orphan", key, f"{what} {key} belongs to no document", SWEPT)


def _blob(ports: Ports, key: str, document: Document) -> Iterator[Damage]:
    try:
        whole = content_digest(ports.storage.get(key)) == document.digest
    except BlobMissing:
        latest = _document(ports, document.tenant, document.id)
        if latest is not None and latest.digest == document.digest:
            yield Damage("blob", document.id, f"{document.name}: its bytes are gone", _retry(document.id))
        return
    if not whole:
        yield Damage("blob", document.id, f"{document.name}: its stored bytes are damaged", _retry(document.id))
