"""What is the SQL broker's own on PostgreSQL and MariaDB: many at once, their clock, guards in the store, tables, limits."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from random import Random

import anyio
import pytest
import sqlalchemy as sa

from gristmill.base.clock import SystemClock
from gristmill.base.errors import BrokerUnavailable, EngineError
from gristmill.brokers import open_broker
from gristmill.brokers.sql import tables
from gristmill.brokers.sql.dialect import dialect_for
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Progress, Release
from gristmill.engine.state import LEGAL, TaskState
from gristmill.testing.brokers.making import PATIENCE, a_message, claim, claimed, publish, record
from gristmill.testing.clock import FakeClock
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

LEASE = 600.0
ILLEGAL = [(old, new) for old in TaskState for new in TaskState if new is not old and new not in LEGAL[old]]


@pytest.fixture(params=["postgres", "mariadb"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(name: str, servers: ServerPool) -> str:
    return servers.fresh(name)


@contextmanager
def raw(url: str) -> Iterator[sa.Connection]:
    """Go round the broker."""
    with dialect_for(url).engine().connect() as connection:
        yield connection


class Tally:
    """What many brokers did at once."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.accepted: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.given: set[tuple[str, int]] = set()

    async def publish(self, broker: Broker, number: int) -> None:
        """All publish the same keys at the same time, half of them the other way round."""
        for first in range(0, self.tasks, 3):
            keys = [f"k{key}" for key in range(first, first + 3)]
            messages = [
                a_message(key=key, lane=key[-1], priority=int(key[-1]) % 2)
                for key in (reversed(keys) if number % 2 else keys)
            ]
            for message, fresh in zip(messages, await broker.publish(messages), strict=True):
                assert message.key is not None
                self.accepted[message.key] += fresh

    async def work(self, broker: Broker, number: int) -> None:
        random = Random(number)
        while len(self.ended) < self.tasks:
            leases = await broker.reserve(
                ["default"], worker=f"w{number}", limit=random.randint(1, 6), lease=LEASE, wait=0.05
            )
            for lease in leases:
                assert (lease.id, lease.token) not in self.given, "two hold one task"
                self.given.add((lease.id, lease.token))
            back = [lease for lease in leases if random.random() < 0.2]
            await broker.progress([Progress(lease, 0.5) for lease in leases])
            assert await broker.release([Release(lease, counted=False) for lease in back]) == [True] * len(back)
            done = [lease for lease in leases if lease not in back]
            assert await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in done]) == [True] * len(done)
            self.ended.update(str(lease.message.key) for lease in done)
            await broker.reclaim()
            await broker.book("model", rate=1e6)
            await broker.lock("sweep", owner=str(number), ttl=5)


class TestManyAtOnce:
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_nothing_is_doubled_nothing_lost_and_nobody_fails(self, url: str) -> None:
        """P1, P2, P3: duplicate keys, deadlocks and rows that others hold are the broker's own affair."""
        tally = Tally(45)
        async with AsyncExitStack() as stack:
            brokers = [await stack.enter_async_context(open_broker(url)) for _ in range(4)]
            async with anyio.create_task_group() as group:
                for number, broker in enumerate(brokers):
                    group.start_soon(tally.publish, broker, number)
                    group.start_soon(tally.work, broker, number)
        assert set(tally.accepted.values()) == set(tally.ended.values()) == {1}
        assert len(tally.accepted) == tally.tasks

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_processes_share_what_is_due(self, url: str) -> None:
        """P3, with processes that are two."""
        code = f"""
import anyio
from gristmill.brokers import open_broker
from gristmill.engine.message import End
from gristmill.engine.state import TaskState

async def main():
    async with open_broker({url!r}) as broker:
        while leases := await broker.reserve(["default"], worker="two", limit=3, lease=30, wait=0):
            print(*[lease.id for lease in leases], sep="\\n", flush=True)
            await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in leases])

anyio.run(main)
"""
        async with open_broker(url) as broker:
            messages = await publish(broker, 300)
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
            assert sorted(mine + theirs.split()) == sorted(message.id for message in messages)
            assert len(await broker.tasks(states=[TaskState.SUCCEEDED], limit=1_000)) == 300

    async def test_lanes_take_turns_over_all_who_claim(self, url: str) -> None:
        """P14."""
        async with open_broker(url) as one, open_broker(url) as two:
            await publish(one, 60, lane="large")
            await publish(two, 5, lane="small")
            lanes: list[str] = []

            async def work(broker: Broker) -> None:
                while len(lanes) < 20:
                    lanes.extend(lease.message.lane for lease in await claim(broker))

            async with anyio.create_task_group() as group:
                for broker in (one, two, one, two):
                    group.start_soon(work, broker)
            assert lanes[:14].count("small") == 5

    async def test_a_row_that_somebody_else_holds_stops_nobody(self, url: str) -> None:
        async with open_broker(url) as broker:
            held, free = await publish(broker, 2)
            with raw(url) as other, other.begin():
                other.execute(sa.select(tables.task.c.seq).where(tables.task.c.id == held.id).with_for_update())
                assert [lease.id for lease in await claim(broker, 5)] == [free.id]
            with anyio.fail_after(PATIENCE):
                [lease] = await broker.reserve(["default"], worker="w", limit=5, lease=LEASE)
            assert lease.id == held.id


class TestClock:
    async def test_time_is_the_servers(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A host whose clock is wrong neither takes leases early nor keeps them for ever."""
        async with open_broker(url) as right:
            true = await right.now()
            monkeypatch.setattr(SystemClock, "now", lambda _: 1.0)
            async with open_broker(url) as broker:
                assert 0 <= await broker.now() - true < PATIENCE
                lease = await claimed(broker)
                found = await record(broker, lease)
                assert found.lease_until is not None
                assert 0 <= found.lease_until - true - 30 < PATIENCE
                assert await broker.reclaim() == []
                assert [one.state for one in await right.tasks()] == [TaskState.RUNNING]


class TestTables:
    @pytest.fixture
    def empty_url(self, name: str, servers: ServerPool) -> str:
        """A database without a table."""
        return servers.database(name, "fresh_broker")

    async def test_of_many_that_open_an_empty_database_one_makes_the_tables(self, empty_url: str) -> None:
        async def use() -> None:
            async with open_broker(empty_url) as broker:
                await publish(broker)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(use)
        async with open_broker(empty_url) as broker:
            assert len(await broker.tasks()) == 5

    async def test_tables_that_are_gone_are_made_anew_when_it_connects_again(
        self, empty_url: str, name: str, servers: ServerPool
    ) -> None:
        """P1: what was lost with them is published again by the reconciler; nobody has to restart a worker."""
        async with open_broker(empty_url) as broker:
            await publish(broker, 3)
            servers.database(name, "fresh_broker")
            with anyio.fail_after(PATIENCE):
                while await broker.tasks() != []:
                    await anyio.lowlevel.checkpoint()
            [message] = await publish(broker)
            assert [lease.id for lease in await claim(broker, 5)] == [message.id]

    async def test_a_newer_release_is_refused_by_name(self, empty_url: str) -> None:
        async with open_broker(empty_url):
            pass
        with raw(empty_url) as c, c.begin():
            c.execute(sa.update(tables.revision).values(revision=99, oldest=98))
        with pytest.raises(EngineError, match=r"newer release.*99"):
            async with open_broker(empty_url):
                raise AssertionError("opened")

    async def test_what_a_newer_release_only_added_to_is_still_used(self, empty_url: str) -> None:
        async with open_broker(empty_url):
            pass
        with raw(empty_url) as c, c.begin():
            c.execute(sa.update(tables.revision).values(revision=99, oldest=1))
        async with open_broker(empty_url) as broker:
            await publish(broker)


class TestGuards:
    """The store itself refuses what no task may do, whoever writes."""

    async def _task_in(self, broker: Broker, state: TaskState) -> str:
        if state is TaskState.QUEUED:
            return (await publish(broker))[0].id
        lease = await claimed(broker, max_attempts=1)
        if state is TaskState.DEAD:
            await broker.release([Release(lease)])
        elif state.final:
            await broker.finish([End(lease, state)])
        return lease.id

    def _refused(self, url: str, statement: str, match: str, **values: object) -> None:
        with raw(url) as c, pytest.raises(sa.exc.DBAPIError, match=match), c.begin():
            c.execute(sa.text(statement), values)

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    @pytest.mark.parametrize("old", list(TaskState))
    async def test_only_legal_steps(self, url: str, old: TaskState) -> None:
        async with open_broker(url, clock=FakeClock()) as broker:
            task = await self._task_in(broker, old)
            for _, new in [step for step in ILLEGAL if step[0] is old]:
                step = "UPDATE task SET state = :new, token = token + 1 WHERE id = :id"
                self._refused(url, step, "no step|has ended", new=new.value, id=task)
            assert (await record(broker, task)).state is old

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_nothing_of_an_ended_task_changes_and_what_has_not_ended_is_kept(self, url: str) -> None:
        """P1, P2, P3."""
        async with open_broker(url) as broker:
            ended = await self._task_in(broker, TaskState.SUCCEEDED)
            for change in (
                "attempt = 7",
                "ended = 7",
                "progress = 0.7",
                "worker = 'x'",
                "result = NULL, error = message",
            ):
                self._refused(url, f"UPDATE task SET {change} WHERE id = :id", "has ended", id=ended)
            queued = await self._task_in(broker, TaskState.QUEUED)
            self._refused(url, "DELETE FROM task WHERE id = :id", "not ended", id=queued)
            self._refused(url, "UPDATE task SET state = 'running' WHERE id = :id", "new token", id=queued)
            columns = [column for column in tables.task.columns if column.name not in ("seq", "id", "key", "state")]
            copy = sa.insert(tables.task).from_select(
                ["id", "state", *columns], sa.select(sa.literal("x"), sa.literal("running"), *columns)
            )
            with raw(url) as c, pytest.raises(sa.exc.DBAPIError, match="begins queued"), c.begin():
                c.execute(copy)


class TestLimits:
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_message_and_a_result_of_megabytes(self, url: str) -> None:
        text = "x" * 4_000_000
        async with open_broker(url) as broker:
            lease = await claimed(broker, kwargs={"text": text})
            assert lease.message.kwargs == {"text": text}
            result = b'"' + text.encode() + b'"'
            assert await broker.finish([End(lease, TaskState.SUCCEEDED, result=result)]) == [True]
            assert (await record(broker, lease)).result == result

    @pytest.mark.parametrize("name", ["mariadb"], indirect=True)
    async def test_what_the_server_does_not_take_is_refused_by_name_and_alone(self, url: str) -> None:
        async with open_broker(url) as broker:
            with pytest.raises(EngineError, match="max_allowed_packet") as refused:
                await broker.publish([a_message("small"), a_message("x" * 17_000_000)])
            assert not isinstance(refused.value, BrokerUnavailable)
            assert await broker.tasks() == []
            await publish(broker)

    async def test_a_key_of_too_many_characters_is_an_error_and_not_another_key(self, url: str, name: str) -> None:
        if name == "postgres":
            pytest.skip("it keeps keys of any length")
        async with open_broker(url) as broker:
            with pytest.raises(EngineError, match="key"):
                await broker.publish([a_message(key="k" * 300)])
            assert await broker.tasks() == []

    async def test_keys_and_lanes_are_compared_byte_for_byte(self, url: str) -> None:
        async with open_broker(url) as broker:
            names = ["a", "A", "a ", "ä", "ａ", "a\0", "a\x01", "a\x010"]
            assert await broker.publish([a_message(key=one, lane=one) for one in names]) == [True] * len(names)
            assert {key: one.message.lane for key, one in (await broker.find(names)).items()} == {
                one: one for one in names
            }
            assert sorted(lease.message.lane for lease in await claim(broker, 20)) == sorted(names)
