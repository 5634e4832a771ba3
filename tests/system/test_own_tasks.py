"""The tasks of the page about own tasks, on a broker of each kind: results, progress, cancel, retry, rates, lanes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from docs.blocks import ROOT, blocks
from gristmill.base.errors import TaskCancelled, TaskDead
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.testing.workers import working
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "howto" / "tasks.md"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def mill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The page's module, importable here and in runners."""
    [code] = [block.text for block in blocks(PAGE) if block.title == "mill_tasks.py"]
    (tmp_path / "mill_tasks.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    yield importlib.import_module("mill_tasks")
    del sys.modules["mill_tasks"]


@pytest.fixture(params=["memory", "sqlite", "valkey-9", "postgres"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path, servers: ServerPool) -> AsyncIterator[Broker]:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/broker.db"}.get(request.param, "")
    url = url or await anyio.to_thread.run_sync(servers.fresh, request.param)
    async with open_broker(url) as broker:
        yield broker


async def test_everything_that_the_page_says_holds(mill: Any, broker: Broker) -> None:
    with anyio.fail_after(100):
        async with (
            working(broker, "mill_tasks:app", queues=["default", "mill"], slots=2, lane_limit=1) as worker,
            mill.app.connected(broker),
        ):
            assert await (await mill.add.submit(4, 5)).result() == 9
            assert await (await mill.grind.submit("rye", 2)).result() == mill.Flour("rye", 2)
            assert await (await mill.deliver.submit("Bree")).result() == "delivered to Bree"
            assert [await (await mill.order.submit(name)).result() for name in "ab"] == [
                "ordered from a",
                "ordered from b",
            ]
            with pytest.raises(TaskDead, match="TypeError"):
                await (await mill.add.submit(1, None)).result()
            stopped = await mill.grind.submit("wheat", 1000)
            async for record in stopped.watch():
                if record.progress_data == {"grain": "wheat"}:
                    await stopped.cancel("enough")
                    break
            with pytest.raises(TaskCancelled):
                await stopped.result()
            assert worker.done >= 5


async def test_a_lane_has_no_more_tasks_running_than_its_limit(mill: Any, broker: Broker) -> None:
    """With slots for four: two of a lane follow each other, while another lane's runs beside them."""
    with anyio.fail_after(100):
        async with (
            working(broker, "mill_tasks:app", queues=["mill"], slots=4, lane_limit=1),
            mill.app.connected(broker),
        ):
            handles = [await mill.grind.options(lane=lane).submit("rye", 2) for lane in ("a", "a", "b")]
            for handle in handles:
                await handle.result()
            first, second, _ = sorted(
                [await handle.record() for handle in handles], key=lambda one: (one.message.lane, one.started or 0)
            )
            assert (first.ended or 0) <= (second.started or 0)


async def test_the_periodic_tasks_are_published_by_a_worker(mill: Any, broker: Broker) -> None:
    with anyio.fail_after(100):
        async with broker.notices() as notices, working(broker, "mill_tasks:app", queues=["default"], slots=1):
            async for notice in notices:
                [record] = await broker.describe([notice.id])
                if record is not None and record.message.task == "mill_tasks.sweep" and record.state.final:
                    break
    assert len([one for one in await broker.tasks() if one.message.task == "mill_tasks.sweep"]) == 1
