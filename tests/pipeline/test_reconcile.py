"""Catalog and broker are brought to one mind, whatever either of them forgot (P1)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import anyio
import pytest

from gristmill.base.errors import StoreUnavailable
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.message import End, ErrorRecord, Message, Release, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.pipeline import service as service_module
from gristmill.pipeline.plan import QUEUE, finish_message
from gristmill.pipeline.service import Reconciled
from gristmill.ports.catalog import Document, RunState
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


@pytest.mark.parametrize("done", range(5))
async def test_a_broker_that_forgot_everything_is_told_again(home: Home, done: int) -> None:
    submission = await home.submit(pdf(home.files / "a.pdf", 40))
    await home.work(done)
    parsed = list(home.parsed)
    home.lose_broker()
    told = await home.service.reconcile()
    assert told == Reconciled(1, 4 - done + 1 if done else 1, 0)
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
    monkeypatch.setattr(service_module, "BATCH", 4)
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


async def test_the_keeper_looks_again_at_once_when_a_task_ends_badly(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = await home.submit(home.write("a.md", paragraphs(3)))
    looked, told = anyio.create_memory_object_stream[Reconciled](10)
    reconcile = home.service.reconcile

    async def noted() -> Reconciled:
        done = await reconcile()
        await looked.send(done)
        return done

    monkeypatch.setattr(home.service, "reconcile", noted)
    with anyio.fail_after(30), looked, told:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: home.service.keep_reconciled(every=3600.0, owner="me"))
            assert (await told.receive()).failed == 0
            await end_next(home, TaskState.FAILED)
            assert (await told.receive()).failed == 1
            group.cancel_scope.cancel()
    assert home.document(submission.document.id).state is RunState.FAILED


async def test_one_process_at_a_time_is_the_keeper(home: Home) -> None:
    await home.broker.lock("reconcile", owner="another", ttl=60)
    await home.submit(home.write("a.md", paragraphs(3)))
    home.lose_broker()
    await home.broker.lock("reconcile", owner="another", ttl=60)
    await home.service._reconcile_if_mine(every=10, owner="me")
    assert await home.broker.tasks() == []
    home.clock.move(61)
    await home.service._reconcile_if_mine(every=10, owner="me")
    assert len(await home.broker.tasks()) == 1


async def test_the_keeper_outlives_a_store_that_does_not_answer(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: home.service.keep_reconciled(every=0.001, owner="me"))
            assert await home.broker.reserve([QUEUE], worker="w", limit=1, lease=60)
            group.cancel_scope.cancel()
    assert calls > 2
