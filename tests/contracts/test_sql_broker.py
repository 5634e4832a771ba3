"""What is the SQL broker's own: several processes on one file, group commit, guards in the store, bounds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from gristmill.base import sqlite
from gristmill.base.errors import BrokerUnavailable, EngineError, SettingsError
from gristmill.brokers.sql import schema, tables
from gristmill.brokers.sql.broker import SqlBroker
from gristmill.brokers.sql.presence import Presence
from gristmill.brokers.sql.watch import Watch
from gristmill.engine.message import End, Lease, Progress, Release
from gristmill.engine.state import LEGAL, TaskState
from gristmill.testing.brokers.looking import a_beat
from gristmill.testing.brokers.making import (
    LEASE,
    PATIENCE,
    a_message,
    claim,
    claimed,
    notice,
    publish,
    record,
    waiting,
)
from gristmill.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def broker(path: Path, clock: FakeClock) -> AsyncIterator[SqlBroker]:
    async with SqlBroker(f"sqlite:///{path}", clock=clock) as broker:
        yield broker


@pytest.fixture
async def other(broker: SqlBroker, path: Path, clock: FakeClock) -> AsyncIterator[SqlBroker]:
    """The broker of another process, as far as this one can tell."""
    async with SqlBroker(f"sqlite:///{path}", clock=clock) as other:
        yield other


@contextmanager
def busy(path: Path) -> Iterator[Callable[[], None]]:
    """Another process writes: whoever wants to write waits until the given function is called."""
    connection = sqlite.connect(path)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection.rollback
    finally:
        connection.close()


def raw(path: Path, statement: str) -> None:
    """Go round the broker."""
    connection = sqlite.connect(path)
    connection.execute(statement)
    connection.close()


class TestProcesses:
    async def test_what_one_publishes_the_other_claims_and_ends(self, broker: SqlBroker, other: SqlBroker) -> None:
        [message] = await publish(broker, key="k")
        [lease] = await claim(other)
        assert await claim(broker) == []
        assert await broker.publish([a_message(key="k")]) == [False]
        assert await other.finish([End(lease, TaskState.SUCCEEDED, result=b"1")]) == [True]
        assert (await record(broker, message)).result == b"1"

    async def test_a_publish_wakes_the_other(self, broker: SqlBroker, other: SqlBroker) -> None:
        for _ in range(3):
            async with waiting(other) as got:
                [message] = await publish(broker)
            assert [lease.id for lease in got] == [message.id]

    async def test_a_release_wakes_the_other(self, broker: SqlBroker, other: SqlBroker) -> None:
        lease = await claimed(broker)
        async with waiting(other) as got:
            await broker.release([Release(lease, counted=False)])
        assert [one.id for one in got] == [lease.id]

    async def test_notices_reach_the_watchers_of_all(self, broker: SqlBroker, other: SqlBroker) -> None:
        lease = await claimed(broker)
        async with broker.notices() as here, other.notices() as there:
            await broker.progress([Progress(lease, 0.25)])
            await other.progress([Progress(lease, 0.5)])
            for notices in (here, there):
                assert [(await notice(notices, "progress")).progress for _ in range(2)] == [0.25, 0.5]

    async def test_a_lease_that_another_reclaimed_is_lost(
        self, broker: SqlBroker, other: SqlBroker, clock: FakeClock
    ) -> None:
        lease = await claimed(broker)
        clock.move(LEASE)
        assert len(await other.reclaim()) == 1
        assert await broker.finish([End(lease, TaskState.SUCCEEDED)]) == [False]

    async def test_two_that_claim_at_once_share_and_never_both_get_one(
        self, broker: SqlBroker, other: SqlBroker
    ) -> None:
        """P3."""
        messages = await publish(broker, 120)
        got: list[Lease] = []

        async def work(mine: SqlBroker) -> None:
            while leases := await claim(mine, 2):
                got.extend(leases)

        async with anyio.create_task_group() as group:
            for mine in (broker, other, broker, other):
                group.start_soon(work, mine)
        assert sorted(lease.id for lease in got) == sorted(message.id for message in messages)

    async def test_everything_is_there_after_all_have_closed(self, path: Path, clock: FakeClock) -> None:
        """P1."""
        async with SqlBroker(f"sqlite:///{path}", clock=clock) as broker:
            held = await claimed(broker, key="held")
            done = await claimed(broker, key="done")
            await broker.finish([End(done, TaskState.SUCCEEDED, result=b"1")])
            [queued] = await publish(broker, key="queued", delay=5)
            before = await broker.describe([held.id, done.id, queued.id])
        async with SqlBroker(f"sqlite:///{path}", clock=clock) as broker:
            assert await broker.describe([held.id, done.id, queued.id]) == before
            assert await broker.publish([a_message(key="queued")]) == [False]
            assert await broker.extend([held], lease=LEASE) == []
            clock.move(5)
            assert [lease.id for lease in await claim(broker)] == [queued.id]

    async def test_a_second_process_claims_beside_this_one(self, path: Path) -> None:
        """P3, with processes that are two."""
        code = f"""
import anyio
from gristmill.brokers import open_broker
from gristmill.engine.message import End
from gristmill.engine.state import TaskState

async def main():
    async with open_broker("sqlite:///{path}") as broker:
        while leases := await broker.reserve(["default"], worker="two", limit=3, lease=30, wait=0):
            print(*[lease.id for lease in leases], sep="\\n", flush=True)
            await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in leases])

anyio.run(main)
"""
        async with SqlBroker(f"sqlite:///{path}") as broker:
            messages = await publish(broker, 600)
            async with await anyio.open_process([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
                assert process.stdout is not None
                theirs = (await process.stdout.receive()).decode()  # it is at work: now we claim, too
                mine = []
                while leases := await claim(broker, 3):
                    mine += [lease.id for lease in leases]
                    await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in leases])
                async for piece in process.stdout:
                    theirs += piece.decode()
            assert process.returncode == 0
            assert mine
            assert sorted(mine + theirs.split()) == sorted(message.id for message in messages)
            assert len(await broker.tasks(states=[TaskState.SUCCEEDED], limit=1_000)) == 600

    async def test_what_a_killed_process_held_is_taken_back_at_once(self, path: Path) -> None:
        """Its lock went with it; no lease has to expire. Who is alive keeps what it holds, however silent it is."""
        code = f"""
import anyio
from gristmill.brokers import open_broker

async def main():
    async with open_broker("sqlite:///{path}") as broker:
        await broker.reserve(["default"], worker="two", limit=1, lease=3600, wait=0)
        print("holds", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
        async with SqlBroker(f"sqlite:///{path}") as broker:
            mine, theirs = await publish(broker, 2)
            await claim(broker, 1)
            async with await anyio.open_process([sys.executable, "-c", code], stderr=None) as process:
                assert process.stdout is not None
                assert (await process.stdout.receive()).startswith(b"holds")
                process.send_signal(signal.SIGSTOP)
                assert await broker.reclaim() == []
                process.kill()
                await process.wait()
                [back] = await broker.reclaim()
            assert back.id == theirs.id
            assert back.state is TaskState.QUEUED
            assert back.attempt == 1
            assert "two is gone" in back.history[-1].message
            assert (await record(broker, mine)).state is TaskState.RUNNING

    async def test_what_a_closed_broker_held_is_taken_back_at_once(
        self, broker: SqlBroker, path: Path, clock: FakeClock
    ) -> None:
        await publish(broker)
        async with SqlBroker(f"sqlite:///{path}", clock=clock) as other:
            [lease] = await claim(other)
            assert await broker.reclaim() == []
        assert [one.id for one in await broker.reclaim()] == [lease.id]
        assert await broker.finish([End(lease, TaskState.SUCCEEDED)]) == [False]


async def _once_all_wait(do: Callable[[], None]) -> None:
    await anyio.wait_all_tasks_blocked()
    do()


class TestGroupCommit:
    async def test_a_call_that_cannot_be_written_fails_alone(self, broker: SqlBroker, path: Path) -> None:
        """The transaction of all that wait together fails; the others are done again without it."""
        raw(
            path,
            "CREATE TRIGGER refuse BEFORE UPDATE ON task WHEN NEW.result = x'07' BEGIN SELECT RAISE(ABORT, 'no 7'); END",
        )
        leases = [await claimed(broker) for _ in range(3)]
        outcomes: dict[str, object] = {}

        async def call(name: str, step: Awaitable[object]) -> None:
            try:
                outcomes[name] = await step
            except EngineError as exc:
                outcomes[name] = exc

        with busy(path) as free:
            async with anyio.create_task_group() as group:
                group.start_soon(call, "before", broker.publish([a_message(0)]))
                await anyio.wait_all_tasks_blocked()  # it waits for the lock; the next ones gather behind it
                for name, step in {
                    "one": broker.finish([End(leases[0], TaskState.SUCCEEDED, result=b"1")]),
                    "no JSON": broker.publish([a_message("good"), a_message(object())]),
                    "refused": broker.finish([End(leases[1], TaskState.SUCCEEDED, result=b"\x07")]),
                    "two": broker.finish([End(leases[2], TaskState.SUCCEEDED, result=b"2")]),
                    "three": broker.publish([a_message(3)]),
                }.items():
                    group.start_soon(call, name, step)
                await anyio.wait_all_tasks_blocked()
                free()
        refused = [outcomes.pop(name) for name in ("no JSON", "refused")]
        assert [type(error) for error in refused] == [EngineError] * 2
        assert "no 7" in str(refused[1])
        assert outcomes == {"before": [True], "one": [True], "two": [True], "three": [True]}
        states = [(await record(broker, lease)).state.value for lease in leases]
        assert states == ["succeeded", "running", "succeeded"]
        assert sorted(lease.message.args for lease in await claim(broker, 9)) == [[0], [3]]
        assert await broker.finish([End(leases[1], TaskState.FAILED)]) == [True]

    async def test_a_claim_whose_caller_has_gone_goes_back_uncounted(self, broker: SqlBroker, path: Path) -> None:
        """P1, however far the claim had come."""
        [message] = await publish(broker, max_attempts=1)
        with busy(path) as free:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: broker.reserve(["default"], worker="gone", limit=1, lease=LEASE))
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            async with waiting(broker) as got:
                free()
        assert [(lease.id, lease.attempt, lease.token) for lease in got] == [(message.id, 1, 2)]

    async def test_a_claim_under_way_when_the_broker_closes_goes_back(self, path: Path, clock: FakeClock) -> None:
        """P9: nobody has to wait for the lease to expire."""
        async with anyio.create_task_group() as outer:
            with ExitStack() as stack:
                async with SqlBroker(f"sqlite:///{path}", clock=clock) as broker:
                    [message] = await publish(broker)
                    free = stack.enter_context(busy(path))
                    async with anyio.create_task_group() as group:
                        group.start_soon(lambda: broker.reserve(["default"], worker="gone", limit=1, lease=LEASE))
                        await anyio.wait_all_tasks_blocked()
                        group.cancel_scope.cancel()
                    outer.start_soon(_once_all_wait, free)
        async with SqlBroker(f"sqlite:///{path}", clock=clock) as again:
            assert [(lease.id, lease.attempt) for lease in await claim(again)] == [(message.id, 1)]

    @pytest.mark.parametrize("begun", [True, False])
    async def test_a_cancelled_publish_has_happened_wholly_or_not_at_all(
        self, broker: SqlBroker, path: Path, begun: bool
    ) -> None:
        messages = [a_message(number) for number in range(5)]
        with busy(path) as free:
            async with anyio.create_task_group() as first:
                if not begun:
                    first.start_soon(broker.publish, [a_message()])
                    await anyio.wait_all_tasks_blocked()
                async with anyio.create_task_group() as group:
                    group.start_soon(broker.publish, messages)
                    await anyio.wait_all_tasks_blocked()
                    group.cancel_scope.cancel()
                free()
        assert await broker.publish(messages) == [not begun] * 5

    async def test_what_this_process_publishes_wakes_it_without_a_look_at_the_file(self, broker: SqlBroker) -> None:
        broker._watch.stop()
        async with waiting(broker) as got:
            [message] = await publish(broker)
        assert [lease.id for lease in got] == [message.id]

    async def test_when_the_database_is_full_callers_are_told_and_it_goes_on_when_it_is_not(
        self, broker: SqlBroker
    ) -> None:
        pragma: Any = broker._writing.connection.connection.driver_connection
        [pages] = pragma.execute("PRAGMA page_count").fetchone()
        pragma.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(BrokerUnavailable, match=r"broker\.db.*full"):
            await broker.publish([a_message("x" * 1_000) for _ in range(100)])
        assert await broker.tasks() == []
        pragma.execute("PRAGMA max_page_count = 1000000")
        assert len(await publish(broker, 100)) == 100

    async def test_a_closed_broker_says_so(self, path: Path) -> None:
        async with SqlBroker(f"sqlite:///{path}") as broker:
            pass
        with pytest.raises(BrokerUnavailable, match="not open"):
            await broker.publish([a_message()])


def _make_a_folder_of_it(path: Path) -> None:
    path.mkdir(parents=True)


def _write_text(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is no database, however long it goes on" * 100)


def _put_a_file_before_it(path: Path) -> None:
    path.parent.write_text("a file")


class TestOpening:
    @pytest.mark.parametrize("damage", [_make_a_folder_of_it, _write_text, _put_a_file_before_it])
    async def test_a_file_that_cannot_be_opened_is_named(self, tmp_path: Path, damage: Callable[[Path], None]) -> None:
        path = tmp_path / "a" / "broker.db"
        damage(path)
        with pytest.raises(BrokerUnavailable, match=str(path)):
            async with SqlBroker(f"sqlite:///{path}"):
                raise AssertionError("opened")

    @pytest.mark.parametrize(
        "url", ["sqlite://", "sqlite:///:memory:", "oracle://host/db", "mysql+asyncmy://host/db", "sqlite"]
    )
    async def test_a_url_that_this_release_cannot_read_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(SettingsError, match=r"engine\.broker"):
            SqlBroker(url)

    async def test_folders_are_made(self, tmp_path: Path) -> None:
        async with SqlBroker(f"sqlite:///{tmp_path}/a/b/broker.db") as broker:
            assert await broker.depth() == []

    async def test_many_open_a_new_file_at_once(self, path: Path) -> None:
        async def use() -> None:
            async with SqlBroker(f"sqlite:///{path}") as broker:
                await publish(broker)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(use)
        async with SqlBroker(f"sqlite:///{path}") as broker:
            assert len(await broker.tasks()) == 5

    async def test_it_opens_again_after_it_was_closed(self, path: Path) -> None:
        broker = SqlBroker(f"sqlite:///{path}")
        for count in (1, 2):
            async with broker:
                await publish(broker)
                assert len(await broker.tasks()) == count


class TestTables:
    """The tables of other releases."""

    async def test_those_of_the_release_before_are_brought_up_with_what_is_in_them(
        self, path: Path, clock: FakeClock
    ) -> None:
        async with SqlBroker(f"sqlite:///{path}", clock=clock) as broker:
            lease = await claimed(broker, key="held")
            [queued] = await publish(broker, key="queued")
        for table in ("rate", "turnstile", "receipt", "broker_version"):  # it had none of them
            raw(path, f"DROP TABLE {table}")
        async with SqlBroker(f"sqlite:///{path}", clock=clock) as broker:
            assert await broker.finish([End(lease, TaskState.SUCCEEDED)]) == [True]
            assert [one.id for one in await claim(broker, 5)] == [queued.id]
            assert await broker.book("model", rate=1) == 0
        async with SqlBroker(f"sqlite:///{path}", clock=clock) as broker:
            found = broker._looking.connection.execute(sa.select(tables.revision)).one()
        assert found.revision == schema.NEWEST

    async def test_those_of_a_newer_release_are_refused_by_name(self, path: Path) -> None:
        async with SqlBroker(f"sqlite:///{path}"):
            pass
        raw(path, "UPDATE broker_version SET revision = 99, oldest = 99")
        with pytest.raises(EngineError, match=rf"{path}.*newer release.*99"):
            async with SqlBroker(f"sqlite:///{path}"):
                raise AssertionError("opened")


ILLEGAL = [(old, new) for old in TaskState for new in TaskState if new is not old and new not in LEGAL[old]]


def test_what_killed_processes_left_is_removed_and_what_is_alive_or_young_stays(tmp_path: Path) -> None:
    """P8."""
    with Presence(tmp_path) as alive:
        for name in ("old", "young"):
            (tmp_path / name).touch()
        for name in ("old", alive.id):
            os.utime(tmp_path / name, (1.0, 1.0))
        with Presence(tmp_path) as other:
            assert {file.name for file in tmp_path.iterdir()} == {"young", alive.id, other.id}
    assert {file.name for file in tmp_path.iterdir()} == {"young"}


class TestGuards:
    """The store itself refuses what no task may do, whoever writes."""

    @pytest.fixture
    def raw(self, broker: SqlBroker, path: Path) -> Iterator[Any]:
        connection = sqlite.connect(path)
        yield connection
        connection.close()

    async def _task_in(self, broker: SqlBroker, state: TaskState) -> str:
        if state is TaskState.QUEUED:
            return (await publish(broker))[0].id
        lease = await claimed(broker, max_attempts=1)
        if state is TaskState.DEAD:
            await broker.release([Release(lease)])
        elif state.final:
            await broker.finish([End(lease, state)])
        return lease.id

    @pytest.mark.parametrize(("old", "new"), ILLEGAL)
    async def test_only_legal_steps(self, broker: SqlBroker, raw: Any, old: TaskState, new: TaskState) -> None:
        task = await self._task_in(broker, old)
        with pytest.raises(sqlite.driver().IntegrityError):
            raw.execute("UPDATE task SET state = ?, token = token + 1 WHERE id = ?", (new.value, task))
        assert (await record(broker, task)).state is old

    @pytest.mark.parametrize("state", [state for state in TaskState if state.final])
    @pytest.mark.parametrize("column", ["result", "error", "ended", "attempt", "history", "progress", "message"])
    async def test_nothing_of_an_ended_task_changes(
        self, broker: SqlBroker, raw: Any, state: TaskState, column: str
    ) -> None:
        """P2."""
        task = await self._task_in(broker, state)
        with pytest.raises(sqlite.driver().IntegrityError, match="ended"):
            raw.execute(f"UPDATE task SET {column} = 7 WHERE id = ?", (task,))

    @pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING])
    async def test_what_has_not_ended_is_not_removed(self, broker: SqlBroker, raw: Any, state: TaskState) -> None:
        """P1."""
        task = await self._task_in(broker, state)
        with pytest.raises(sqlite.driver().IntegrityError, match="not ended"):
            raw.execute("DELETE FROM task WHERE id = ?", (task,))

    async def test_a_claim_needs_a_new_token(self, broker: SqlBroker, raw: Any) -> None:
        """P3."""
        task = await self._task_in(broker, TaskState.QUEUED)
        with pytest.raises(sqlite.driver().IntegrityError, match="token"):
            raw.execute("UPDATE task SET state = 'running' WHERE id = ?", (task,))

    async def test_a_task_begins_queued(self, broker: SqlBroker, raw: Any) -> None:
        await self._task_in(broker, TaskState.QUEUED)
        columns = ", ".join(column.name for column in tables.task.columns if column.name not in ("seq", "id", "state"))
        with pytest.raises(sqlite.driver().IntegrityError, match="begins queued"):
            raw.execute(f"INSERT INTO task (id, state, {columns}) SELECT 'x', 'succeeded', {columns} FROM task")


@contextmanager
def statements(broker: SqlBroker) -> Iterator[list[tuple[str, Any]]]:
    """What is executed on the writing connection."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, _context: object, many: bool) -> None:
        seen.append((statement, parameters[0] if many else parameters))

    sa.event.listen(broker._writing.connection, "before_cursor_execute", note)
    yield seen
    sa.event.remove(broker._writing.connection, "before_cursor_execute", note)


async def work_through(broker: SqlBroker, clock: FakeClock, count: int) -> None:
    """Every writing method, with batches of so many tasks."""
    messages = await publish(broker, count * 3, max_attempts=2)
    first = await claim(broker, count)
    await broker.extend(first, lease=LEASE)
    await broker.progress([Progress(lease, 0.5) for lease in first])
    await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in first])
    await broker.release([Release(lease, delay=1) for lease in await claim(broker, count)])
    await claim(broker, count)
    clock.move(LEASE)
    await broker.reclaim()
    await broker.cancel([message.id for message in messages])
    await broker.replay([message.id for message in messages])
    await broker.purge(states=list(TaskState))


class TestCost:
    async def test_no_statement_looks_through_all_tasks(self, broker: SqlBroker, clock: FakeClock) -> None:
        with statements(broker) as seen:
            await work_through(broker, clock, 5)
        plans = {
            step.detail
            for statement, parameters in seen
            if statement.startswith(("SELECT", "UPDATE", "DELETE"))
            for step in broker._looking.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        }
        assert any("task_due" in plan for plan in plans)
        assert [plan for plan in plans if plan.startswith("SCAN task")] == []

    async def test_a_larger_batch_takes_no_more_statements(self, path: Path, clock: FakeClock) -> None:
        counts = []
        for size in (2, 60):
            async with SqlBroker(f"sqlite:///{path}.{size}", clock=clock) as broker:
                with statements(broker) as seen:
                    await work_through(broker, clock, size)
            counts.append(len(seen))
        assert counts[0] == counts[1]

    async def test_nothing_is_kept_of_lanes_and_notices_that_are_over(
        self, broker: SqlBroker, clock: FakeClock
    ) -> None:
        """P8."""
        for lane in range(20):
            await publish(broker, 2, lane=f"l{lane}", queue=f"q{lane % 3}")
        queues = ["q0", "q1", "q2"]
        while leases := await claim(broker, 7, queues=queues):
            await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in leases])
        await broker.beat(a_beat("silent", clock.now()), timeout=30)
        clock.move(61)
        await broker.beat(a_beat("alive", clock.now()), timeout=30)
        await broker.reclaim()
        assert await broker.purge(states=list(TaskState)) == 40
        rows = {
            table.name: broker._looking.connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            for table in tables.metadata.sorted_tables
        }
        assert {name: count for name, count in rows.items() if count} == {"worker": 1, "broker_version": 1}

    async def test_nobody_looks_for_changes_while_nobody_waits(self) -> None:
        looks: list[int] = []
        seen = anyio.Event()

        def counter() -> int:
            looks.append(1)
            return 1

        watch = Watch(counter, seen.set)
        async with anyio.create_task_group() as group:
            group.start_soon(watch.run)
            await anyio.wait_all_tasks_blocked()
            assert looks == []
            with watch.wanted(), anyio.fail_after(PATIENCE):
                await seen.wait()
            assert looks
            watch.stop()
            group.cancel_scope.cancel()

    async def test_a_look_that_fails_is_not_the_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gristmill.brokers.sql.watch.PAUSE", 0.0)
        answers: Iterator[BrokerUnavailable | int] = iter([BrokerUnavailable("gone"), BrokerUnavailable("gone"), 7])
        seen = anyio.Event()

        def counter() -> int:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        watch = Watch(counter, seen.set)
        async with anyio.create_task_group() as group:
            group.start_soon(watch.run)
            with watch.wanted(), anyio.fail_after(PATIENCE):
                await seen.wait()
            watch.stop()
            group.cancel_scope.cancel()
