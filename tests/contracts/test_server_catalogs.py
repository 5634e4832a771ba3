"""The catalog contract over PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.catalogs.sql.catalog import SqlCatalog
from gristmill.ports.catalog import Catalog
from gristmill.testing.catalogs import CatalogContract
from gristmill.testing.clock import FakeClock
from gristmill.testing.generations import GenerationContract
from servers.pool import PLAIN, ServerPool


@pytest.fixture(params=["postgres", "mariadb"])
def url(request: pytest.FixtureRequest, servers: ServerPool) -> str:
    """A database without rows."""
    return servers.fresh(request.param) + PLAIN[request.param]


class Server:
    @pytest.fixture
    def catalog(self, url: str, clock: FakeClock) -> Iterator[Catalog]:
        catalog = SqlCatalog(url, clock=clock)
        yield catalog
        catalog.close()


class TestServerDocuments(Server, CatalogContract): ...


class TestServerGenerations(Server, GenerationContract): ...
