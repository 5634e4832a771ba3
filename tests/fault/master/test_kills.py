"""Whatever below a master is killed or stopped, every task ends, none is lost or done twice, and the master does not grow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import anyio
import psutil
import pytest
from anyio import to_thread

from fault.engine.plan import SEED
from fault.master.kills import Hunter, Kill, plan
from gristmill.brokers import open_broker
from gristmill.testing.bodies import MIB
from gristmill.testing.load import Load
from gristmill.testing.masters import Master
from gristmill.testing.processes import settles

pytestmark = [pytest.mark.anyio, pytest.mark.fault]
anyio_backend = pytest.fixture(lambda: "asyncio")

_environ = os.environ  # noqa: TID251  what `make fault` is asked for
CHOSEN = int(_environ.get("FAULT_SEED", SEED))
KILLS = int(_environ.get("FAULT_KILLS", "500"))  # on each broker
WARM = 50  # kills until the master has its size
BETWEEN = 5  # tasks that end between two strokes: who is struck is at work
STUCK = 300.0  # seconds without an end, after which the tasks that are left are lost
PATIENCE = 7200.0  # seconds for all; a safety
GROWTH = 1 * MIB


@dataclass(frozen=True)
class Size:
    rss: int
    fds: int


@pytest.mark.timeout(PATIENCE)
async def test_random_kills_lose_nothing_and_leave_the_master_as_it_was(
    url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    kills, began = plan(CHOSEN, WARM + KILLS), time.monotonic()
    async with open_broker(url) as broker, anyio.create_task_group() as group:
        load = Load(broker, tmp_path / "ledger", Random(CHOSEN))
        with Master(url, workers=3, slots=2, lease=600.0, timeout=3.0, boot_timeout=30.0) as master:
            await to_thread.run_sync(master.ready)
            hunter = Hunter(master, Random(CHOSEN))
            group.start_soon(load.run)
            warm = next(number for number in range(len(kills)) if sum(one.count for one in kills[:number]) >= WARM)
            before = await _hunted(hunter, load, master, kills[:warm])
            after = await _hunted(hunter, load, master, kills[warm:])
            hunter.bury()
            load.stop()
            while len(load.ended) < len(load.published):
                await _ends(load, 1)
    told = {
        "broker": url.partition(":")[0], "seed": CHOSEN, "kills": dict(sorted(hunter.struck.items())),
        "tasks": len(load.published), "wrong": load.wrong(hunter.excused), "ended by limits": len(load.failures),
        "rss_before": before.rss, "rss_after": after.rss, "fds_before": before.fds, "fds_after": after.fds,
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    record_property("master kills", told)
    assert told["wrong"] == [], f"FAULT_SEED={CHOSEN}: {told}"
    assert after.fds == before.fds
    assert after.rss <= before.rss + GROWTH


async def _hunted(hunter: Hunter, load: Load, master: Master, kills: list[Kill]) -> Size:
    """Strike; then, when all workers are there again and work, the master's size."""
    for kill in kills:
        await _ends(load, BETWEEN)
        await anyio.sleep(kill.pause)  # a part of the plan: nothing waits for it
        await hunter.strike(kill)
    await settles(hunter.whole, timeout=STUCK)
    await _ends(load, 200)
    process = psutil.Process(master.process.pid)
    return Size(process.memory_info().rss, process.num_fds())


async def _ends(load: Load, more: int) -> None:
    """So many more tasks have ended."""
    for _ in range(more):
        try:
            with anyio.fail_after(STUCK):
                await load.ends(1)
        except TimeoutError:
            left = sorted(set(load.published) - set(load.ended))
            pytest.fail(f"FAULT_SEED={CHOSEN}: LOST or STUCK after {len(load.ended)} ends: {left}", pytrace=False)
