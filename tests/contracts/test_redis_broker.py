"""The broker contract on Valkey and Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gristmill.base.clock import Clock
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.testing.brokers import BrokerContract


class TestValkey(BrokerContract):
    @pytest.fixture
    def make_broker(self, valkey_url: str) -> Callable[[Clock], Broker]:
        return lambda clock: open_broker(valkey_url, clock=clock)
