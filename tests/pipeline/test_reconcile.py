"""Catalog and broker are brought to one mind, whatever either of them forgot (P1)."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.from_thread
import pytest
from anyio.abc import TaskGroup

from gristmill.base.errors import StoreUnavailable
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.message import End, ErrorRecord, Message, Release, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.pipeline import reconcile as reconcile_module
from gristmill.pipeline.plan import QUEUE, finish_message
from gristmill.pipeline.reconcile import LOCK, Reconciled, Reconciler
from gristmill.ports.catalog import Document, Failure, RunState
from gristmill.testing.forgetting import forget
from pipeline.home import SMALL, TENANT, CrashError, Home, paragraphs, pdf, with_slices

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def end_next(home: Home, state: TaskState, *, limit: str = "") -> TaskRecord:
    """The next task ends without its body having had a say."""
    [lease] = await home.broker.reserve([QUEUE], worker="w", limit=1, lease=60, wait=0)
    error = ErrorRecord("RunnerCrashed", "signal 11", attempt=1, limit=limit)
    if state is TaskState.DEAD:
        while True:
            await home.broker.release([Release(lease, error=error)])
            leases = await home.broker.reserve([QUEUE], worker="w", limit=1, lease=60, wait=0)
            if not leases or leases[0].id != lease.id:
                break
            [lease] = leases
    elif state is TaskState.CANCELLED:
        await home.broker.release([Release(lease, counted=False)])
        await home.broker.cancel([lease.id])
    else:
        await home.broker.finish([End(lease, state, error=None if state is TaskState.SUCCEEDED else error)])
    [record] = await home.broker.describe([lease.id])
    assert record is not None
    assert record.state is state
    return record


def whole(home: Home, document: Document) -> None:
    """The document is done, all of it is seen, and nothing else is stored."""
    assert document.state is RunState.DONE
    assert len(home.chunks(document)) == document.chunks
    home.sweep()
    assert home.stored() == {document.live: document.chunks}
    assert home.ports.catalog.unfinished() == []


@pytest.mark.parametrize("done", range(6))
async def test_a_broker_that_forgot_everything_is_told_again(home: Home, done: int) -> None:
    submission = await home.submit(pdf(home.files / "a.pdf", 40))
    await home.work(done)
    parsed = list(home.parsed)
    home.lose_broker()
    told = await home.service.reconcile()
    assert told == Reconciled(1, max(1, 4 - done + 1) if done else 1, 0)
    assert (await home.service.reconcile()).published == 0
    await home.work()
    whole(home, home.document(submission.document.id))
    assert home.parsed[: len(parsed)] == parsed
    assert len(home.parsed) == 4


async def test_what_was_published_twice_is_done_once(home: Home) -> None:
    """The catalog was written, the process died before the broker was told, and the file was submitted again."""
    path = home.write("a.md", paragraphs(20))
    first = await home.submit(path)
    home.lose_broker()
    again = await home.submit(path)
    assert (again.fresh, again.run.id) == (False, first.run.id)
    await home.service.reconcile()
    assert len(await home.work()) == 1
    whole(home, home.document(first.document.id))


async def test_slices_of_a_part_come_back_too(home: Home) -> None:
    submission = await home.submit(home.write("a.md", paragraphs(60)), with_slices(SMALL, 16))
    await home.work(2)
    home.lose_broker()
    await home.service.reconcile()
    await home.work()
    whole(home, home.document(submission.document.id))
    assert len(home.parsed) == 1


async def test_a_run_whose_parts_are_done_but_which_nobody_committed_gets_a_finish(home: Home) -> None:
    submission = await home.submit(home.write("a.md", paragraphs(20)))
    run = submission.run
    commit = home.ports.catalog.commit
    home.ports.catalog.commit = _crash  # type: ignore[method-assign]
    with pytest.raises(CrashError):
        await home.work()
    home.ports.catalog.commit = commit  # type: ignore[method-assign]
    home.lose_broker()
    assert (await home.service.reconcile()).published == 1
    assert list(await home.broker.find([finish_message(run).key or ""])) == [f"{run.id}:finish"]
    await home.work()
    whole(home, home.document(submission.document.id))


def _crash(*args: object, **fields: object) -> bool:
    raise CrashError


@pytest.mark.parametrize("task", [0, 1], ids=["plan", "part"])
@pytest.mark.parametrize("state", [TaskState.DEAD, TaskState.FAILED, TaskState.CANCELLED])
async def test_a_run_that_one_of_its_tasks_let_down_ends_with_the_reason(
    home: Home, task: int, state: TaskState
) -> None:
    path = pdf(home.files / "a.pdf", 40)
    submission = await home.submit(path)
    await home.work(task)
    await end_next(home, state)
    assert (await home.service.reconcile()).failed == 1
    document = home.document(submission.document.id)
    if state is TaskState.CANCELLED:
        assert (document.state, document.failure) == (RunState.CANCELLED, None)
    else:
        assert document.failure is not None
        assert (document.failure.type, document.failure.message) == ("RunnerCrashed", "signal 11")
        assert not document.failure.final
    assert await home.work() == []  # the others of the run are cancelled
    again = await home.ingest(path)
    whole(home, again)


async def test_a_run_ended_by_a_limit_is_not_repeated_by_itself(home: Home) -> None:
    path = home.write("a.md", paragraphs(3))
    submission = await home.submit(path)
    await end_next(home, TaskState.FAILED, limit="HardTimeLimitExceeded")
    await home.service.reconcile()
    failure = home.document(submission.document.id).failure
    assert failure is not None
    assert failure.final
    assert not (await home.submit(path)).fresh


@pytest.mark.parametrize("done", [1, 2, 5])
async def test_a_catalog_that_was_set_back_ends_its_runs_with_the_reason(home: Home, done: int) -> None:
    """An old backup, or a power cut: the broker holds for done what the catalog no longer knows of."""
    path = pdf(home.files / "a.pdf", 40)
    submission = await home.submit(path)
    file = home.root / "home" / "catalog.db"
    home.close()
    shutil.copy(file, home.root / "backup.db")
    broker = home.broker
    home.open()
    await home.work(done)
    home.close()
    shutil.copy(home.root / "backup.db", file)
    home.open()
    home.lose_broker()
    home.broker = home.service._broker = broker
    await home.service.reconcile()
    document = home.document(submission.document.id)
    assert document.failure is not None
    assert "lost" in document.failure.message
    assert not document.failure.final
    await home.work()
    whole(home, await home.ingest(path))


async def test_a_task_that_ends_while_we_look_is_no_loss(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog was read before the part ended, the broker after it."""
    submission = await home.submit(pdf(home.files / "a.pdf", 40))
    await home.work(1)
    find = home.broker.find

    async def worked_meanwhile(keys: Sequence[str]) -> dict[str, TaskRecord]:
        await home.work(2)
        return await find(keys)

    monkeypatch.setattr(home.broker, "find", worked_meanwhile)
    assert await home.service.reconcile() == Reconciled(1, 0, 0)
    monkeypatch.undo()
    await home.work()
    whole(home, home.document(submission.document.id))


async def test_only_what_the_broker_does_not_know_is_published(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile_module, "BATCH", 4)
    for number in range(10):
        await home.submit(home.write(f"{number}.md", f"text {number}"))
    forgotten = MemoryBroker(clock=home.clock)
    known = [one.message for one in await home.broker.tasks(limit=100)][:7]
    await forgotten.publish(known)
    published: list[Message] = []
    publish = forgotten.publish

    async def noted(messages: Sequence[Message]) -> list[bool]:
        published.extend(messages)
        return await publish(messages)

    monkeypatch.setattr(forgotten, "publish", noted)
    home.broker = home.service._broker = forgotten
    assert await home.service.reconcile() == Reconciled(10, 3, 0)
    assert len(published) == 3
    await home.work()
    assert {document.state for document in home.ports.catalog.documents(TENANT)} == {RunState.DONE}


async def test_a_look_costs_a_few_questions_however_many_runs_there_are(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        await home.submit(home.write(f"{number}.md", f"text {number}"))
    asked: list[str] = []
    catalog = home.ports.catalog
    for name in ("unfinished", "parts_of", "parts", "part", "run", "runs", "document"):
        monkeypatch.setattr(catalog, name, _counted(getattr(catalog, name), name, asked))
    monkeypatch.setattr(home.broker, "find", _counted(home.broker.find, "find", asked))
    await home.service.reconcile()
    assert asked == ["unfinished", "parts_of", "find", "unfinished"]


def _counted(real: object, name: str, asked: list[str]) -> object:
    def counted(*args: object, **fields: object) -> object:
        asked.append(name)
        return real(*args, **fields)  # type: ignore[operator]

    return counted


class Keeper:
    """A keeper at work, whose looks at all runs can be waited for."""

    def __init__(self, home: Home, group: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
        self._send, self._looked = anyio.create_memory_object_stream[Reconciled](100)
        look = Reconciler.look

        async def noted(me: Reconciler, **how: object) -> Reconciled:
            done = await look(me, **how)  # type: ignore[arg-type]
            await self._send.send(done)
            return done

        monkeypatch.setattr(Reconciler, "look", noted)
        self._group, self._home = group, home

    def start(self, *, every: float) -> None:
        self._group.start_soon(lambda: self._home.service.keep_reconciled(every=every, owner="me"))

    async def looked(self) -> Reconciled:
        return await self._looked.receive()

    def close(self) -> None:
        self._group.cancel_scope.cancel()
        self._send.close()
        self._looked.close()


@pytest.fixture
async def keeper(home: Home, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keeper]:
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            keeper = Keeper(home, group, monkeypatch)
            yield keeper
            keeper.close()


async def test_a_run_ends_at_once_when_a_task_ends_badly_and_nothing_else_is_looked_at(
    home: Home, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = await home.submit(home.write("a.md", paragraphs(3)))
    await home.submit(home.write("b.md", paragraphs(3)))
    keeper.start(every=3600.0)
    assert (await keeper.looked()).failed == 0
    catalog, asked, ended = home.ports.catalog, list[str](), anyio.Event()
    fail = catalog.fail

    def failed(run_id: str, failure: Failure) -> bool:
        done = fail(run_id, failure)
        anyio.from_thread.run_sync(ended.set)
        return done

    monkeypatch.setattr(catalog, "fail", failed)
    monkeypatch.setattr(catalog, "unfinished", _counted(catalog.unfinished, "unfinished", asked))
    await end_next(home, TaskState.FAILED)
    await ended.wait()
    assert home.document(submission.document.id).state is RunState.FAILED
    assert asked == []


async def test_one_process_at_a_time_is_the_keeper(home: Home) -> None:
    await home.submit(home.write("a.md", paragraphs(3)))
    home.lose_broker()
    await home.broker.lock(LOCK, owner="another", ttl=60)
    mine = home.service._reconciler()
    assert not await mine.look_if_mine(every=10, token="me")
    assert await home.broker.tasks() == []
    home.clock.move(61)
    assert await mine.look_if_mine(every=10, token="me")
    assert len(await home.broker.tasks()) == 1


async def test_two_workers_of_one_name_are_not_both_the_keeper(home: Home, keeper: Keeper) -> None:
    keeper.start(every=0.01)
    await keeper.looked()
    assert not await home.broker.lock(LOCK, owner="me", ttl=1)


async def test_a_keeper_whose_lock_another_has_taken_stops_in_the_middle(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_module, "BATCH", 2)
    for number in range(6):
        await home.submit(home.write(f"{number}.md", f"text {number}"))
    home.lose_broker()
    publish = home.broker.publish

    async def and_stop_for_long(messages: Sequence[Message]) -> list[bool]:
        done = await publish(messages)
        home.clock.move(61)
        await home.broker.lock(LOCK, owner="another", ttl=60)
        return done

    monkeypatch.setattr(home.broker, "publish", and_stop_for_long)
    await home.service._reconciler().look_if_mine(every=10, token="me")
    assert len(await home.broker.tasks()) == 2


async def test_a_keeper_that_leaves_makes_nobody_wait(home: Home, keeper: Keeper) -> None:
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: home.service.keep_reconciled(every=3600.0, owner="me"))
            await keeper.looked()
            group.cancel_scope.cancel()
    assert await home.broker.lock(LOCK, owner="next", ttl=1)


async def test_with_very_many_runs_the_oldest_tell_that_the_broker_has_lost_its_memory(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_module, "BATCH", 2)
    for number in range(7):
        await home.submit(home.write(f"{number}.md", f"text {number}"))
    mine = home.service._reconciler()
    looked: list[Reconciled] = []
    look = mine.look

    async def noted(**how: Any) -> Reconciled:
        home.clock.move(1)  # a look takes a second, so they are to be a minute apart
        looked.append(await look(**how))
        home.clock.move(1)
        return looked[-1]

    monkeypatch.setattr(mine, "look", noted)
    for _ in range(3):
        assert await mine.look_if_mine(every=10, token="me")
    assert looked == [Reconciled(7), Reconciled(2, whole=False), Reconciled(2, whole=False)]
    broker = home.broker
    assert isinstance(broker, MemoryBroker)
    forget(broker)
    assert await mine.look_if_mine(every=10, token="me")
    assert looked[3] == Reconciled(7, published=7)
    home.clock.move(60)
    assert await mine.look_if_mine(every=10, token="me")
    assert looked[4] == Reconciled(7)


async def test_the_keeper_outlives_a_store_that_does_not_answer(
    home: Home, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.submit(home.write("a.md", paragraphs(3)))
    home.lose_broker()
    unfinished, calls = home.ports.catalog.unfinished, 0

    def sometimes(**fields: object) -> object:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise StoreUnavailable("not now")
        return unfinished(**fields)  # type: ignore[arg-type]

    monkeypatch.setattr(home.ports.catalog, "unfinished", sometimes)
    keeper.start(every=0.001)
    assert await home.broker.reserve([QUEUE], worker="w", limit=1, lease=60)
    assert calls > 2
