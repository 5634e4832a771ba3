"""The broker contract, and any order of steps, over every server that we promise to work with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.base.clock import Clock
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.testing.brokers import BrokerContract, check
from servers.brokers import SERVERS, VERSIONS
from servers.pool import ServerPool


class ServerContract(BrokerContract):
    @pytest.fixture
    def make_broker(self, name: str, servers: ServerPool) -> Callable[[Clock], Broker]:
        url = servers.fresh(name)
        return lambda clock: open_broker(url, clock=clock)


@pytest.mark.parametrize("name", SERVERS)
class TestServers(ServerContract):
    """The whole contract on every back end of anyio."""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", VERSIONS)
class TestVersions(ServerContract):
    """What differs is only the server, so one back end is enough."""


EXAMPLES = {"valkey-9": 12}


@pytest.mark.parametrize(
    ("name", "backend"), [(name, "asyncio") for name in SERVERS + VERSIONS] + [(name, "trio") for name in SERVERS]
)
def test_a_server_keeps_its_promises_in_any_order_over_restarts(servers: ServerPool, name: str, backend: str) -> None:
    """P1, P2, P3."""
    begun: set[Path] = set()

    def opener(folder: Path, clock: Clock) -> Broker:
        url = servers.url(name) if folder in begun else servers.fresh(name)
        begun.add(folder)
        return open_broker(url, clock=clock)

    check(opener, durable=True, backend=backend, examples=EXAMPLES.get(name, 4) if backend == "asyncio" else 2)
