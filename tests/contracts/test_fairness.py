"""A long queue of one tenant keeps nobody waiting (P14): counted in claims, so the same on every machine and every broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, new_message
from gristmill.testing.clock import FakeClock
from servers.brokers import EMBEDDED, SERVERS, broker_url
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

MANY, FEW = 1_000, 10


@pytest.fixture
def anyio_backend() -> str:
    """Turns are the broker's affair: no back end has a say in them."""
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=[*EMBEDDED, *SERVERS])
async def broker(
    request: pytest.FixtureRequest, servers: ServerPool, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Broker]:
    async with open_broker(broker_url(request.param, servers, tmp_path), clock=clock) as opened:
        yield opened


async def publish(broker: Broker, count: int, lane: str, **fields: object) -> list[Message]:
    messages = [new_message("task", number, lane=lane, **fields) for number in range(count)]
    assert all(await broker.publish(messages))
    return messages


async def claims(broker: Broker, limit: int, count: int, *, together: int = 1) -> list[str]:
    """The lanes of the next so many claims at least, in order: this many workers ask for so much at a time."""
    lanes: list[str] = []

    async def claim(worker: str) -> None:
        while len(lanes) < count:
            leases = await broker.reserve(["default"], worker=worker, limit=limit, lease=60.0, wait=0)
            if not leases:
                return
            lanes.extend(lease.message.lane for lease in leases)

    async with anyio.create_task_group() as workers:
        for number in range(together):
            workers.start_soon(claim, f"w{number}")
    return lanes


@pytest.mark.parametrize(("limit", "together"), [(1, 1), (3, 1), (32, 1), (1, 4), (4, 2)])
async def test_a_small_tenant_gets_every_second_claim(broker: Broker, limit: int, together: int) -> None:
    await publish(broker, MANY, "large")
    assert await claims(broker, 7, 7) == ["large"] * 7
    await publish(broker, FEW, "small")
    lanes = await claims(broker, limit, 2 * FEW + together * limit, together=together)
    last = max(number for number, lane in enumerate(lanes) if lane == "small")
    assert lanes.count("small") == FEW
    assert last < 2 * FEW + together * limit


async def test_every_tenant_is_served_before_any_is_served_twice(broker: Broker) -> None:
    await publish(broker, MANY // 2, "large")
    for number in range(20):
        await publish(broker, 2, f"small {number}")
    rounds = await claims(broker, 21, 42)
    assert len(set(rounds[:21])) == len(set(rounds[21:42])) == 21


async def test_what_comes_back_takes_its_lanes_turn_not_anothers(broker: Broker, clock: FakeClock) -> None:
    """A worker that dies again and again over the tasks of one tenant takes nothing from the others."""
    await publish(broker, 4, "poison", max_attempts=50)
    await publish(broker, FEW, "good")
    seen: list[str] = []
    for _ in range(FEW):
        seen += await claims(broker, 2, 2)
        clock.move(61.0)
        await broker.reclaim()
    assert seen.count("good") == seen.count("poison") == FEW


async def test_a_capped_tenant_leaves_its_share_to_the_others(broker: Broker) -> None:
    await publish(broker, 50, "large")
    await publish(broker, 20, "small")
    leases = await broker.reserve(["default"], worker="w", limit=12, lease=60.0, wait=0, per_lane=4)
    assert sorted(lease.message.lane for lease in leases) == ["large"] * 4 + ["small"] * 4


async def test_what_is_too_late_to_start_costs_its_lane_no_turn(broker: Broker, clock: FakeClock) -> None:
    await publish(broker, 50, "late", deadline=5.0)
    clock.move(6.0)
    await publish(broker, 50, "large")
    await publish(broker, 2, "late")
    assert (await claims(broker, 2, 4))[:4].count("late") == 2
