"""A broker in a file for processes of masters, and the stage for their tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from system.stage import Stage


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


@pytest.fixture
async def broker(url: str) -> AsyncIterator[Broker]:
    async with open_broker(url) as opened:
        yield opened


@pytest.fixture
def stage(tmp_path: Path, broker: Broker) -> Stage:
    return Stage(tmp_path, broker)
