"""The bodies of the pipeline's tasks: each looks up what its ids mean, calls stages, and writes down how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from gristmill.base import meters
from gristmill.base.errors import (
    BlobMissing,
    DocumentError,
    GenerationClosed,
    GristmillError,
    LimitExceeded,
    ModelRefused,
    Retry,
)
from gristmill.base.settings.mask import masked_text
from gristmill.engine.context import TaskContext
from gristmill.engine.task import App, TaskOptions
from gristmill.pipeline import stages
from gristmill.pipeline.embed import Pace, at_once
from gristmill.pipeline.parse import count_pages, cut_windows, read_pages
from gristmill.pipeline.plan import (
    FINISH_TASK,
    PART_TASK,
    PLAN_TASK,
    QUEUE,
    cut,
    due,
    part_message,
    slices,
    windows,
)
from gristmill.pipeline.settings import load_settings
from gristmill.pipeline.sweep import sweep
from gristmill.pipeline.work import Piece, Ports, Report, piece
from gristmill.ports.catalog import Failure, LogLine, Part, Run

# What the same bytes with the same settings will meet again; anything else the next ingest tries anew.
_FINAL = (DocumentError, LimitExceeded, ModelRefused)

SWEEP_TASK = "pipeline.sweep"


@dataclass(frozen=True)
class TaskLimits:
    """Bounds of the pipeline's tasks: seconds, bytes."""

    soft_time_limit: float = 3600.0
    time_limit: float = 3660.0
    memory_limit: int | None = 2 * 1024**3
    plan_time_limit: float = 60.0
    embedding_rate: float | None = None  # requests a second, over all workers
    reading_rates: Mapping[str, float] = field(default_factory=dict)  # the same, of models that read, by their use


@dataclass(frozen=True)
class Upkeep:
    """How the sweep goes about it: seconds and bytes (see ``sweep``)."""

    every: float = 60.0
    grace: float = 60.0
    keep_dead: float = 86_400.0
    cache_bytes: int = 4 * 1024**3


def register(app: App, ports: Callable[[], Ports], *, limits: TaskLimits, upkeep: Upkeep) -> None:
    """Put the pipeline's tasks into ``app``. ``ports`` is called in the runner, at the first task that needs it."""

    def plan(ctx: TaskContext, run_id: str) -> dict[str, object]:
        with _writes_down(ctx, ports(), run_id):
            return _plan(ctx, ports(), run_id)

    def part(ctx: TaskContext, run_id: str, number: int) -> dict[str, object]:
        with _writes_down(ctx, ports(), run_id):
            return _part(ctx, ports(), run_id, number, limits)

    def finish(ctx: TaskContext, run_id: str) -> dict[str, object]:
        with _writes_down(ctx, ports(), run_id):
            return {"committed": _commit(ports(), ports().catalog.run(run_id))}

    def clean(ctx: TaskContext) -> dict[str, object]:
        with ctx.stage("sweep"):
            swept = sweep(ports(), grace=upkeep.grace, keep_dead=upkeep.keep_dead, cache_bytes=upkeep.cache_bytes)
        return {"records": swept.records, "generations": swept.generations, "blobs": swept.blobs}

    quick: TaskOptions = {
        "queue": QUEUE,
        "soft_time_limit": limits.plan_time_limit,
        "time_limit": limits.plan_time_limit + 5,
        "memory_limit": limits.memory_limit,
    }
    long: TaskOptions = {**quick, "soft_time_limit": limits.soft_time_limit, "time_limit": limits.time_limit}
    app.task(name=PLAN_TASK, bind=True, **quick)(plan)
    app.task(name=PART_TASK, bind=True, **long)(part)
    app.task(name=FINISH_TASK, bind=True, **quick)(finish)
    upkeep_goes_first: TaskOptions = {**long, "priority": 1}  # it is short, and worth nothing after its period
    app.periodic(app.task(name=SWEEP_TASK, bind=True, **upkeep_goes_first)(clean), every=upkeep.every)


@contextmanager
def _writes_down(ctx: TaskContext, ports: Ports, run_id: str) -> Iterator[None]:
    """A failure that repeating does not mend, or the last attempt's, ends the run (P10).

    What ends the body from outside (a hard limit, a crash) never comes here: the reconciler sees those.
    """
    try:
        yield
    except GristmillError as exc:
        last = ctx.attempt >= ctx.max_attempts
        if isinstance(exc, GenerationClosed) or (exc.retryable and not last):
            raise
        if isinstance(exc, BlobMissing) and not last:  # a sweep has it aside for a moment, when it is needed again
            raise Retry(str(exc)) from exc
        failure = Failure(
            ctx.stage_name or "run",
            type(exc).__name__,
            masked_text(str(exc)),
            final=isinstance(exc, _FINAL),
        )
        if ports.catalog.fail(run_id, failure):
            meters.count("documents", outcome="failed")
        raise


def _plan(ctx: TaskContext, ports: Ports, run_id: str) -> dict[str, object]:
    run = ports.catalog.start(run_id)
    document = ports.catalog.document(run.tenant, run.document_id)
    settings = load_settings(run.settings)
    with ctx.stage("plan"):
        pages = count_pages(ports, run, document.name)
        size = settings.pages_per_part or ports.chunker(settings.method).pages_per_part
        parts = ports.catalog.plan(run_id, cut(run_id, pages, size))
    ports.catalog.log(run_id, [_line(ports, "plan", f"{pages} pages in {len(parts)} parts")])
    ctx.publish([part_message(run, part) for part in due(parts)])
    return {"pages": pages, "parts": len(parts)}


def _part(ctx: TaskContext, ports: Ports, run_id: str, number: int, limits: TaskLimits) -> dict[str, object]:
    run = ports.catalog.start(run_id)
    part = ports.catalog.part(run_id, number)
    if part.only_reads:
        return _read(ctx, ports, run, part)
    if not part.done:
        work = _window(ctx, ports, piece(ports, run, part))
        report = _reporter(ctx, ports, run_id, number)
        made = stages.make_chunks(
            ports, work, ctx.stage, report=_first_tenth(report), pace=_reading_pace(ctx, limits.reading_rates)
        )
        work = _share(ctx, ports, work, len(made.chunks))
        report(0.1, f"{len(made.chunks)} chunks")
        pace = _pace(ctx, work.settings.embedder, limits.embedding_rate)
        written = stages.embed_and_write(ports, work, made, report=report, stage=ctx.stage, pace=pace)
        _count(written)
        part = Part(run_id, number, chunks=written.chunks, tokens=written.tokens, pages=written.pages)
        text = f"part {number}: {written.pages} pages, {written.chunks} chunks, {written.embedded} newly embedded"
        unread = [] if work.part.chunk_first else [_line(ports, "parse", one, number) for one in made.warnings]
        if made.choice is not None and not work.part.first and not work.part.chunk_first:
            unread.append(_line(ports, "chunk", f"method {made.choice.method}: {made.choice.reason}", number))
        ports.catalog.log(run_id, [*unread, _line(ports, "index", text, number)])
    left = ports.catalog.finish_part(run_id, number, chunks=part.chunks, tokens=part.tokens, pages=part.pages)
    if left == 0:
        with ctx.stage("commit"):
            _commit(ports, run)
    return {"chunks": part.chunks, "tokens": part.tokens, "left": left}


def _read(ctx: TaskContext, ports: Ports, run: Run, part: Part) -> dict[str, object]:
    """Read a part's pages. Who reads the last ones has the part go on that makes chunks of all of them."""
    if not part.done:
        pages = read_pages(ports, piece(ports, run, part), ctx.stage)
        ports.catalog.log(run.id, [_line(ports, "parse", f"part {part.number}: {pages} pages read", part.number)])
    left = ports.catalog.finish_part(run.id, part.number, chunks=0, tokens=0, pages=0)
    if left == 1:
        ctx.publish([part_message(run, one) for one in due(ports.catalog.parts(run.id))])
    return {"chunks": 0, "tokens": 0, "left": left}


def _window(ctx: TaskContext, ports: Ports, work: Piece) -> Piece:
    """Give the windows of a long table to other runners, and keep the first."""
    if ports.chunker(work.settings.method).whole:
        return work
    if work.part.first is None and (count := cut_windows(ports, work, ctx.stage)) > 1:
        split = ports.catalog.split(work.run.id, work.part.number, windows(work.run.id, count))
        work = piece(ports, work.run, split[0])
    if work.part.first == 0:  # also after a crash between the split and this
        others = [one for one in ports.catalog.parts(work.run.id) if one.number != work.part.number]
        ctx.publish([part_message(work.run, one) for one in others if not one.done])
    return work


def _commit(ports: Ports, run: Run) -> bool:
    committed = stages.commit(ports, run)
    if committed:
        meters.count("documents", outcome="committed")
    return committed


def _count(written: stages.Written) -> None:
    for name, amount in (("pages", written.pages), ("chunks", written.chunks)):
        meters.count(name, amount)
    for source, amount in (("computed", written.embedded), ("cached", written.chunks - written.embedded)):
        meters.count("embeddings", amount, source=source)


def _pace(ctx: TaskContext, embedder: str, rate: float | None) -> Pace:
    """Requests to a model share its rate over all workers; a second's worth may go at once."""
    if rate is None:
        return at_once
    return partial(ctx.throttle, f"embedder:{embedder}", rate=rate, burst=max(1.0, rate))


def _reading_pace(ctx: TaskContext, rates: Mapping[str, float]) -> Callable[[str], None]:
    """The same for the models that read documents, each use at its own rate."""

    def pace(use: str) -> None:
        if rate := rates.get(use):
            ctx.throttle(f"model:{use}", rate=rate, burst=max(1.0, rate))

    return pace


def _first_tenth(report: Report) -> Report:
    return lambda value, message: report(0.1 * value, message)


def _share(ctx: TaskContext, ports: Ports, work: Piece, chunks: int) -> Piece:
    """Give slices of a piece with many chunks to other runners, and keep the first."""
    size = work.settings.chunks_per_part
    if work.part.chunk_first is None and 0 < size < chunks:
        split = ports.catalog.split(work.run.id, work.part.number, slices(work.part, chunks, size))
        work = piece(ports, work.run, split[0])
    if work.part.chunk_first == 0:  # also after a crash between the split and this
        siblings = [part for part in ports.catalog.parts(work.run.id) if _same_units(part, work.part)]
        ctx.publish([part_message(work.run, part) for part in siblings if not part.done])
    return work


def _same_units(one: Part, other: Part) -> bool:
    return one.number != other.number and (one.first, one.last) == (other.first, other.last)


def _reporter(ctx: TaskContext, ports: Ports, run_id: str, number: int) -> Report:
    """Progress to watchers at every call, to the catalog once a second."""
    last = ports.clock.monotonic()

    def report(value: float, message: str) -> None:
        nonlocal last
        ctx.report(value, message)
        if ports.clock.monotonic() - last >= 1.0:
            last = ports.clock.monotonic()
            ports.catalog.report(run_id, number, value)

    return report


def _line(ports: Ports, stage: str, message: str, part: int | None = None) -> LogLine:
    return LogLine(ports.clock.now(), stage, message, part)
