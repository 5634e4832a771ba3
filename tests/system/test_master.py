"""Masters and workers as real processes: what every signal does to them, and what becomes of the tasks."""

from __future__ import annotations

import json
import os
import signal
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from anyio import to_thread

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message
from gristmill.engine.state import TaskState
from gristmill.testing import bodies
from gristmill.testing.masters import Master
from gristmill.testing.processes import alive, settles
from gristmill.testing.servers.process import free_port
from gristmill.testing.workers import ends

pytestmark = pytest.mark.anyio
anyio_backend = pytest.fixture(lambda: "asyncio")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


@pytest.fixture
async def broker(url: str) -> AsyncIterator[Broker]:
    async with open_broker(url) as opened:
        yield opened


class Stage:
    """Tasks that begin, and end when the gate is opened."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.ledger, self.gate, self.broker = folder / "ledger", folder / "gate", broker

    async def begun(self, count: int = 1) -> list[Message]:
        messages = [bodies.passes_gate.message(str(self.ledger), str(self.gate)) for _ in range(count)]
        before = len(self.lines("start"))
        await self.broker.publish(messages)
        await settles(lambda: len(self.lines("start")) == before + count)
        return messages

    def open(self) -> None:
        self.gate.touch()

    def lines(self, what: str) -> list[str]:
        if not self.ledger.exists():
            return []
        return [line.split()[1] for line in self.ledger.read_text().splitlines() if line.startswith(what)]

    async def states(self, messages: Sequence[Message]) -> list[tuple[str, int]]:
        found = await self.broker.describe([message.id for message in messages])
        return [(str(one.state), one.attempt) for one in found if one is not None]


@pytest.fixture
def stage(tmp_path: Path, broker: Broker) -> Stage:
    return Stage(tmp_path, broker)


async def code(master: Master) -> int:
    """Its exit code, once it is gone."""
    return await to_thread.run_sync(master.wait)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
async def test_an_idle_master_that_is_told_to_stop_ends_with_0(url: str, number: int) -> None:
    with Master(url, workers=2) as master:
        master.ready().signal(number)
        assert await code(master) == 0
        assert master.told().count("a worker has ended") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
async def test_a_draining_master_lets_tasks_end_that_do_within_the_grace(url: str, stage: Stage, number: int) -> None:
    """P9. And it takes nothing new."""
    with Master(url, workers=2, slots=1) as master:
        running = await stage.begun(2)
        master.signal(number)
        await to_thread.run_sync(master.said, "draining: no new work", 2)
        late = bodies.add.message(1, 2)
        await stage.broker.publish([late])
        stage.open()
        assert await code(master) == 0
        assert await stage.states([*running, late]) == [("succeeded", 1), ("succeeded", 1), ("queued", 0)]


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]],
    ids=["INT", "TERM twice", "TERM INT"],
)  # fmt: skip
async def test_a_master_in_a_hurry_hands_back_uncounted(url: str, stage: Stage, signals: list[int]) -> None:
    """P9."""
    with Master(url, workers=1) as master:
        running = await stage.begun()
        for number in signals:
            master.signal(number)
            await to_thread.run_sync(master.said, "stopping", signals.index(number) + 1)
        assert await code(master) == 0
        assert await stage.states(running) == [("queued", 0)]


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


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2], ids=["HUP", "USR2"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_workers_are_replaced_one_by_one_and_nothing_is_lost(
    url: str, stage: Stage, number: int, busy: bool
) -> None:
    with Master(url, workers=2, slots=1) as master:
        await to_thread.run_sync(master.ready)
        before = master.workers()
        running = await stage.begun(2) if busy else []
        master.signal(number)
        await to_thread.run_sync(master.said, "a worker is ready", 3)
        stage.open()
        await to_thread.run_sync(master.said, "a worker has ended", 2)
        await to_thread.run_sync(master.said, "a worker is ready", 4)
        assert await stage.states(running) == [("succeeded", 1)] * len(running)
        assert len(master.workers()) == 2
        assert not set(before) & set(master.workers())
        assert (await ends(stage.broker, [await _published(stage.broker)]))[0].state is TaskState.SUCCEEDED


async def test_ttin_and_ttou_make_one_worker_more_and_one_less(url: str) -> None:
    with Master(url, workers=1) as master:
        await to_thread.run_sync(master.ready)
        master.signal(signal.SIGTTIN)
        await to_thread.run_sync(master.said, "a worker is ready", 2)
        assert len(master.workers()) == 2
        for number in (1, 2):  # never less than one
            master.signal(signal.SIGTTOU)
            await to_thread.run_sync(master.said, "one worker less", number)
        await to_thread.run_sync(master.said, "a worker has ended")
        assert len(master.workers()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP], ids=["KILL", "SEGV", "STOP"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_what_a_dead_or_silent_worker_held_runs_again_at_once(
    url: str, stage: Stage, number: int, workers: int
) -> None:
    """P1: by what the master knows, not by the lease, which is ten minutes here."""
    health = f"127.0.0.1:{free_port()}"
    with Master(url, workers=workers, lease=600.0, timeout=2.0, health=health) as master:
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
        assert ("silent" in died["how"]) == (number == signal.SIGSTOP)


async def test_a_hung_loop_leaves_its_stacks_in_the_log(url: str, stage: Stage, tmp_path: Path) -> None:
    with Master(url, workers=1, timeout=1.0, app="gristmill.testing.bodies:app") as master:
        await to_thread.run_sync(master.ready)
        [worker] = master.workers()
        os.kill(worker, signal.SIGABRT)
        await to_thread.run_sync(master.said, "a worker died")
        assert any(event.startswith(("Current thread", "Thread")) for event in master.told())


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


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU], ids=["HUP", "TTIN", "TTOU"])
async def test_what_a_master_hears_does_nothing_to_a_worker(url: str, stage: Stage, number: int) -> None:
    with Master(url, workers=1) as master:
        running = await stage.begun()
        [worker] = master.workers()
        os.kill(worker, number)
        stage.open()
        await ends(stage.broker, running)
        assert master.workers() == [worker]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT], ids=["TERM", "QUIT", "INT"])
async def test_a_worker_that_is_told_to_stop_is_replaced_and_its_task_ends_elsewhere(
    url: str, stage: Stage, number: int
) -> None:
    with Master(url, workers=1, grace=0.2) as master:
        running = await stage.begun()
        os.kill(master.workers()[0], number)
        await settles(lambda: len(stage.lines("start")) == 2)
        stage.open()
        [record] = await ends(stage.broker, running)
        assert (record.state, record.attempt) == (TaskState.SUCCEEDED, 1)


async def test_when_the_master_is_killed_its_workers_drain(url: str, stage: Stage) -> None:
    """Nothing runs on without anybody who watches it, and nothing is lost."""
    with Master(url, workers=1) as master:
        running = await stage.begun()
        [worker] = master.workers()
        master.process.kill()
        await to_thread.run_sync(master.said, "the master is gone: draining")
        stage.open()
        await settles(lambda: not alive(worker))
        assert await stage.states(running) == [("succeeded", 1)]


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
