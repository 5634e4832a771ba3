"""Real servers for any test: started when first asked for, one of each for a test process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from servers.pool import ServerPool


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerPool]:
    """All servers by name; a missing one skips the test that asks for it, and fails it in CI."""
    with ServerPool(must_have=bool(os.environ.get("CI"))) as pool:  # noqa: TID251  the tests' own switch
        yield pool


@pytest.fixture
def valkey_url(servers: ServerPool) -> str:
    """Valkey 9 with nothing in it."""
    return servers.fresh("valkey-9")


@pytest.fixture
def postgres_url(servers: ServerPool) -> str:
    """PostgreSQL with no row in it; tables of earlier tests may be there, migrated."""
    return servers.fresh("postgres")


@pytest.fixture
def mariadb_url(servers: ServerPool) -> str:
    """MariaDB with no row in it; tables of earlier tests may be there, migrated."""
    return servers.fresh("mariadb")
