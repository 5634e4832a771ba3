"""Removing what nothing owns: dead and retired generations, blobs that no document needs, old cache entries."""

from __future__ import annotations

import msgspec

from gristmill.base.errors import BlobMissing
from gristmill.pipeline.stages import Ports
from gristmill.ports.docstore import Space


class Swept(msgspec.Struct, frozen=True):
    """What a sweep removed."""

    records: int
    generations: int
    blobs: int
    cached: int


def sweep(ports: Ports, *, grace: float, keep_dead: float, cache_bytes: int) -> Swept:
    """Remove what no reader and no writer can need. Safe at any moment, in several processes, and after any crash.

    ``grace``: seconds a replaced generation stays for readers that still hold an older view; ``keep_dead``: seconds a dead
    one stays known (and is swept again), for a zombie may still append to it.
    """
    records = generations = 0
    for dataset, gens in ports.catalog.sweepable(grace=grace):
        space = Space(dataset.tenant, dataset.id, dataset.dim)
        while removed := ports.docstore.sweep(space, gens):
            records += removed
        ports.catalog.swept(gens, keep_dead=keep_dead)
        generations += len(gens)
    records += _sweep_strangers(ports)
    blobs = _sweep_spaces(ports) + _sweep_blobs(ports) + _sweep_assets(ports)
    return Swept(records, generations, blobs, ports.cache.evict(max_bytes=cache_bytes))


def _sweep_strangers(ports: Ports) -> int:
    """Records of generations that the catalog has never heard of, or has forgotten.

    The store is read first: a generation that begins in between is known to the catalog before it has a record.
    """
    removed = 0
    for tenant, dataset_id in ports.docstore.spaces():
        space = Space(tenant, dataset_id, 0)
        stored = ports.docstore.generations(space)
        strangers = stored.keys() - ports.catalog.generations(dataset_id).keys()
        while strangers and (gone := ports.docstore.sweep(space, sorted(strangers))):
            removed += gone
    return removed


def _sweep_spaces(ports: Ports) -> int:
    """Rooms of datasets that are gone; the others get their upkeep."""
    dropped = 0
    spaces = ports.docstore.spaces()
    known = {
        dataset.id: dataset for tenant in {tenant for tenant, _ in spaces} for dataset in ports.catalog.datasets(tenant)
    }
    for tenant, dataset_id in spaces:
        found = known.get(dataset_id)
        if found is None:
            ports.docstore.drop(Space(tenant, dataset_id, 0))
            dropped += 1
        else:
            ports.docstore.maintain(Space(tenant, dataset_id, found.dim))
    return dropped


def _sweep_blobs(ports: Ports) -> int:
    """Blobs without a document.

    A submit stores the blob first and writes the catalog after it, then looks whether the blob is still there; so a blob
    that becomes needed while it is removed is either put back here or stored again there.
    """
    needed = ports.catalog.blobs()
    removed = 0
    for key in list(ports.storage.keys("blobs/")):
        content = key.rsplit("/", 1)[-1]
        if content in needed:
            continue
        try:
            data = ports.storage.get(key)
        except BlobMissing:
            continue
        ports.storage.delete(key)
        if content in ports.catalog.blobs():
            ports.storage.put(key, data)
        else:
            removed += 1
    return removed


def _sweep_assets(ports: Ports) -> int:
    """Pictures of documents that are gone. One that is still needed was parsed again, and stored again with it."""
    needed = ports.catalog.blobs()
    gone = [key for key in ports.storage.keys("assets/") if key.split("/")[2] not in needed]
    for key in gone:
        ports.storage.delete(key)
    return len(gone)
