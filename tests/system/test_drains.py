"""Drains and reloads that come at an awkward moment: while workers start, while they are replaced, while work is cancelled."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from anyio import to_thread

from gristmill.testing.masters import Master
from gristmill.testing.processes import alive, settles
from system.stage import Stage

pytestmark = pytest.mark.anyio
anyio_backend = pytest.fixture(lambda: "asyncio")

SLOW = "import os, signal; os.write(2, b'here\\n'); signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLOW}"


async def test_a_cancel_is_heard_while_a_master_drains(url: str, stage: Stage) -> None:
    """P9: its task ends as cancelled, and then nothing is waited for."""
    with Master(url, workers=1) as master:
        [message] = await stage.begun()
        master.signal(signal.SIGTERM)
        await to_thread.run_sync(master.said, "draining: no new work")
        await stage.broker.cancel([message.id])
        assert await to_thread.run_sync(master.wait) == 0
        assert await stage.states([message]) == [("cancelled", 1)]


@pytest.mark.parametrize(
    ("number", "program"),
    [(signal.SIGTERM, SLOW), (signal.SIGINT, SLOW), (signal.SIGTERM, DEAF)], ids=["TERM", "INT", "TERM is not heard"],
)  # fmt: skip
async def test_a_master_that_is_told_to_stop_does_not_wait_for_workers_to_get_ready(
    url: str, number: int, program: str
) -> None:
    with Master(url, argv=[sys.executable, "-c", program], workers=2, grace=0.0) as master:
        await to_thread.run_sync(master.said, "here", 2)
        master.signal(number)
        assert await to_thread.run_sync(master.wait) == 0
        assert not any(map(alive, master.started()))


async def test_a_master_that_is_told_to_stop_while_it_replaces_starts_nobody_more(url: str, stage: Stage) -> None:
    """The old worker ends what it runs, the new one ends as it is."""
    with Master(url, workers=1) as master:
        [message] = await stage.begun()
        master.signal(signal.SIGHUP)
        await to_thread.run_sync(master.said, "a worker starts", 2)
        master.signal(signal.SIGTERM)
        await to_thread.run_sync(master.said, "draining: no new work")
        stage.open()
        assert await to_thread.run_sync(master.wait) == 0
        assert await stage.told(message) == ("succeeded", 1, 1, 1)
        assert len(master.started()) == 2
        assert not any(map(alive, master.started()))


async def test_a_new_worker_that_cannot_start_leaves_the_old_one_and_its_settings(
    url: str, stage: Stage, tmp_path: Path
) -> None:
    """The one that dies later is replaced by what was known to work."""
    told = tmp_path / "plan.json"
    with Master(url, workers=1, reload=["cat", str(told)]) as master:
        running = await stage.begun()
        [old] = master.workers()
        told.write_text(replace(master.plan, workers=2, argv=[sys.executable, "-c", "raise SystemExit(2)"]).dump())
        master.signal(signal.SIGHUP)
        await to_thread.run_sync(master.said, "the new worker did not start: the old ones stay")
        await settles(lambda: master.workers() == [old])
        os.kill(old, signal.SIGKILL)
        await to_thread.run_sync(master.said, "a worker is ready", 2)
        stage.open()
        await stage.rest(running)
        assert len(master.workers()) == 1
