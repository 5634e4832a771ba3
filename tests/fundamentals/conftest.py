"""Each file here shows one thing that the engine does, with one worker and the tasks of ``gristmill.testing.bodies``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gristmill.engine.broker import Broker
from gristmill.engine.client import Client
from gristmill.testing import bodies
from gristmill.testing.workers import working


@pytest.fixture
async def client(memory_broker: Broker, no_child_left: None) -> AsyncIterator[Client]:
    """The app is connected, and a worker with two slots is at work."""
    async with bodies.app.connected(memory_broker) as connected, working(memory_broker, slots=2):
        yield connected
