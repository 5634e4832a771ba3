"""The pytest plug-in: fixtures for tests of anything that runs on Gristmill's engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.broker import Broker
from gristmill.testing.processes import children


@pytest.fixture
async def memory_broker() -> AsyncIterator[Broker]:
    """A fresh broker that lives as long as the test."""
    async with MemoryBroker() as broker:
        yield broker


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """Fails when the test left a child process of its own behind."""
    before = children()
    yield
    left = children() - before
    assert not left, f"processes left behind: {sorted(left)}"
