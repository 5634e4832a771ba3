"""Traces: who submitted what, its attempts below that, and their stages below those."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gristmill.base import traces
from gristmill.base.errors import PluginError
from gristmill.engine.broker import Broker
from gristmill.engine.client import Client
from gristmill.engine.context import MOST_STAGES, TaskContext
from gristmill.engine.message import Message
from gristmill.testing import bodies
from gristmill.testing.workers import BODIES, working

PLACE = "gristmill.testing.bodies"


class Spans:
    """What was kept so far."""

    def __init__(self) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))

    def named(self, name: str) -> list[ReadableSpan]:
        found = [span for span in self.kept.get_finished_spans() if span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    def below(self, above: ReadableSpan) -> list[str]:
        """The names of the spans directly below, by their begin."""
        spans = [span for span in self.kept.get_finished_spans() if span.parent and span.parent.span_id == _id(above)]
        assert all(span.context and above.context and span.context.trace_id == above.context.trace_id for span in spans)
        return [span.name for span in sorted(spans, key=lambda span: span.start_time or 0)]


def _id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    traces.use(made.provider)
    yield made
    traces.stop()
    made.provider.shutdown()


def notes(span: ReadableSpan, *names: str) -> list[object]:
    return [(span.attributes or {}).get(f"gristmill.{name}") for name in names]


@pytest.mark.anyio
@pytest.mark.parametrize("inline", [True, False], ids=["inline", "runners"])
async def test_attempts_are_below_the_submit_and_stages_below_their_attempt(
    spans: Spans, memory_broker: Broker, inline: bool
) -> None:
    async with working(memory_broker, bodies.app if inline else BODIES, inline=inline):
        message = bodies.fails_in_a_stage.message()
        handle = await Client(memory_broker).submit(message)
        await handle.wait(timeout=60)
    submit = spans.one(f"submit {PLACE}.fails_in_a_stage")
    assert (submit.kind, submit.parent) == (SpanKind.PRODUCER, None)
    attempts = spans.named(f"run {PLACE}.fails_in_a_stage")
    assert spans.below(submit) == [attempt.name for attempt in attempts]
    for number, attempt in enumerate(attempts, 1):
        assert (attempt.kind, attempt.status.status_code) == (SpanKind.CONSUMER, StatusCode.ERROR)
        assert notes(attempt, "attempt", "outcome", "stage", "retried") == [number, "error", f"stage {number}", True]
        assert (attempt.attributes or {})["messaging.message.id"] == message.id
        assert spans.below(attempt) == [f"stage {number}"]
        stage = spans.one(f"stage {number}")
        assert stage.status.status_code is StatusCode.ERROR
        times = [attempt.start_time, stage.start_time, stage.end_time, attempt.end_time]
        assert times == sorted(times, key=lambda at: at or 0)
    assert len(attempts) == 2


@pytest.mark.anyio
async def test_what_a_body_publishes_is_below_its_attempt(spans: Spans, memory_broker: Broker) -> None:
    async with working(memory_broker, BODIES):
        for message in (bodies.publishes.message(2), bodies.publishes_async.message(2)):
            await (await Client(memory_broker).submit(message)).wait(timeout=60)
        with anyio.fail_after(60):
            while len(spans.named(f"run {PLACE}.add")) < 4:  # noqa: ASYNC110  spans tell nobody
                await anyio.sleep(0.01)
    for name in ("publishes", "publishes_async"):
        assert spans.below(spans.one(f"run {PLACE}.{name}")) == [f"run {PLACE}.add"] * 2


@pytest.mark.anyio
async def test_a_task_that_nobody_traced_begins_a_trace_and_a_foreign_trace_goes_on(
    spans: Spans, memory_broker: Broker
) -> None:
    foreign = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "who=me"}
    unsampled = {"traceparent": "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    async with working(memory_broker, bodies.app, inline=True):
        for trace in ({}, foreign, unsampled, {"traceparent": "nonsense"}):
            message = Message(id=f"{trace}", task=f"{PLACE}.add", args=[1, 2], trace=trace)
            await (await Client(memory_broker).submit(message)).wait(timeout=60)
    first, second, third = spans.named(f"run {PLACE}.add")
    assert first.parent is not None
    assert first.parent.span_id == _id(spans.named(f"submit {PLACE}.add")[0])
    assert second.parent is not None
    assert (f"{second.parent.trace_id:032x}", f"{second.parent.span_id:016x}") == tuple(
        foreign["traceparent"].split("-")[1:3]
    )
    assert third.parent is None


async def _stages(names: Sequence[str], trace: dict[str, str]) -> TaskContext:
    ctx = TaskContext.for_testing(trace=trace)
    for name in names:
        with ctx.stage(name), ctx.stage(f"{name} inner"):
            pass
    return ctx


@pytest.mark.anyio
async def test_stages_within_stages_are_spans_within_spans(spans: Spans) -> None:
    with traces.span("attempt"):
        trace = traces.carrier()
    ctx = await _stages(["parse", "chunk"], trace)
    traces.record(trace, ctx.stages)
    assert spans.below(spans.one("attempt")) == ["parse", "chunk"]
    assert spans.below(spans.one("chunk")) == ["chunk inner"]


@pytest.mark.anyio
async def test_stages_are_noted_only_where_somebody_traces_and_not_without_end() -> None:
    assert (await _stages(["parse"], {})).stages == []
    assert len((await _stages(["parse"] * MOST_STAGES, {"traceparent": "x"})).stages) == MOST_STAGES


def test_without_a_tracer_nothing_is_kept_and_nothing_is_told() -> None:
    with traces.span("s", gristmill__x=1) as span:
        span.note(a=1)
        span.failed("E", "e")
        assert traces.carrier() == {}
    traces.record({"traceparent": "x"}, [traces.Stage(1, 0, "s", 0.0, 1.0, False)])
    traces.stop()


_WORKS = """
import sys, anyio
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.client import Client
from gristmill.testing import bodies
from gristmill.testing.workers import working
async def main():
    async with MemoryBroker() as broker, working(broker, bodies.app, inline=True):
        await (await Client(broker).submit(bodies.add.message(1, 2))).wait(timeout=60)
anyio.run(main)
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_who_does_not_trace_does_not_import_it() -> None:
    assert _output(_WORKS) == "[]\n"


_HANGS = """
import socket
from gristmill.base import traces
with socket.create_server(("127.0.0.1", 0)) as server:
    traces.FLUSH = 0.2
    traces.start(traces.Export(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=60.0))
    with traces.span("s"):
        pass
    traces.stop()
    print("over", traces.on())
"""


def test_a_collector_that_hangs_holds_up_nobody() -> None:
    assert _output(_HANGS) == "over False\n"


def _output(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout


def test_where_it_is_not_installed_that_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(PluginError, match=r"pip install 'gristmill\[otel\]', or set telemetry.disabled"):
        traces.start(traces.Export("http://127.0.0.1:1"))
    assert not traces.on()
