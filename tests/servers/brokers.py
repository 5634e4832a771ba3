"""Every broker that we promise, by the name of its server."""

from __future__ import annotations

from pathlib import Path

from servers.pool import ServerPool

EMBEDDED = ("memory", "sqlite")
SERVERS = ("valkey-9", "postgres", "mariadb")  # with the whole contract on every back end of anyio
VERSIONS = ("valkey-8", "redis-8", "redis-7", "redis-6", "cluster", "sentinel")  # the same code on other servers


def broker_url(name: str, servers: ServerPool, folder: Path) -> str:
    """Where this broker is, with nothing in it."""
    embedded = {"memory": "memory://", "sqlite": f"sqlite:///{folder / 'broker.db'}"}
    return embedded.get(name) or servers.fresh(name)
