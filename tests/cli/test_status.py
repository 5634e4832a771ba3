"""``gristmill status``: queues, workers, what they run, and that nobody is there although tasks wait."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import anyio

from cli.conftest import Cli
from gristmill.base.settings import load_settings
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Current, End, Heartbeat, Message, Progress, new_message
from gristmill.engine.state import TaskState
from gristmill.wiring import sweep_keys


def broker_of(cli: Cli) -> Broker:
    cli.home.mkdir(exist_ok=True)
    return open_broker(f"sqlite:///{cli.home / 'broker.db'}")


def publish(cli: Cli, *messages: Message) -> None:
    async def step() -> None:
        async with broker_of(cli) as broker:
            await broker.publish(messages)

    anyio.run(step)


def test_tasks_that_nobody_will_take_are_named_with_what_to_do(cli: Cli) -> None:
    publish(cli, new_message("a", queue="ingest"), new_message("b", queue="mail"), new_message("c", queue="mail"))
    told = cli("status", "--json").json
    assert [(one["queue"], one["lag"], one["pending"]) for one in told["queues"]] == [("ingest", 1, 0), ("mail", 2, 0)]
    assert told["workers"] == []
    assert told["unserved"] == ["ingest", "mail"]
    out = cli("status").out
    assert "no worker takes from the queue ingest, where 1 tasks wait: start one with `gristmill worker`" in out
    assert "queue mail, where 2 tasks wait: start one with `gristmill worker --app MODULE:APP --queue mail`" in out


def test_what_waits_for_its_time_misses_nobody(cli: Cli) -> None:
    publish(cli, new_message("a", queue="mail", delay=3600.0))
    told = cli("status", "--json").json
    assert [(one["queued"], one["delayed"]) for one in told["queues"]] == [(0, 1)]
    assert told["unserved"] == []


def at_work(cli: Cli) -> tuple[str, str]:
    """Two workers, of which one runs a task and has not noticed that another one has ended. Returns their ids."""

    async def step() -> tuple[str, str]:
        async with broker_of(cli) as broker:
            await broker.publish([new_message("grind", queue="mail", lane="tenant"), new_message("mill", queue="mail")])
            leases = await broker.reserve(["mail"], worker="task_executor_1", limit=2, lease=600)
            await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in leases if lease.message.task == "mill"])
            [running] = [lease for lease in leases if lease.message.task == "grind"]
            await broker.progress([Progress(running, 0.25, "a sack")])
            now = await broker.now()
            for name, held in (("task_executor_1", leases), ("task_executor_2", [])):
                current = {lease.id: Current(lease.message.task, queue="mail") for lease in held}
                beat = Heartbeat(
                    name, now, now - 90, 1, 0, done=3, failed=2, current=current, ip="10.0.0.7", pid=7, queues=["mail"]
                )
                await broker.beat(beat, timeout=120)
            return running.id, next(lease.id for lease in leases if lease is not running)

    return anyio.run(step)


def test_workers_are_shown_with_what_they_run(cli: Cli) -> None:
    running, _ = at_work(cli)
    one, two = cli("status", "--json").json["workers"]
    [task] = one.pop("current")
    assert (task["id"], task["task"], task["lane"], task["progress"]) == (running, "grind", "tenant", 0.25)
    assert 0 <= task["seconds"] < 600
    assert (one["name"], one["ip"], one["pid"], one["done"], one["failed"]) == ("task_executor_1", "10.0.0.7", 7, 3, 2)
    assert one["queues"] == ["mail"]
    assert (two["name"], two["current"]) == ("task_executor_2", [])


def test_people_see_the_same(cli: Cli) -> None:
    running, ended = at_work(cli)
    out = cli("status").out
    for word in ("task_executor_1", "task_executor_2", "10.0.0.7", "1 min 30 s", "grind", running, "25% a sack"):
        assert word in out
    assert ended not in out
    assert "no worker" not in out


def test_watching_shows_it_again_and_again(cli: Cli) -> None:
    watching = subprocess.Popen(
        [sys.executable, "-m", "gristmill", "--home", str(cli.home), "status", "--json", "--watch", "--every", "0.1"],
        stdout=subprocess.PIPE,
    )
    assert watching.stdout is not None
    with watching.stdout as lines:
        assert [json.loads(lines.readline())["queues"] for _ in range(2)] == [[], []]
        publish(cli, new_message("a"))
        while not json.loads(lines.readline())["queues"]:
            pass
        watching.send_signal(signal.SIGINT)
        lines.read()
    assert watching.wait(60) == 130


def test_the_latest_sweep_is_told(cli: Cli) -> None:
    """The janitor: whichever worker it was."""
    assert cli("status", "--json").json["janitor"] is None

    async def step() -> None:
        async with broker_of(cli) as broker:
            keys = sweep_keys(load_settings(None, home=cli.home), await broker.now())
            await broker.publish([new_message("sweep", key=key) for key in keys])  # of this period, and of those before
            *_, lease = await broker.reserve(["default"], worker="someone", limit=2, lease=600)
            await broker.finish([End(lease, TaskState.SUCCEEDED)])

    anyio.run(step)
    assert cli("status", "--json").json["janitor"]["worker"] == "someone"
    assert "janitor: " in cli("status").out
    assert "by someone" in cli("status").out
