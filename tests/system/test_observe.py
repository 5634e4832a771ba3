"""What masters, workers and runners show of themselves, as real processes: metrics, stacks, snapshots, traces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from anyio import to_thread
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message
from gristmill.engine.stacks import ask
from gristmill.testing import bodies
from gristmill.testing.masters import Master
from gristmill.testing.processes import children, settles
from gristmill.testing.servers.process import free_port
from gristmill.testing.workers import BODIES, ends, said
from system.commands import Commands, line_with

pytestmark = pytest.mark.anyio
anyio_backend = pytest.fixture(lambda: "asyncio")


class Metrics:
    """What the master says now, by name and labels; the sum over those with the labels that are given."""

    def __init__(self, master: Master) -> None:
        self.code, text = master.probe("/metrics")
        families = text_string_to_metric_families(text)
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        found = [
            one.value
            for one in self.samples
            if one.name == f"gristmill_{name}" and labels.items() <= one.labels.items()
        ]
        return sum(found)


async def test_what_workers_and_runners_count_is_added_up_over_the_living_and_the_dead(
    url: str, broker: Broker
) -> None:
    """Bodies count their stages in runners; a killed worker takes away nothing that was told."""

    async def run(count: int) -> None:
        await broker.publish(messages := [bodies.fails_in_a_stage.message() for _ in range(count)])
        await ends(broker, messages)

    with Master(url, workers=1, health=f"127.0.0.1:{free_port()}") as master:
        await to_thread.run_sync(master.ready)
        await run(2)
        await settles(lambda: Metrics(master)("tasks_total", task="gristmill.testing.bodies.fails_in_a_stage") == 4)
        os.kill(master.workers()[0], signal.SIGKILL)
        await to_thread.run_sync(master.said, "a worker is ready", 2)
        assert Metrics(master)("tasks_total", outcome="error") == 4
        await run(1)
        await settles(lambda: Metrics(master)("tasks_total", outcome="error") == 6)
        found = Metrics(master)
        assert found("stage_seconds_count", stage="stage 1") == found("stage_seconds_count", stage="stage 2") == 3
        assert found("task_seconds_count") == found("task_seconds_bucket", le="+Inf") == 6
        assert (found("task_retries_total"), found("dead_letters_total")) == (3, 3)
        assert (found("worker_exits_total", reason="signal"), found("worker_starts_total")) == (1, 2)
        assert found("workers", state="ready") == found("workers_wanted") == 1
        await broker.publish([message := bodies.add.message(1, 2)])
        await ends(broker, [message])
        os.kill(master.workers()[0], signal.SIGTERM)
        await to_thread.run_sync(master.said, "a worker has ended")
        await settles(lambda: Metrics(master)("worker_exits_total", reason="told") == 1)
        assert Metrics(master)("tasks_total", outcome="ok") == 1


async def test_metrics_answer_while_all_workers_hang_and_tell_how_long_the_queues_were(
    url: str, broker: Broker
) -> None:
    with Master(url, workers=1, health=f"127.0.0.1:{free_port()}") as master:
        await to_thread.run_sync(master.ready)
        later = [Message(id=str(number), task="nobody.knows", queue="mail") for number in range(7)]
        await broker.publish(later)
        await settles(lambda: Metrics(master)("queue_lag", queue="mail") == 7)
        [worker] = master.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            found = Metrics(master)
            assert (found.code, found("queue_lag", queue="mail"), found("workers_wanted")) == (200, 7, 1)
            code, looks = await to_thread.run_sync(stacks, str(worker))
            assert code == 1
            assert "its state is T" in looks[worker]["error"]
        finally:
            os.kill(worker, signal.SIGCONT)


def stacks(*words: str) -> tuple[int, dict[int, dict[str, Any]]]:
    """What ``debug stacks`` says of each process."""
    command = [sys.executable, "-m", "gristmill", "debug", "stacks", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return done.returncode, {look["pid"]: look for look in json.loads(done.stdout)["processes"]}


class TestStacks:
    async def test_a_master_and_all_below_it_tell_where_they_are_and_what_they_run(
        self, url: str, broker: Broker
    ) -> None:
        with Master(url, workers=1, health=f"127.0.0.1:{free_port()}") as master:
            await to_thread.run_sync(master.ready)
            messages = [bodies.counts.message(), bodies.counts_async.message()]
            await broker.publish(messages)
            for message in messages:
                await said(broker, message, "counted")
            # What bodies count comes while they run, when they tell of progress.
            await settles(lambda: Metrics(master)("stage_seconds_count", stage="counted") == 2)
            code, looks = await to_thread.run_sync(stacks, "--all", str(master.process.pid))
            assert (code, set(looks)) == (0, {master.process.pid} | children(master.process.pid))
            roles = {look["role"]: look for look in looks.values()}
            found = sorted(look["role"] for look in looks.values())
            assert found == ["master", "nursery", "runner", "runner", "worker"]
            for one in ("master", "worker"):
                assert all(message.id in "".join(roles[one]["tasks"]) for message in messages)
            assert "supervisor.py" in roles["master"]["stack"]
            runners = ["".join(one["tasks"]) + one["stack"] for one in looks.values() if one["role"] == "runner"]
            for message, place in zip(messages, ("in counts\n", "in counts_async"), strict=True):
                assert [message.id in text for text in runners].count(True) == 1
                assert any(message.id in text and place in text for text in runners)
            records = await broker.describe([message.id for message in messages])
            assert [str(record.state) for record in records if record is not None] == ["running", "running"]

    async def test_a_runner_that_never_comes_back_from_c_code_tells_too(self, url: str, broker: Broker) -> None:
        """Its keeper knows what it runs."""
        with Master(url, workers=1) as master:
            await to_thread.run_sync(master.ready)
            await broker.publish([message := bodies.never_ends.message("c_loop")])
            runner = await to_thread.run_sync(_hangs, master.process.pid)
            code, looks = await to_thread.run_sync(stacks, str(runner))
            assert (code, looks[runner]["role"]) == (0, "runner")
            assert "in c_loop" in looks[runner]["stack"]
            assert message.id in looks[runner]["tasks"][0]

    def test_what_is_none_of_ours_is_left_alone(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            code, looks = stacks(str(other.pid))
            assert (code, looks[other.pid]["error"]) == (1, "it is no process of Gristmill's, or has only just begun")
            other.communicate(b"\n")
        assert other.returncode == 0


async def test_a_segfault_leaves_its_stack_with_the_task_and_in_the_log(url: str, broker: Broker) -> None:
    with Master(url, workers=1, health=f"127.0.0.1:{free_port()}") as master:
        await to_thread.run_sync(master.ready)
        messages = [bodies.bad_sync.message("segfault"), bodies.bad_async.message("segfault")]
        for number, message in enumerate(messages, 1):
            await broker.publish([message])
            [record] = await ends(broker, [message])
            line = await to_thread.run_sync(master.said, "a runner died", number)
            assert line["tasks"] == [message.id]
            assert record.error is not None
            for text in (line["stack"], record.error.traceback):
                assert text.startswith("Fatal Python error: Segmentation fault")
                assert "in segfault" in text
        await settles(lambda: Metrics(master)("runner_deaths_total", how="SIGSEGV") == 2)


def _hangs(master: int) -> int:
    """The runner below that master whose stack is in C code of a body."""
    while True:
        for pid in children(master):
            if "in c_loop" in (ask(pid, within=5.0) or ""):
                return pid


class Collector:
    """Takes spans by OTLP over HTTP, as a real one does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.asked: list[tuple[str, str | None]] = []  # path and key of each request
        self.service = ""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.asked.append((self.path, self.headers.get("x-key")))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    found = {one.key: one.value.string_value for one in resource.resource.attributes}
                    collector.service = found["service.name"]
                    collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def below(self, above: Span) -> list[str]:
        """The names of the spans directly below."""
        return sorted(span.name for span in self.spans if span.parent_span_id == above.span_id)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_an_ingest_is_one_trace_from_the_submit_over_its_tasks_to_their_stages(
    collector: Collector, tmp_path: Path
) -> None:
    """By the standard's environment variables; bodies run in processes of their own."""
    commands = Commands(tmp_path / "home")
    commands.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=open%20sesame",
        "OTEL_SERVICE_NAME": "mill",
    }
    document = tmp_path / "note.md"
    document.write_text("# Wheat\n\nIt is ground.\n")
    code, _, err = commands.run("ingest", document, "--embedder", "lexical")
    commands.end()
    assert (code, "sesame" in err) == (0, False)
    assert collector.service == "mill"
    assert set(collector.asked) == {("/v1/traces", "open sesame")}
    [submit] = [span for span in collector.spans if span.name.startswith("submit")]
    assert collector.below(submit) == ["run pipeline.part"]
    [part] = [span for span in collector.spans if span.name == "run pipeline.part"]
    stages = {"chunk", "commit", "embed", "fetch", "index", "parse"}
    assert set(collector.below(part)) == stages


async def test_a_worker_without_a_master_answers_for_itself(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "home")
    commands.home.mkdir()
    master = Master("", health=f"127.0.0.1:{free_port()}")  # only for its probe
    worker = commands.start("-vv", "worker", "--app", BODIES, "--health", master.plan.health)
    try:
        await to_thread.run_sync(line_with, worker.stderr, lambda line: "working" in line)
        await settles(lambda: master.probe("/ready")[0] == 200)
        async with open_broker(f"sqlite:///{commands.home}/broker.db") as broker:
            await broker.publish(
                [message := bodies.fails_in_a_stage.message(), Message(id="1", task="t", queue="mail")]
            )
            await ends(broker, [message])
            await settles(lambda: Metrics(master)("queue_lag", queue="mail") == 1)
            found = Metrics(master)
            assert (found("tasks_total", outcome="error"), found("stage_seconds_count")) == (2, 2)
            assert found("workers", state="ready") == 1
            await broker.publish([bodies.never_ends.message("sleep")])
            await settles(lambda: Metrics(master)("worker_running") == 1)
        worker.send_signal(signal.SIGTERM)
        await settles(lambda: master.probe("/ready")[0] == 503)
        assert master.probe("/health")[0] == 200
    finally:
        await to_thread.run_sync(commands.end)
