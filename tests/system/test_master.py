"""Masters and workers as real processes: what every signal does to them, and what becomes of the tasks."""

from __future__ import annotations

import json
import os
import signal
import tracemalloc
from pathlib import Path

import pytest
from anyio import to_thread

from gristmill.engine.broker import Broker
from gristmill.engine.message import Message
from gristmill.engine.state import TaskState
from gristmill.testing import bodies
from gristmill.testing.hang import HANG
from gristmill.testing.masters import Master
from gristmill.testing.processes import settles
from gristmill.testing.servers.process import free_port
from gristmill.testing.workers import ends
from system.stage import Stage

pytestmark = pytest.mark.anyio
anyio_backend = pytest.fixture(lambda: "asyncio")


async def code(master: Master) -> int:
    """Its exit code, once it is gone."""
    return await to_thread.run_sync(master.wait)


async def test_a_draining_master_lets_tasks_end_that_do_within_the_grace(url: str, stage: Stage) -> None:
    """P9. And it takes nothing new."""
    with Master(url, workers=2, slots=1) as master:
        running = await stage.begun(2)
        master.signal(signal.SIGTERM)
        await to_thread.run_sync(master.said, "draining: no new work", 2)
        late = bodies.add.message(1, 2)
        await stage.broker.publish([late])
        stage.open()
        assert await code(master) == 0
        assert await stage.states([*running, late]) == [("succeeded", 1), ("succeeded", 1), ("queued", 0)]


async def test_what_does_not_end_within_the_grace_is_handed_back_uncounted(url: str, stage: Stage) -> None:
    """P9."""
    with Master(url, workers=1, grace=0.2) as master:
        running = await stage.begun()
        master.signal(signal.SIGTERM)
        assert await code(master) == 0
        assert await stage.states(running) == [("queued", 0)]


async def test_a_hung_worker_of_a_draining_master_is_killed_and_its_tasks_go_back(url: str, stage: Stage) -> None:
    """P1: nobody waits for its lease."""
    with Master(url, workers=1, grace=0.2) as master:
        running = await stage.begun()
        [worker] = master.workers()
        os.kill(worker, signal.SIGSTOP)
        master.signal(signal.SIGTERM)
        assert await code(master) == 0
        assert await stage.states(running) == [("queued", 1)]


async def test_workers_are_replaced_one_by_one_and_nothing_is_lost(url: str, stage: Stage) -> None:
    with Master(url, workers=2, slots=1) as master:
        await to_thread.run_sync(master.ready)
        before = master.workers()
        running = await stage.begun(2)
        master.signal(signal.SIGHUP)
        await to_thread.run_sync(master.said, "a worker is ready", 3)
        stage.open()
        await to_thread.run_sync(master.said, "a worker has ended", 2)
        await to_thread.run_sync(master.said, "a worker is ready", 4)
        assert await stage.states(running) == [("succeeded", 1)] * len(running)
        assert len(master.workers()) == 2
        assert not set(before) & set(master.workers())
        assert (await ends(stage.broker, [await _published(stage.broker)]))[0].state is TaskState.SUCCEEDED


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGKILL, 2), (signal.SIGSTOP, 1), (HANG, 2)], ids=["KILL", "STOP", "a loop that hangs"],
)  # fmt: skip
async def test_what_a_dead_or_silent_worker_held_runs_again_at_once(
    url: str, stage: Stage, number: int, workers: int
) -> None:
    """P1: by what the master knows, not by the lease, which is ten minutes here. The log names the tasks."""
    health, hooks = f"127.0.0.1:{free_port()}", "gristmill.testing.hang"
    with Master(url, workers=workers, lease=600.0, timeout=5.0, health=health, hooks=hooks) as master:
        await to_thread.run_sync(master.ready)
        [message] = await stage.begun()
        [record] = await stage.broker.describe([message.id])
        assert record is not None
        line = next(line for line in master.log if line.get("worker") == record.worker and "worker_pid" in line)
        knows = f'gristmill_worker_running{{pid="{line["worker_pid"]}"}} 1'
        await settles(lambda: knows in master.probe("/metrics")[1])
        os.kill(line["worker_pid"], number)
        await settles(lambda: len(stage.lines("start")) == 2)
        stage.open()
        [record] = await ends(stage.broker, [message])
        assert (record.state, record.attempt) == (TaskState.SUCCEEDED, 2)
        died = await to_thread.run_sync(lambda: master.said("a worker died"))
        assert died["held"] == [message.id]
        assert ("silent" in died["how"]) == (number != signal.SIGKILL)
        if number == HANG:
            assert "in _hang" in "".join(master.told()), "its stacks are in the log"


async def test_a_worker_that_cannot_start_ends_the_master_with_the_reason(url: str) -> None:
    with Master(url, app="no.such.module:app") as master:
        assert await code(master) == 2
        assert any("no.such.module" in line.get("error", "") for line in master.log)


async def test_a_workers_memory_is_traced_on_usr1_and_no_more_on_usr2(url: str, tmp_path: Path) -> None:
    with Master(url, workers=1, traces=str(tmp_path / "traces")) as master:
        await to_thread.run_sync(master.ready)
        [worker] = master.workers()
        os.kill(worker, signal.SIGUSR1)
        line = await to_thread.run_sync(master.said, "memory snapshot written")
        assert Path(line["path"]).name.startswith(f"{worker}_snapshot_")
        assert tracemalloc.Snapshot.load(line["path"]).statistics("filename")
        assert line["max_rss_mb"] > 10
        os.kill(worker, signal.SIGUSR2)
        await to_thread.run_sync(master.said, "tracemalloc stopped")


async def test_a_worker_that_is_told_to_stop_is_replaced_and_its_task_ends_elsewhere(url: str, stage: Stage) -> None:
    """Past its master, which starts the successor while the old one drains: nothing died, and nobody waits."""
    with Master(url, workers=1, grace=0.2) as master:
        running = await stage.begun()
        os.kill(master.workers()[0], signal.SIGTERM)
        await to_thread.run_sync(master.said, "a worker drains")
        assert (await to_thread.run_sync(master.said, "a worker has ended"))["how"] == "exit code 0"
        await settles(lambda: len(stage.lines("start")) == 2)
        stage.open()
        [record] = await ends(stage.broker, running)
        assert (record.state, record.attempt) == (TaskState.SUCCEEDED, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes process namespaces")
async def test_as_the_first_process_of_a_container_it_reaps_orphans_and_drains(url: str, stage: Stage) -> None:
    with Master(url, workers=1, first=True, health=f"127.0.0.1:{free_port()}") as master:
        await to_thread.run_sync(master.ready)
        orphans = bodies.leaves_orphans.message(1000)
        await stage.broker.publish([orphans])
        await ends(stage.broker, [orphans])
        await settles(lambda: json.loads(master.probe("/health")[1])["orphans"] == 1000)
        running = await stage.begun()
        master.signal(signal.SIGTERM)
        await to_thread.run_sync(master.said, "draining: no new work")
        stage.open()
        assert await code(master) == 0
        assert await stage.states(running) == [("succeeded", 1)]


async def test_probes_tell_health_readiness_and_numbers(url: str, stage: Stage) -> None:
    with Master(url, workers=1, health=f"127.0.0.1:{free_port()}") as master:
        await stage.begun()
        await settles(lambda: master.probe("/ready")[0] == 200)
        assert master.probe("/health")[0] == 200
        await settles(lambda: "gristmill_worker_running" in master.probe("/metrics")[1])
        assert master.probe("/nothing")[0] == 404
        master.signal(signal.SIGTERM)
        await to_thread.run_sync(master.said, "stopping")
        assert master.probe("/ready")[0] == 503
        assert master.probe("/health")[0] == 200
        stage.open()
        assert await code(master) == 0


async def _published(broker: Broker) -> Message:
    message = bodies.add.message(1, 2)
    await broker.publish([message])
    return message
