"""What the faces call: submit, cancel, delete, retry; what keeps broker and catalog of one mind is ``reconcile``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from gristmill.base import traces
from gristmill.base.errors import (
    BlobMissing,
    Conflict,
    DocumentError,
    DocumentTooLarge,
    EmptyDocument,
)
from gristmill.base.ids import content_digest, file_digest, new_id
from gristmill.base.logs import get_logger
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, below
from gristmill.pipeline.plan import QUEUE, keys, messages
from gristmill.pipeline.reconcile import Reconciled, Reconciler
from gristmill.pipeline.settings import IngestSettings
from gristmill.pipeline.tasks import SWEEP_TASK
from gristmill.pipeline.work import Ports, blob_key
from gristmill.ports.catalog import Dataset, Document, Failure, NewDocument, Part, Run, Submission

log = get_logger(__name__)

SWEEP_SOON = 5.0  # seconds
_READS = 3  # of a file that changes meanwhile


@dataclass(frozen=True)
class FileSubmit:
    """A file to ingest. ``digest`` spares reading it when its content is known already.

    ``source``: where the document came from, if that is not the file.
    """

    path: Path
    name: str
    digest: str | None = None
    source: str = ""


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
        await self._reconciler().cancel(keys(document.run_id, parts))
        if cancelled:
            await self._sweep_soon()
        return cancelled

    async def delete(self, tenant: str, document_id: str) -> None:
        """Delete a document. It is gone for readers at once; the sweep frees its room."""
        document = await to_thread.run_sync(self._ports.catalog.document, tenant, document_id)
        run_keys = keys(document.run_id, await to_thread.run_sync(self._ports.catalog.parts, document.run_id))
        await to_thread.run_sync(self._ports.catalog.delete_document, tenant, document_id)
        await self._reconciler().cancel(run_keys)
        await self._sweep_soon(after=self._grace)

    async def delete_dataset(self, tenant: str, dataset_id: str) -> None:
        """Delete a dataset with all its documents."""
        async with aclosing(self._reconciler().unfinished()) as batches:
            mine = [run async for batch in batches for run in batch if run.dataset_id == dataset_id]
        await to_thread.run_sync(self._ports.catalog.delete_dataset, tenant, dataset_id)
        for run in mine:
            await self._reconciler().cancel(keys(run.id, [Part(run.id, n) for n in range(run.parts)]))
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
        return await self._reconciler().look()

    async def keep_reconciled(self, *, every: float, owner: str) -> None:
        """Reconcile every ``every`` seconds, and at once when a task ends badly; one process at a time does it.

        A store or broker that does not answer is asked again after ``every`` seconds. Every look sees to the oldest runs;
        with very many unfinished runs one at all of them takes long, and is so much rarer that this never costs more than
        a twentieth of a core. Where the broker has lost its memory, all are looked at at once.
        """
        await self._reconciler().keep(every=every, owner=owner)

    def _reconciler(self) -> Reconciler:
        return Reconciler(self._ports.catalog, self._broker, self._ports.clock)

    def _store(self, dataset: Dataset, file: FileSubmit, settings: IngestSettings, again: bool) -> Submission:
        """Blob first, then the catalog in one transaction, then a look whether the sweep took the blob in between."""
        ports = self._ports
        format_, failure = self._recognise(file)
        content = file.digest or file_digest(file.path)
        if failure is None:
            content = self._keep(dataset.tenant, file.path, content)
        submission = ports.catalog.submit(
            dataset,
            NewDocument(file.source or source_of(file.path), file.name, content, file.path.stat().st_size, format_),
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
            size, most = file.path.stat().st_size, self._ports.limits.max_bytes
            if size == 0:
                raise EmptyDocument(f"{file.name} is an empty file")
            if size > most:  # nothing of it is read, or stored
                raise DocumentTooLarge(
                    f"{file.name} has {size} bytes; the limit is {most} (pipeline.doc_maximum_size)."
                )
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
        if not wanted:
            return 0
        with traces.span("submit pipeline", kind="PRODUCER", messaging__system="gristmill", gristmill__runs=len(runs)):
            return sum(await self._broker.publish(below(wanted, traces.carrier())))

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

    async def _sweep_soon(self, *, after: float = 0.0) -> None:
        """Have one sweep for all that is deleted within a few seconds."""
        now = await self._broker.now()
        number = int((now + after) // SWEEP_SOON)
        delay = (number + 1) * SWEEP_SOON - now
        key = f"{SWEEP_TASK}:{number}"
        await self._broker.publish([Message(id=new_id(), task=SWEEP_TASK, queue=QUEUE, key=key, delay=delay)])
