"""The broker contract over every registered broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.base.clock import Clock
from gristmill.brokers import BROKERS, open_broker
from gristmill.engine.broker import Broker
from gristmill.testing.brokers import BrokerContract


@pytest.mark.parametrize("name", BROKERS.names())
class TestContract(BrokerContract):
    @pytest.fixture
    def make_broker(self, name: str, tmp_path: Path) -> Callable[[Clock], Broker]:
        url = {"memory": "memory://", "sql": f"sqlite:///{tmp_path / 'broker.db'}"}.get(name, f"{name}://")
        return lambda clock: open_broker(url, clock=clock)
