"""Rolling replacements under constant load: every task runs once, and to its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import pytest
from anyio import to_thread

from fault.master.test_kills import CHOSEN, PATIENCE
from gristmill.brokers import open_broker
from gristmill.testing.load import Load, replace_all
from gristmill.testing.masters import Master

pytestmark = [pytest.mark.anyio, pytest.mark.fault]
anyio_backend = pytest.fixture(lambda: "asyncio")

REPLACEMENTS = int(os.environ.get("FAULT_REPLACEMENTS", "100"))  # noqa: TID251  what `make fault` is asked for


@pytest.mark.timeout(PATIENCE)
async def test_rolling_replacements_lose_nothing_and_run_nothing_twice(
    url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    async with open_broker(url) as broker, anyio.create_task_group() as group:
        load = Load(broker, tmp_path / "ledger", Random(CHOSEN))
        with Master(url, workers=2, slots=2, lease=600.0) as master:
            await to_thread.run_sync(master.ready)
            group.start_soon(load.run)
            for _ in range(REPLACEMENTS):
                await load.ends(5)
                await replace_all(master)
            load.stop()
            while len(load.ended) < len(load.published):
                await load.ends(1)
    ledger = load.ledger()
    twice = [one for one in load.published if len(ledger.begun[one]) != 1]
    told = {
        "broker": url.partition(":")[0], "seed": CHOSEN, "replacements": REPLACEMENTS, "tasks": len(load.published),
        "wrong": load.wrong(), "begun not once": twice, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    record_property("replacements", told)
    assert (told["wrong"], twice) == ([], []), f"FAULT_SEED={CHOSEN}: {told}"
    assert {record.attempt for record in load.ended.values()} == {1}
