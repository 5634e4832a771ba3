"""The brokers that masters are struck on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fault.engine.arenas import ARENAS
from gristmill.testing.servers import ServerMissing


@pytest.fixture(params=["sqlite", "valkey-9"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with ExitStack() as stack:
        try:
            arena = stack.enter_context(ARENAS[request.param]())
        except ServerMissing as exc:
            pytest.skip(str(exc))
        yield arena.url()
