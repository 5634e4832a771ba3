"""The contract of brokers: what the port's docstrings promise, one test for each promise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from gristmill.base.clock import Clock
from gristmill.engine.broker import Broker
from gristmill.testing.brokers.holding import CancelContract, LeaseContract
from gristmill.testing.brokers.limits import CapContract, RateContract
from gristmill.testing.brokers.looking import HouseContract, NoticeContract, RecordContract
from gristmill.testing.brokers.publishing import OrderContract, PublishContract
from gristmill.testing.brokers.waiting import WaitContract
from gristmill.testing.clock import FakeClock


@pytest.mark.anyio
class BrokerContract(
    PublishContract,
    OrderContract,
    WaitContract,
    LeaseContract,
    CancelContract,
    RecordContract,
    NoticeContract,
    HouseContract,
    CapContract,
    RateContract,
):
    """What every broker guarantees, on every back end of anyio that it names in ``backends``."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def make_broker(self) -> Callable[[Clock], Broker]:
        raise NotImplementedError(
            "override this fixture: it makes the broker under test, fresh and not opened, by a clock"
        )

    @pytest.fixture
    async def broker(
        self, make_broker: Callable[[Clock], Broker], clock: FakeClock, anyio_backend_name: str
    ) -> AsyncIterator[Broker]:
        made = make_broker(clock)
        if anyio_backend_name not in made.backends:
            pytest.skip(f"this broker does not run on {anyio_backend_name}")
        async with made as broker:
            yield broker
