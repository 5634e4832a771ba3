"""A pipeline on the embedded stores, driven task by task, with everything counted that should not happen twice."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gristmill.base.settings import Settings
from gristmill.brokers.memory import MemoryBroker
from gristmill.catalogs.sql.catalog import SqlCatalog
from gristmill.engine.broker import Broker
from gristmill.engine.inline import Inline
from gristmill.engine.message import End, Message, Release, TaskRecord
from gristmill.engine.outcome import Ending
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.parsers import PARSERS, splits
from gristmill.parsers.detect import detect
from gristmill.pipeline.plan import QUEUE
from gristmill.pipeline.service import FileSubmit, IngestService
from gristmill.pipeline.settings import IngestSettings
from gristmill.pipeline.sweep import Swept, sweep
from gristmill.pipeline.tasks import TaskLimits, Upkeep, register
from gristmill.pipeline.work import Ports
from gristmill.ports.catalog import Dataset, Document, Submission
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.docstore import Record, Space
from gristmill.ports.document import ParsedDocument, Range
from gristmill.ports.model import Purpose
from gristmill.ports.parser import PageParser, ParseLimits, Parser, Reading, RowParser, Source
from gristmill.providers.lexical import LexicalEmbedder
from gristmill.testing.clock import FakeClock
from gristmill.wiring import close_ports, open_ports

CANVAS: Any = importlib.import_module("reportlab.pdfgen.canvas")  # it has no types
TENANT = "t"
SMALL = IngestSettings(chunk=ChunkSettings(chunk_token_num=16), embedder="lexical")


class CrashError(BaseException):
    """The end of a process: nobody catches it."""


class Count:
    """What was parsed: the document's name, and its pages where they were read apart. ``trouble``: what happens instead."""

    def __init__(self, parsed: list[tuple[str, Range | None]], trouble: list[Exception]) -> None:
        self._parsed, self._trouble = parsed, trouble

    def note(self, name: str, part: Range | None = None) -> None:
        self._parsed.append((name, part))
        if self._trouble:
            raise self._trouble.pop(0)


class CountingParser(Parser):
    """Parses, and notes what."""

    def __init__(self, inner: Parser, count: Count) -> None:
        self._inner, self._count = inner, count
        self.name, self.version = inner.name, inner.version  # type: ignore[misc]  # those of what it stands for

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        self._count.note(source.name)
        return self._inner.parse(source, limits)


class CountingPages(PageParser):
    """Reads pages, and notes which."""

    def __init__(self, inner: PageParser, count: Count) -> None:
        self._inner, self._count = inner, count
        self.name, self.version = inner.name, inner.version  # type: ignore[misc]  # those of what it stands for

    def count(self, source: Source, limits: ParseLimits) -> int:
        return self._inner.count(source, limits)

    def read(self, source: Source, limits: ParseLimits, part: Range) -> Reading:
        self._count.note(source.name, part)
        return self._inner.read(source, limits, part)

    def join(self, name: str, limits: ParseLimits, readings: Iterable[Reading]) -> ParsedDocument:
        return self._inner.join(name, limits, readings)


class CountingRows(RowParser):
    """Cuts windows, and notes of what."""

    def __init__(self, inner: RowParser, count: Count) -> None:
        self._inner, self._count = inner, count
        self.name, self.version = inner.name, inner.version  # type: ignore[misc]  # those of what it stands for

    def windows(self, source: Source, limits: ParseLimits) -> Iterator[ParsedDocument]:
        self._count.note(source.name)
        return self._inner.windows(source, limits)


def counting(inner: Parser, count: Count) -> Parser:
    """The parser, with all that it parses noted."""
    if isinstance(inner, PageParser):
        return CountingPages(inner, count)
    return CountingRows(inner, count) if isinstance(inner, RowParser) else CountingParser(inner, count)


class CountingEmbedder(LexicalEmbedder):
    """Embeds, and notes each text. ``trouble``: what happens instead, one for each call."""

    def __init__(self, *, batch: int = 256) -> None:
        super().__init__(batch=batch)
        self.texts: list[str] = []
        self.trouble: list[Exception] = []

    def embed(self, texts: Sequence[str], purpose: Purpose) -> list[bytes]:
        if self.trouble:
            raise self.trouble.pop(0)
        self.texts += texts
        return super().embed(texts, purpose)


class Home:
    """One installation: its stores in a folder, its broker, and a worker that is moved by hand."""

    def __init__(self, root: Path, clock: FakeClock) -> None:
        self.root, self.clock = root, clock
        self.files = root / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.parsed: list[tuple[str, Range | None]] = []
        self.parser_trouble: list[Exception] = []
        self.embedder = CountingEmbedder()
        self.settings = Settings.model_validate({"home": root / "home", "stores": {"durable": False}})
        self.open()
        self.app = App("pipeline")
        register(self.app, lambda: self.ports, limits=TaskLimits(), upkeep=Upkeep(grace=60.0, keep_dead=3600.0))
        self.lose_broker()
        self.dataset = self.ports.catalog.create_dataset(TENANT, "demo", embedder="lexical", dim=384, settings={})

    def open(self) -> None:
        """Open the stores as a new process does."""
        ports = open_ports(self.settings, SqlCatalog(self.settings.catalog_url, clock=self.clock))
        parsers: dict[str, Parser] = {}

        def parser(name: str) -> Parser:
            if name not in parsers:
                parsers[name] = counting(PARSERS.load(name)(), Count(self.parsed, self.parser_trouble))
            return parsers[name]

        self.ports: Ports = dataclasses.replace(
            ports, parser=parser, embedder=lambda _: self.embedder, clock=self.clock
        )

    def close(self) -> None:
        close_ports(self.ports)

    def lose_broker(self) -> None:
        """From now on there is a broker that knows nothing."""
        self.broker: Broker = MemoryBroker(clock=self.clock)
        self.service = IngestService(self.ports, self.broker, detect=self._detect, splits=splits)

    def _detect(self, path: Path) -> str:
        with path.open("rb") as stream:
            return detect(path.name, stream)

    # -- the caller's side
    def write(self, name: str, content: str | bytes) -> Path:
        """A file to ingest."""
        path = self.files / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    async def submit(
        self, path: Path, settings: IngestSettings = SMALL, *, dataset: Dataset | None = None, again: bool = False
    ) -> Submission:
        return await self.service.submit(dataset or self.dataset, FileSubmit(path, path.name), settings, again=again)

    async def ingest(self, path: Path, settings: IngestSettings = SMALL, **more: Any) -> Document:
        """Submit a file and do all that follows."""
        submission = await self.submit(path, settings, **more)
        await self.work()
        return self.document(submission.document.id)

    # -- the worker's side
    async def work(self, most: int = 10_000) -> list[TaskRecord]:
        """Run what waits, one task after the other; what may be repeated is repeated at once."""
        ended: list[TaskRecord] = []
        inline = Inline(self.app, say=lambda said: None, publish=self._publish, book=self.broker.book)
        for _ in range(most):
            leases = await self.broker.reserve([QUEUE], worker="w", limit=1, lease=60, wait=0)
            if not leases:
                break
            [lease] = leases
            outcome = await inline.execute(lease.message, lease.attempt, inline.policies[lease.message.task])
            if outcome.ending is Ending.ERROR and outcome.retryable:
                await self.broker.release([Release(lease, error=outcome.error)])
            else:
                state = TaskState.SUCCEEDED if outcome.ending is Ending.OK else TaskState.FAILED
                await self.broker.finish([End(lease, state, outcome.result, outcome.error)])
            [record] = await self.broker.describe([lease.id])
            assert record is not None
            ended.append(record)
        return ended

    async def _publish(self, messages: Sequence[Message]) -> list[bool]:
        return await self.broker.publish(messages)

    def sweep(self, *, grace: float = 0.0, keep_dead: float = 0.0, cache_bytes: int = 2**40) -> Swept:
        return sweep(self.ports, grace=grace, keep_dead=keep_dead, cache_bytes=cache_bytes)

    # -- what is there
    def document(self, document_id: str) -> Document:
        return self.ports.catalog.document(TENANT, document_id)

    @property
    def space(self) -> Space:
        return Space(TENANT, self.dataset.id, self.dataset.dim)

    def chunks(self, document: Document) -> list[Record]:
        """What readers see of a document."""
        view = self.ports.catalog.view(self.dataset.id)
        return self.ports.docstore.chunks(self.space, view, document.id)

    def parents(self, document: Document) -> list[str]:
        """The text of the parent of each of a document's chunks."""
        view = self.ports.catalog.view(self.dataset.id)
        ids = [one.parent_id for one in self.chunks(document)]
        return [
            "".join(one.content for one in self.ports.docstore.named(self.space, view, name)) for name in ids if name
        ]

    def stored(self) -> dict[int, int]:
        """Every generation with records, with their number."""
        return self.ports.docstore.generations(self.space)

    def objects(self, prefix: str = "") -> set[str]:
        return set(self.ports.storage.keys(prefix))


def paragraphs(count: int, word: str = "lease") -> str:
    """A text of so many paragraphs, each a chunk of its own, all different."""
    return "\n\n".join(f"Paragraph {n} tells of {word} number {n} and of nothing else at all." for n in range(count))


def pdf(path: Path, pages: int, text: Callable[[int], str] = lambda n: f"Page {n} tells of lease number {n}.") -> Path:
    """A PDF with a line of text on each page."""
    made: Any = CANVAS.Canvas(str(path), invariant=1)
    for number in range(1, pages + 1):
        if text(number):
            made.drawString(72, 700, text(number))
        made.showPage()
    made.save()
    return path


def csv(rows: int) -> str:
    """A table with a header and so many rows."""
    return "number,name,value\n" + "".join(f"{n},name{n},{n * 7}\n" for n in range(rows - 1))


def with_slices(settings: IngestSettings, size: int) -> IngestSettings:
    """The same, with at most so many chunks a task."""
    return msgspec.structs.replace(settings, chunks_per_part=size)
