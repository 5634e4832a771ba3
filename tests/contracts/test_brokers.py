"""The broker contract over every registered broker."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.base.clock import Clock
from gristmill.brokers import BROKERS, open_broker
from gristmill.engine.broker import Broker
from gristmill.testing.brokers import BrokerContract


@pytest.mark.parametrize("name", [name for name in BROKERS.names() if name != "redis"])  # that one needs a server
class TestContract(BrokerContract):
    @pytest.fixture
    def make_broker(self, name: str, tmp_path: Path) -> Callable[[Clock], Broker]:
        url = {"memory": "memory://", "sql": f"sqlite:///{tmp_path / 'broker.db'}"}.get(name, f"{name}://")
        return lambda clock: open_broker(url, clock=clock)


def test_a_broker_registered_by_an_entry_point_gets_the_contract_for_nothing() -> None:
    code = f"""
import sys, pytest
sys.path.insert(0, {str(Path(__file__).parent / "plugin")!r})
chosen = "sample and asyncio and (key or last)"
sys.exit(pytest.main([{__file__!r}, "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-k", chosen]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^[5-9] passed|^\d\d passed", ran.stdout, re.MULTILINE), ran.stdout
