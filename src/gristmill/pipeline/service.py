"""What the faces call: submit, cancel, delete, retry; and the reconciler that keeps broker and catalog of one mind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread

from gristmill.base.errors import Conflict, DocumentError, EmptyDocument
from gristmill.base.ids import file_digest, new_id
from gristmill.base.logs import get_logger
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.pipeline.plan import QUEUE, keys, messages
from gristmill.pipeline.settings import IngestSettings
from gristmill.pipeline.stages import Ports, blob_key
from gristmill.pipeline.tasks import SWEEP_TASK
from gristmill.ports.catalog import Dataset, Document, Failure, NewDocument, Part, Run, Submission

log = get_logger(__name__)

RECONCILE_LOCK = "reconcile"
BATCH = 200  # runs looked at in one step


class Reconciled(msgspec.Struct, frozen=True):
    """What a look at all unfinished runs led to."""

    looked_at: int = 0
    published: int = 0
    failed: int = 0


@dataclass(frozen=True)
class FileSubmit:
    """A file to ingest. ``digest`` spares reading it when its content is known already."""

    path: Path
    name: str
    digest: str | None = None


def source_of(path: Path) -> str:
    """A path as text, also where its bytes are no UTF-8: the identity of a document that came from a file."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class IngestService:
    """Takes documents in and answers for them until they have an end state (P1).

    The catalog is the record of intent and is written first; the broker is told afterwards, and ``reconcile`` tells it
    again whatever it does not know.
    """

    def __init__(
        self, ports: Ports, broker: Broker, *, detect: Callable[[Path], str], splits: Callable[[str], bool]
    ) -> None:
        self._ports = ports
        self._broker = broker
        self._detect = detect
        self._splits = splits  # whether documents of this format are cut into parts

    async def submit(
        self, dataset: Dataset, file: FileSubmit, settings: IngestSettings, *, again: bool = False
    ) -> Submission:
        """Accept a file. A file that cannot be read as a document is accepted, too: as a failed one that says why."""
        submission = await to_thread.run_sync(self._store, dataset, file, settings, again)
        if not submission.run.state.final:
            await self._publish([submission.run])
        return submission

    async def retry(self, tenant: str, document_id: str, settings: IngestSettings) -> Submission:
        """Ingest a document's stored bytes anew, whatever became of it last time."""
        document = await to_thread.run_sync(self._ports.catalog.document, tenant, document_id)
        submission = await to_thread.run_sync(self._again, document, settings)
        await self._publish([submission.run])
        return submission

    async def cancel(self, tenant: str, document_id: str) -> bool:
        """Cancel a document's unfinished run: readers never see it, its tasks end, the sweep removes what it wrote (P5)."""
        document = await to_thread.run_sync(self._ports.catalog.document, tenant, document_id)
        cancelled = await to_thread.run_sync(self._ports.catalog.cancel, document.run_id)
        await self._stop_tasks(document.run_id)
        return cancelled

    async def delete(self, tenant: str, document_id: str) -> None:
        """Delete a document. It is gone for readers at once; the sweep frees its room."""
        document = await to_thread.run_sync(self._ports.catalog.document, tenant, document_id)
        run_keys = keys(document.run_id, await to_thread.run_sync(self._ports.catalog.parts, document.run_id))
        await to_thread.run_sync(self._ports.catalog.delete_document, tenant, document_id)
        await self._cancel_keys(run_keys)
        await self._broker.publish([_sweep_message()])

    async def delete_dataset(self, tenant: str, dataset_id: str) -> None:
        """Delete a dataset with all its documents."""
        unfinished = await to_thread.run_sync(lambda: self._ports.catalog.unfinished(limit=1_000_000))
        mine = [run for run in unfinished if run.dataset_id == dataset_id]
        await to_thread.run_sync(self._ports.catalog.delete_dataset, tenant, dataset_id)
        for run in mine:
            await self._cancel_keys(keys(run.id, [Part(run.id, n) for n in range(run.parts)]))
        await self._broker.publish([_sweep_message()])

    async def runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Where these runs are."""
        return await to_thread.run_sync(self._ports.catalog.runs, run_ids)

    async def reconcile(self) -> Reconciled:
        """Compare every unfinished run with the broker.

        What the broker does not know is published again, with the same keys. A run with a task that ended badly without
        the body's own word (a crash, a hard limit, attempts used up) is failed with the task's error. A run whose parts
        are all done, but which nobody committed, gets a finish.
        """
        unfinished = await to_thread.run_sync(lambda: self._ports.catalog.unfinished(limit=100_000))
        published = failed = 0
        for first in range(0, len(unfinished), BATCH):
            batch = unfinished[first : first + BATCH]
            failed += await self._fail_ended(batch)
            published += await self._publish(batch)
        return Reconciled(len(unfinished), published, failed)

    async def keep_reconciled(self, *, every: float, owner: str) -> None:
        """Reconcile every ``every`` seconds, and at once when a task ends badly; one process at a time does it."""
        async with self._broker.notices() as notices:
            while True:
                if await self._broker.lock(RECONCILE_LOCK, owner=owner, ttl=max(every * 3, 10.0)):
                    done = await self.reconcile()
                    if done.published or done.failed:
                        log.info("reconciled", published=done.published, failed=done.failed)
                with anyio.move_on_after(every):
                    async for notice in notices:
                        if notice.kind == "state" and notice.state in (TaskState.FAILED, TaskState.DEAD):
                            break

    def _store(self, dataset: Dataset, file: FileSubmit, settings: IngestSettings, again: bool) -> Submission:
        """Blob first, then the catalog in one transaction, then a look whether the sweep took the blob in between."""
        ports = self._ports
        content = file.digest or file_digest(file.path)
        key = blob_key(dataset.tenant, content)
        format_, failure = self._recognise(file)
        if failure is None and not ports.storage.exists(key):
            ports.storage.put_file(key, file.path)
        submission = ports.catalog.submit(
            dataset,
            NewDocument(source_of(file.path), file.name, content, file.path.stat().st_size, format_),
            settings=settings.dump(),
            settings_digest=settings.digest(),
            parts=None if failure is None and self._splits(format_) else [Part("", 0)],
            failure=failure,
            again=again,
        )
        if failure is None and not ports.storage.exists(key):
            ports.storage.put_file(key, file.path)
        return submission

    def _recognise(self, file: FileSubmit) -> tuple[str, Failure | None]:
        try:
            if file.path.stat().st_size == 0:
                raise EmptyDocument(f"{file.name} is an empty file")
            return self._detect(file.path), None
        except DocumentError as exc:
            return "", Failure("detect", type(exc).__name__, str(exc))

    def _again(self, document: Document, settings: IngestSettings) -> Submission:
        ports = self._ports
        if not document.format:
            raise Conflict(
                f"{document.name} was never read as a document, so nothing of it is stored: ingest its file again"
            )
        return ports.catalog.submit(
            ports.catalog.dataset(document.tenant, document.dataset_id),
            NewDocument(document.source, document.name, document.digest, document.size, document.format),
            settings=settings.dump(),
            settings_digest=settings.digest(),
            parts=None if self._splits(document.format) else [Part("", 0)],
            again=True,
        )

    async def _publish(self, runs: Sequence[Run]) -> int:
        wanted = await to_thread.run_sync(self._messages, runs)
        return sum(await self._broker.publish(wanted)) if wanted else 0

    def _messages(self, runs: Sequence[Run]) -> list[Message]:
        return [message for run in runs for message in messages(run, self._ports.catalog.parts(run.id))]

    async def _fail_ended(self, runs: Sequence[Run]) -> int:
        """Fail the runs that one of these tasks has let down."""
        failed = 0
        for run in runs:
            parts = await to_thread.run_sync(self._ports.catalog.parts, run.id)
            known = await self._broker.find(keys(run.id, parts))
            bad = [record for record in known.values() if record.state in (TaskState.FAILED, TaskState.DEAD)]
            if bad:
                ended: bool = await to_thread.run_sync(self._ports.catalog.fail, run.id, _failure_of(bad[0]))
                failed += ended
                await self._stop_tasks(run.id)
        return failed

    async def _stop_tasks(self, run_id: str) -> None:
        parts = await to_thread.run_sync(self._ports.catalog.parts, run_id)
        await self._cancel_keys(keys(run_id, parts))

    async def _cancel_keys(self, run_keys: Sequence[str]) -> None:
        known = await self._broker.find(run_keys)
        ids = [record.id for record in known.values() if not record.state.final]
        if ids:
            await self._broker.cancel(ids, reason="the document's run has ended")


def _failure_of(record: TaskRecord) -> Failure:
    error = record.error or (record.history[-1] if record.history else None)
    if error is None:
        return Failure("run", "TaskDead", f"the task ended as {record.state} without saying why", final=False)
    return Failure(error.stage or "run", error.type, error.message, final=bool(error.limit))


def _sweep_message() -> Message:
    return Message(id=new_id(), task=SWEEP_TASK, queue=QUEUE)
