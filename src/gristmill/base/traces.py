"""Traces by OpenTelemetry, where they are wanted; the only place that knows it.

Until ``start`` or ``use`` was called nothing of it is imported, and a span costs a look at a flag. What goes from process to
process is W3C's trace context, as it stands in a message (``traceparent`` and its companions).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from gristmill.base.clock import SystemClock
from gristmill.base.errors import PluginError
from gristmill.base.logs import get_logger
from gristmill.base.registry import imported

log = get_logger(__name__)

PATH = "/v1/traces"
FLUSH = 3.0  # seconds that the last spans have at the end: a collector that hangs holds up nobody

Kind = Literal["INTERNAL", "PRODUCER", "CONSUMER"]
Carrier = dict[str, str]

_state: dict[str, Any] = {"tracer": None, "provider": None}


@dataclass(frozen=True)
class Export:
    """Where spans go: an OTLP endpoint over HTTP. ``sample`` is the share of new traces that are kept."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    service: str = "gristmill"
    sample: float = 1.0
    timeout: float = 5.0


class Stage(NamedTuple):
    """A stage of a task, as its runner noted it. Times are of the monotonic clock; ``above``: the stage around it, or 0."""

    number: int
    above: int
    name: str
    began: float
    ended: float
    failed: bool


class _Heard(logging.Handler):
    """What the exporter logs, in our log: that it tries again only where one looks closely."""

    def emit(self, record: logging.LogRecord) -> None:
        tell = log.warning if record.levelno >= logging.ERROR else log.debug
        tell("traces cannot be sent", said=record.getMessage())


class Span:
    """A span that is open; without traces it hears everything and keeps nothing."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def note(self, **attributes: str | int | float | bool) -> None:
        """Add attributes, under ``gristmill.``."""
        if self._span is not None:
            self._span.set_attributes({f"gristmill.{name}": value for name, value in attributes.items()})

    def failed(self, kind: str, message: str) -> None:
        """Mark it as failed."""
        if self._span is not None:
            trace = imported("opentelemetry.trace")
            self._span.set_status(trace.Status(trace.StatusCode.ERROR, f"{kind}: {message}"))
            self._span.set_attribute("error.type", kind)


def on() -> bool:
    """Whether spans are kept."""
    return _state["tracer"] is not None


def start(export: Export) -> None:
    """Send spans to a collector from now on. Raises PluginError where OpenTelemetry is not installed."""
    try:
        sdk, exporter = (
            imported("opentelemetry.sdk.trace"),
            imported("opentelemetry.exporter.otlp.proto.http.trace_exporter"),
        )
        batch, sampling = imported("opentelemetry.sdk.trace.export"), imported("opentelemetry.sdk.trace.sampling")
        resources = imported("opentelemetry.sdk.resources")
    except ImportError as exc:
        raise PluginError(
            f"telemetry.endpoint is set, but OpenTelemetry cannot be imported ({exc}); install it with: pip install"
            " 'gristmill[otel]', or set telemetry.disabled"
        ) from exc
    endpoint = export.endpoint if export.endpoint.endswith(PATH) else export.endpoint.rstrip("/") + PATH
    sender = exporter.OTLPSpanExporter(endpoint=endpoint, headers=dict(export.headers), timeout=export.timeout)
    provider = sdk.TracerProvider(
        resource=resources.Resource.create({"service.name": export.service}),
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(export.sample)),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(batch.BatchSpanProcessor(sender))
    use(provider)
    _state["provider"] = provider
    theirs = logging.getLogger("opentelemetry")
    theirs.handlers, theirs.propagate = [_Heard()], False


def use(provider: Any) -> None:
    """Keep spans with this TracerProvider, which stays its owner's: for programs that have one."""
    _state.update(tracer=provider.get_tracer("gristmill"), provider=None)


def stop() -> None:
    """Keep no more spans. Those of ``start`` are sent, as far as that takes no longer than ``FLUSH``."""
    provider = _state["provider"]
    _state.update(tracer=None, provider=None)
    if provider is not None:
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(FLUSH)


@contextmanager
def span(
    name: str, *, kind: Kind = "INTERNAL", parent: Mapping[str, str] | None = None, **attributes: str | int
) -> Iterator[Span]:
    """A span within this block, below ``parent`` (else below the one that is open here). Names of attributes have ``__``
    where the standard's have a dot."""
    tracer = _state["tracer"]
    if tracer is None:
        yield Span()
        return
    trace = imported("opentelemetry.trace")
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        name, context=_context(parent) if parent else None, kind=trace.SpanKind[kind], attributes=named
    ) as opened:
        yield Span(opened)


def carrier() -> Carrier:
    """The span that is open here, for a message; empty without one."""
    if not on():
        return {}
    found: Carrier = {}
    _propagator().inject(found)
    return found


def record(parent: Mapping[str, str], stages: Sequence[Stage]) -> None:
    """Spans for stages that are over, below ``parent``."""
    tracer = _state["tracer"]
    if tracer is None or not parent:
        return
    clock = SystemClock()
    ahead = clock.now() - clock.monotonic()
    trace = imported("opentelemetry.trace")
    above: dict[int, Any] = {}
    base = _context(parent)
    for stage in sorted(stages):
        began, ended = (int((at + ahead) * 1e9) for at in (stage.began, stage.ended))
        opened = tracer.start_span(stage.name, context=above.get(stage.above, base), start_time=began)
        above[stage.number] = trace.set_span_in_context(opened)
        if stage.failed:
            opened.set_status(trace.Status(trace.StatusCode.ERROR))
        opened.end(ended)


def _context(parent: Mapping[str, str]) -> Any:
    return _propagator().extract(dict(parent))


def _propagator() -> Any:
    return imported("opentelemetry.trace.propagation.tracecontext").TraceContextTextMapPropagator()
