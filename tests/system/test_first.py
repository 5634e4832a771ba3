"""A master as the first process of a container: whoever dies below it is waited for, and its exit code is the container's."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from anyio import to_thread

from gristmill.brokers import open_broker
from gristmill.engine.state import TaskState
from gristmill.testing import bodies
from gristmill.testing.masters import Master
from gristmill.testing.processes import settles
from gristmill.testing.servers.process import free_port
from gristmill.testing.workers import run

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes process namespaces"),
]
anyio_backend = pytest.fixture(lambda: "asyncio")


def below(process: psutil.Process) -> list[psutil.Process]:
    return sorted(process.children(), key=lambda one: one.pid)


async def test_runners_and_workers_that_die_leave_no_zombies(tmp_path: Path) -> None:
    """A dead worker's nursery and runner have lost their parent: they are the first process's to reap."""
    url = f"sqlite:///{tmp_path}/tasks.db"
    async with open_broker(url) as broker:
        with Master(url, workers=1, first=True, health=f"127.0.0.1:{free_port()}") as master:
            await to_thread.run_sync(master.ready)
            await run(broker, bodies.add.message(1, 2))
            [first] = below(psutil.Process(master.process.pid))
            [worker] = below(first)
            [nursery] = below(worker)
            [runner] = below(nursery)
            runner.kill()
            await settles(lambda: not runner.is_running())  # its nursery has waited for it
            assert (await run(broker, bodies.add.message(3, 4))).state is TaskState.SUCCEEDED
            worker.kill()
            await settles(lambda: json.loads(master.probe("/health")[1])["orphans"] == 2)
            await to_thread.run_sync(master.said, "a worker is ready", 2)
            assert (await run(broker, bodies.add.message(5, 6))).state is TaskState.SUCCEEDED
            assert [one for one in first.children(recursive=True) if one.status() == psutil.STATUS_ZOMBIE] == []
            master.signal(signal.SIGINT)
            assert await to_thread.run_sync(master.wait) == 0


async def test_the_exit_code_is_passed_on(tmp_path: Path) -> None:
    with Master(f"sqlite:///{tmp_path}/tasks.db", app="no.such.module:app", first=True) as master:
        assert await to_thread.run_sync(master.wait) == 2
