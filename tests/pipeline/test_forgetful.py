"""A broker that loses its whole memory, or gets an old one back, while a hundred documents are on their way (P1)."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import anyio
import anyio.from_thread
import pytest

from gristmill.base import sqlite
from gristmill.brokers import open_broker
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.broker import Broker
from gristmill.engine.state import TaskState
from gristmill.pipeline.plan import QUEUE
from gristmill.pipeline.reconcile import Reconciled
from gristmill.pipeline.service import IngestService
from gristmill.ports.catalog import RunState
from gristmill.testing.forgetting import forget, forget_rows
from gristmill.testing.workers import working
from pipeline.home import SMALL, TENANT, Home, paragraphs
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

DOCUMENTS = 100
TOLD = 40  # documents that are done when it happens
EARLIER = 10  # and when the backup was taken


BACKENDS = {"memory": "trio", "sqlite": "asyncio", "valkey": "asyncio"}


def on(*brokers: str) -> pytest.MarkDecorator:
    """Run a test on these brokers, each on one of the loops."""
    return pytest.mark.parametrize(("mill", "anyio_backend"), [(one, BACKENDS[one]) for one in brokers], indirect=True)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "asyncio")


class Mill:
    """A home with two workers and a keeper, on a broker that can be robbed of what it knows."""

    def __init__(self, home: Home, broker: Broker, url: str, servers: ServerPool) -> None:
        self.home, self.broker, self.url = home, broker, url
        self._servers = servers
        self.service = home.service = IngestService(
            home.ports, broker, detect=home._detect, splits=lambda format_: False
        )
        self.done = 0
        self._reached: dict[int, anyio.Event] = {n: anyio.Event() for n in range(DOCUMENTS + 1)}
        commit = home.ports.catalog.commit

        def counted(run_id: str, *, chunks: int) -> bool:
            done = commit(run_id, chunks=chunks)
            anyio.from_thread.run_sync(self._count)
            return done

        home.ports.catalog.commit = counted  # type: ignore[method-assign]

    def _count(self) -> None:
        documents = self.home.ports.catalog.documents(TENANT)
        for number in range(sum(one.state is RunState.DONE for one in documents) + 1):
            self._reached[number].set()

    async def reached(self, documents: int) -> None:
        await self._reached[documents].wait()

    async def forget(self) -> None:
        if isinstance(self.broker, MemoryBroker):
            forget(self.broker)
        elif self.url.startswith("redis"):
            await anyio.to_thread.run_sync(self._servers.redis().command, "FLUSHALL")
        else:
            await anyio.to_thread.run_sync(forget_rows, self.url)

    async def back_up(self) -> Callable[[], Awaitable[None]]:
        """Returns what puts the broker back to what it knows now."""
        if isinstance(self.broker, MemoryBroker):
            broker = self.broker
            kept = {name: copy.deepcopy(getattr(broker, name)) for name in _KNOWLEDGE}

            async def back() -> None:
                vars(broker).update(kept)
                broker._wake_up()

            return back
        live, backup = Path(self.url.removeprefix("sqlite:///")), self.home.root / "backup.db"
        await anyio.to_thread.run_sync(copied, live, backup)
        return lambda: anyio.to_thread.run_sync(copied, backup, live)


def copied(source: Path, target: Path) -> None:
    with closing(sqlite.connect(source)) as old, closing(sqlite.connect(target)) as new:
        old.backup(new)


_KNOWLEDGE = ("_tasks", "_keys", "_running", "_busy", "_lanes", "_delayed", "_seq", "_locks", "_beats", "_empty")


@pytest.fixture
async def mill(request: pytest.FixtureRequest, home: Home, servers: ServerPool) -> AsyncIterator[Mill]:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{home.root / 'broker.db'}"}.get(request.param, "")
    with anyio.fail_after(300):
        url = url or await anyio.to_thread.run_sync(servers.fresh, "valkey-9")
        async with open_broker(url) as broker:
            mill = Mill(home, broker, url, servers)
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: mill.service.keep_reconciled(every=0.2, owner="w"))
                async with (
                    working(broker, home.app, inline=True, queues=[QUEUE], slots=2, name="one", lease=2),
                    working(broker, home.app, inline=True, queues=[QUEUE], slots=2, name="two", lease=2),
                ):
                    yield mill
                group.cancel_scope.cancel()


def text(number: int) -> str:
    return paragraphs(1 + number % 3, word=f"document-{number}")


async def submit_all(home: Home) -> None:
    for number in range(DOCUMENTS):
        await home.submit(home.write(f"{number}.md", text(number)), SMALL)


def all_is_well(home: Home) -> None:
    """Every document is done and was so once, readers see each of its chunks once, and nothing else is stored."""
    documents = home.ports.catalog.documents(TENANT)
    assert {one.state for one in documents} == {RunState.DONE}
    assert len(documents) == DOCUMENTS
    for document in documents:
        words = sorted(word for record in home.chunks(document) for word in record.content.split())
        assert words == sorted(text(int(document.name.partition(".")[0])).split())
    assert len(home.ports.catalog.operations(TENANT, limit=10 * DOCUMENTS)) == DOCUMENTS
    home.sweep()
    assert home.stored() == {document.live: document.chunks for document in documents}


@on("memory", "sqlite", "valkey")
async def test_a_hundred_documents_outlive_the_whole_memory_of_their_broker(mill: Mill) -> None:
    async with anyio.create_task_group() as submitting:
        submitting.start_soon(submit_all, mill.home)
        await mill.reached(TOLD)
        await mill.forget()
        await mill.reached(TOLD + 10)
        await mill.forget()
    await mill.reached(DOCUMENTS)
    all_is_well(mill.home)


@on("memory", "sqlite")
async def test_a_broker_restored_from_an_old_backup_doubles_nothing_and_resurrects_nothing(mill: Mill) -> None:
    """It knows tasks of documents that are done or deleted by now, and none of those that came later."""
    home = mill.home
    async with anyio.create_task_group() as submitting:
        submitting.start_soon(submit_all, home)
        await mill.reached(EARLIER)
        restore = await mill.back_up()
        await mill.reached(TOLD)
        await restore()
    await mill.reached(DOCUMENTS)
    all_is_well(home)


async def test_tasks_of_an_old_backup_leave_cancelled_and_deleted_documents_alone(home: Home) -> None:
    cancelled, deleted, done = [await home.submit(home.write(f"{n}.md", paragraphs(3))) for n in range(3)]
    old = copy.deepcopy([record.message for record in await home.broker.tasks()])
    await home.service.cancel(TENANT, cancelled.document.id)
    await home.service.delete(TENANT, deleted.document.id)
    await home.work()
    live = home.document(done.document.id).live
    home.lose_broker()
    await home.broker.publish(old)
    assert await home.service.reconcile() == Reconciled()
    ended = await home.work()
    assert {record.state for record in ended} == {TaskState.FAILED}
    assert home.document(cancelled.document.id).state is RunState.CANCELLED
    assert {one.id for one in home.ports.catalog.documents(TENANT)} == {cancelled.document.id, done.document.id}
    assert (home.document(done.document.id).live, home.document(done.document.id).state) == (live, RunState.DONE)
    home.sweep()
    assert home.stored() == {live: home.document(done.document.id).chunks}
