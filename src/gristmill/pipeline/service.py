"""What the faces call: submit, cancel, delete, retry; and the reconciler that keeps broker and catalog of one mind."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread

from gristmill.base.errors import (
    BlobMissing,
    BrokerUnavailable,
    Conflict,
    DocumentError,
    EmptyDocument,
    StoreUnavailable,
)
from gristmill.base.ids import content_digest, file_digest, new_id
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
_REST = 20  # times as long as a look
SWEEP_SOON = 5.0  # seconds
_READS = 3  # of a file that changes meanwhile
_LOST = Failure("run", "StoreError", "its tasks have succeeded, but the catalog has lost what they did", final=False)
_BAD = (TaskState.FAILED, TaskState.DEAD, TaskState.CANCELLED)


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
        self,
        ports: Ports,
        broker: Broker,
        *,
        detect: Callable[[Path], str],
        splits: Callable[[str], bool],
        grace: float = 60.0,
    ) -> None:
        self._ports = ports
        self._broker = broker
        self._detect = detect
        self._splits = splits  # whether documents of this format are cut into parts
        self._grace = grace  # seconds that what was seen stays for readers of older views

    async def submit(
        self, dataset: Dataset, file: FileSubmit, settings: IngestSettings, *, again: bool = False
    ) -> Submission:
        """Accept a file. A file that cannot be read as a document is accepted, too: as a failed one that says why."""
        submission = await to_thread.run_sync(self._store, dataset, file, settings, again)
        if not submission.run.state.final:
            await self._publish([submission.run])
        return submission

    async def retry(self, tenant: str, document_id: str, settings: IngestSettings) -> Submission:
        """Ingest a document's stored bytes anew, whatever became of it last time.

        Where they are gone or damaged, they are taken from its file again, if that still holds them. Raises BlobMissing.
        """
        document = await to_thread.run_sync(self._ports.catalog.document, tenant, document_id)
        submission = await to_thread.run_sync(self._again, document, settings)
        await self._publish([submission.run])
        return submission

    async def cancel(self, tenant: str, document_id: str) -> bool:
        """Cancel a document's unfinished run: readers never see it, its tasks end, a sweep removes what it wrote (P5)."""
        document = await to_thread.run_sync(self._ports.catalog.document, tenant, document_id)
        cancelled = await to_thread.run_sync(self._ports.catalog.cancel, document.run_id)
        parts = await to_thread.run_sync(self._ports.catalog.parts, document.run_id)
        await self._cancel_keys(keys(document.run_id, parts))
        if cancelled:
            await self._sweep_soon()
        return cancelled

    async def delete(self, tenant: str, document_id: str) -> None:
        """Delete a document. It is gone for readers at once; the sweep frees its room."""
        document = await to_thread.run_sync(self._ports.catalog.document, tenant, document_id)
        run_keys = keys(document.run_id, await to_thread.run_sync(self._ports.catalog.parts, document.run_id))
        await to_thread.run_sync(self._ports.catalog.delete_document, tenant, document_id)
        await self._cancel_keys(run_keys)
        await self._sweep_soon(after=self._grace)

    async def delete_dataset(self, tenant: str, dataset_id: str) -> None:
        """Delete a dataset with all its documents."""
        async with aclosing(self._unfinished()) as batches:
            mine = [run async for batch in batches for run in batch if run.dataset_id == dataset_id]
        await to_thread.run_sync(self._ports.catalog.delete_dataset, tenant, dataset_id)
        for run in mine:
            await self._cancel_keys(keys(run.id, [Part(run.id, n) for n in range(run.parts)]))
        await self._sweep_soon()

    async def runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Where these runs are."""
        return await to_thread.run_sync(self._ports.catalog.runs, run_ids)

    async def reconcile(self) -> Reconciled:
        """Compare every unfinished run with the broker.

        What the broker does not know is published again, with the same keys. A run with a task that ended badly without
        the body's own word (a crash, a hard limit, attempts used up) is failed with the task's error, one with a task that
        somebody cancelled is cancelled. A run whose parts are all done, but which nobody committed, gets a finish.
        """
        looked_at = published = failed = 0
        async with aclosing(self._unfinished()) as batches:
            async for batch in batches:
                new, bad = await self._compare(batch)
                looked_at, published, failed = looked_at + len(batch), published + new, failed + bad
        return Reconciled(looked_at, published, failed)

    async def keep_reconciled(self, *, every: float, owner: str) -> None:
        """Reconcile every ``every`` seconds, and at once when a task ends badly; one process at a time does it.

        A store or broker that does not answer is asked again after ``every`` seconds. With very many unfinished runs a look
        takes long, and the next one waits so much longer that this never costs more than a twentieth of a core.
        """
        while True:
            try:
                async with self._broker.notices() as notices:
                    while True:
                        await anyio.sleep(_REST * await self._reconcile_if_mine(every=every, owner=owner))
                        with anyio.move_on_after(every):
                            async for notice in notices:
                                if notice.kind == "state" and notice.state in _BAD:
                                    break
            except (BrokerUnavailable, StoreUnavailable) as exc:
                log.warning("catalog and broker could not be compared", error=str(exc))
                await anyio.sleep(every)

    async def _reconcile_if_mine(self, *, every: float, owner: str) -> float:
        """Reconcile, unless another process does it. Returns how many seconds it took."""
        began = self._ports.clock.monotonic()
        if await self._broker.lock(RECONCILE_LOCK, owner=owner, ttl=max(every * 3, 10.0)):
            done = await self.reconcile()
            if done.published or done.failed:
                log.info("reconciled", published=done.published, failed=done.failed)
        return self._ports.clock.monotonic() - began

    async def _compare(self, batch: Sequence[Run]) -> tuple[int, int]:
        """Returns how many tasks were published, and how many runs ended."""
        parts = await to_thread.run_sync(self._ports.catalog.parts_of, [run.id for run in batch])
        known = await self._broker.find([key for run in batch for key in keys(run.id, parts[run.id])])
        ended = {run.id for run in batch if await self._end_with(run, parts[run.id], known)}
        left = [run for run in batch if run.id not in ended]
        wanted = [message for run in left for message in messages(run, parts[run.id]) if message.key not in known]
        return sum(await self._broker.publish(wanted)) if wanted else 0, len(ended)

    async def _unfinished(self) -> AsyncGenerator[list[Run]]:
        """Unfinished runs, some at a time."""
        look = self._ports.catalog.unfinished
        batch = await to_thread.run_sync(lambda: look(limit=BATCH))
        while batch:
            yield batch
            batch = await to_thread.run_sync(lambda last: look(limit=BATCH, after=last), batch[-1])

    def _store(self, dataset: Dataset, file: FileSubmit, settings: IngestSettings, again: bool) -> Submission:
        """Blob first, then the catalog in one transaction, then a look whether the sweep took the blob in between."""
        ports = self._ports
        format_, failure = self._recognise(file)
        content = file.digest or file_digest(file.path)
        if failure is None:
            content = self._keep(dataset.tenant, file.path, content)
        submission = ports.catalog.submit(
            dataset,
            NewDocument(source_of(file.path), file.name, content, file.path.stat().st_size, format_),
            settings=settings.dump(),
            settings_digest=settings.digest(),
            parts=None if failure is None and self._splits(format_) else [Part("", 0)],
            failure=failure,
            again=again,
        )
        if failure is None:
            self._keep(dataset.tenant, file.path, content)
        return submission

    def _keep(self, tenant: str, path: Path, content: str) -> str:
        """Store a file's bytes if they are not there yet. Returns their digest: it may change while it is read."""
        for _ in range(_READS):
            key = blob_key(tenant, content)
            if self._ports.storage.exists(key):
                return content
            self._ports.storage.put_file(key, path)
            found = file_digest(path)
            if found == content:
                return content
            self._ports.storage.delete(key)
            content = found
        raise OSError(f"{path} changes while it is read")

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
        self._restore(document)
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

    def _restore(self, document: Document) -> None:
        """Make sure that the document's bytes are there, undamaged."""
        storage, key = self._ports.storage, blob_key(document.tenant, document.digest)
        with suppress(BlobMissing):
            if content_digest(storage.get(key)) == document.digest:
                return
            storage.delete(key)
        path = Path(document.source)
        with suppress(OSError):
            if path.is_file() and file_digest(path) == document.digest:
                self._keep(document.tenant, path, document.digest)
        if not storage.exists(key):
            raise BlobMissing(
                f"the stored bytes of {document.name} are gone, and so are those of {document.source}: ingest the document"
                " from where it is now, or delete it"
            )

    async def _end_with(self, run: Run, parts: Sequence[Part], known: Mapping[str, TaskRecord]) -> bool:
        """End a run that one of its tasks has let down. Returns whether it did."""
        mine = [known[key] for key in keys(run.id, parts) if key in known]
        bad = next((record for record in mine if record.state in _BAD), None)
        if bad is None and not await self._lost_effect(run, parts, known):
            return False
        catalog, ended = self._ports.catalog, False
        if bad is None:
            ended = await to_thread.run_sync(catalog.fail, run.id, _LOST)
        elif bad.state is TaskState.CANCELLED:
            ended = await to_thread.run_sync(catalog.cancel, run.id)
        else:
            ended = await to_thread.run_sync(catalog.fail, run.id, _failure_of(bad))
        await self._cancel_keys([record.message.key or "" for record in mine if not record.state.final])
        return ended

    async def _lost_effect(self, run: Run, parts: Sequence[Part], known: Mapping[str, TaskRecord]) -> bool:
        """Whether a task that has succeeded is still to be done: the catalog was set back (power cut, old backup)."""

        def open_keys(run: Run, parts: Sequence[Part]) -> set[str | None]:
            return {message.key for message in messages(run, parts)}

        done = {key for key, record in known.items() if record.state is TaskState.SUCCEEDED}
        if not done & open_keys(run, parts):
            return False
        # The task may have ended after we read the catalog; what the catalog says now is later than what the broker said.
        [run] = await self.runs([run.id]) or [run]
        parts = await to_thread.run_sync(self._ports.catalog.parts, run.id)
        return not run.state.final and bool(done & open_keys(run, parts))

    async def _sweep_soon(self, *, after: float = 0.0) -> None:
        """Have one sweep for all that is deleted within a few seconds."""
        now = await self._broker.now()
        number = int((now + after) // SWEEP_SOON)
        delay = (number + 1) * SWEEP_SOON - now
        key = f"{SWEEP_TASK}:{number}"
        await self._broker.publish([Message(id=new_id(), task=SWEEP_TASK, queue=QUEUE, key=key, delay=delay)])

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
