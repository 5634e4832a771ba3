"""Removing what nothing owns: dead and retired generations, blobs that no document needs, old cache entries."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gristmill.base.errors import BlobMissing
from gristmill.pipeline.work import Ports
from gristmill.ports.docstore import Space

ASIDE = "aside/"  # where an object is while it is removed


class Swept(msgspec.Struct, frozen=True):
    """What a sweep removed."""

    records: int
    generations: int
    blobs: int
    cached: int
    rooms: int = 0


def sweep(ports: Ports, *, grace: float, keep_dead: float, cache_bytes: int) -> Swept:
    """Remove what no reader and no writer can need. Safe at any moment, in several processes, and after any crash.

    ``grace``: seconds a replaced generation stays for readers that still hold an older view; ``keep_dead``: seconds a dead
    one stays known (and is swept again), for a zombie may still append to it.
    """
    given_up = ports.catalog.released()
    records = generations = 0
    for dataset, gens in ports.catalog.sweepable(grace=grace):
        space = Space(dataset.tenant, dataset.id, dataset.dim)
        while removed := ports.docstore.sweep(space, gens):
            records += removed
        ports.catalog.swept(gens, keep_dead=keep_dead)
        generations += len(gens)
    records += _sweep_strangers(ports)
    rooms = _sweep_rooms(ports)
    blobs = (
        _put_back(ports)
        + _sweep_objects(ports, "blobs/", owner_of_blob)
        + _sweep_objects(ports, "assets/", owner_of_asset)
    )
    ports.catalog.seen_to(given_up)
    return Swept(records, generations, blobs, ports.cache.evict(max_bytes=cache_bytes), rooms)


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


def _sweep_rooms(ports: Ports) -> int:
    """Rooms of datasets that are gone; the others get their upkeep."""
    dropped = 0
    spaces = ports.docstore.spaces()
    known = {
        (tenant, dataset.id): dataset
        for tenant in {tenant for tenant, _ in spaces}
        for dataset in ports.catalog.datasets(tenant)
    }
    for tenant, dataset_id in spaces:
        found = known.get((tenant, dataset_id))
        if found is None:
            ports.docstore.drop(Space(tenant, dataset_id, 0))
            dropped += 1
        else:
            ports.docstore.maintain(Space(tenant, dataset_id, found.dim))
    return dropped


def owner_of_blob(key: str) -> tuple[str, str]:
    """(tenant, digest) of ``blobs/<tenant>/<two digits>/<digest>``."""
    words = key.split("/")
    return words[1], words[-1]


def owner_of_asset(key: str) -> tuple[str, str]:
    """(tenant, digest) of ``assets/<tenant>/<digest>/<asset>``."""
    words = key.split("/")
    return words[1], words[2] if len(words) > 2 else ""


def _sweep_objects(ports: Ports, prefix: str, owner: Callable[[str], tuple[str, str]]) -> int:
    """Objects without a document. Listed before the catalog is asked, so most new ones do not even come into question.

    One that becomes needed while it is removed (a submit found it there and wrote the catalog meanwhile) is put back.
    """
    keys = list(ports.storage.keys(prefix))
    needed = ports.catalog.blobs()
    return sum(_removed(ports, key, *owner(key)) for key in keys if owner(key) not in needed)


def _removed(ports: Ports, key: str, tenant: str, content: str) -> bool:
    """Move an object aside, look again, and then let it go; a crash in between leaves it where the next sweep looks."""
    if ports.catalog.needs_blob(tenant, content):
        return False
    try:
        ports.storage.put(ASIDE + key, ports.storage.get(key))
    except BlobMissing:
        return False
    ports.storage.delete(key)
    return not _settled(ports, key, tenant, content)


def _settled(ports: Ports, key: str, tenant: str, content: str) -> bool:
    """Put an object that is aside back if it is needed, or forget it. Returns whether it was needed."""
    needed = ports.catalog.needs_blob(tenant, content)
    if needed and not ports.storage.exists(key):
        ports.storage.put(key, ports.storage.get(ASIDE + key))
    ports.storage.delete(ASIDE + key)
    return needed


def _put_back(ports: Ports) -> int:
    """What a sweep that died had aside."""
    removed = 0
    for aside in list(ports.storage.keys(ASIDE)):
        key = aside.removeprefix(ASIDE)
        owner = owner_of_asset if key.startswith("assets/") else owner_of_blob
        try:
            removed += not _settled(ports, key, *owner(key))
        except BlobMissing:  # another sweep was faster
            continue
    return removed
