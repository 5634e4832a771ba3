"""What the contract does not say of the broker on Valkey and Redis: names, what is left behind, what a step costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest

from gristmill.base.clock import Clock
from gristmill.base.errors import BrokerUnavailable, GristmillError, SettingsError
from gristmill.brokers import open_broker
from gristmill.brokers.redis.broker import RedisBroker
from gristmill.brokers.redis.connection import packed
from gristmill.brokers.redis.url import Address, target
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Heartbeat, Lease, Message, Progress, Release
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import BROKE, a_message, claim, claimed, ended, notice, publish, record
from gristmill.testing.clock import FakeClock
from gristmill.testing.servers import RedisServer
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

GROUP = "rag_flow_svr_task_broker"


@pytest.fixture
def server(servers: ServerPool) -> RedisServer:
    servers.fresh("valkey-9")
    return servers.redis()


def opened(server: RedisServer, clock: Clock | None = None, options: str = "") -> RedisBroker:
    broker = open_broker(server.url + options, clock=clock)
    assert isinstance(broker, RedisBroker)
    return broker


@pytest.fixture
async def broker(server: RedisServer) -> AsyncIterator[RedisBroker]:
    async with opened(server) as broker:
        yield broker


def keys(server: RedisServer) -> set[str]:
    return {key.decode() for key in server.command("KEYS", "*")}


def commands(server: RedisServer) -> int:
    return int(server.info("stats")["total_commands_processed"])


async def succeed(broker: Broker, leases: list[Lease]) -> None:
    assert all(await broker.finish([End(lease, TaskState.SUCCEEDED, result=b"null") for lease in leases]))


class TestUrls:
    """A URL says everything, and what is wrong with it is said without its password."""

    def test_a_plain_one(self) -> None:
        found = target("redis://us%40er:p%2Fw@host:7000/3?namespace=mill&result_ttl=60&timeout=1.5")
        assert found.addresses == (Address("host", 7000),)
        assert (found.username, found.password, found.database, found.tls) == ("us@er", "p/w", 3, False)
        assert (found.namespace, found.prefix, found.result_ttl, found.timeout) == ("mill", "{mill}:", 60.0, 1.5)
        assert (found.where, target("valkey://").addresses) == ("host:7000/3", (Address("localhost", 6379),))

    def test_a_sentinel(self) -> None:
        found = target("rediss+sentinel://:pw@one,two:5/main/2?sentinel_password=other&ssl_cert_reqs=none")
        assert found.addresses == (Address("one", 26379), Address("two", 5))
        assert (found.kind, found.master, found.database, found.tls) == ("sentinel", "main", 2, True)
        assert (found.password, found.sentinel_password, found.ssl_verify) == ("pw", "other", False)

    def test_a_cluster_has_one_slot_for_all_keys(self) -> None:
        assert target("redis+cluster://[::1]:7000,b").addresses == (Address("::1", 7000), Address("b", 6379))
        assert target("valkey+cluster://a").prefix == "{gristmill}:"
        assert target("valkeys+cluster://a?namespace=n").prefix == "{n}:"
        assert target("redis://a").prefix == ""

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("redis+proxy://:secret@h", "known: redis, valkey"),
            ("redis://:secret@h/first", "'first' is no number of a database"),
            ("redis://:secret@h:port", "'h:port' is no host:port"),
            ("redis+cluster://:secret@h/1", "no databases but 0"),
            ("redis+sentinel://:secret@h", "ends with the master's name"),
            ("redis://:secret@h?retention=1", "no option 'retention'; known: failure_ttl, namespace"),
            ("redis://:secret@h?result_ttl=soon", "result_ttl is seconds greater than 0, not 'soon'"),
            ("redis://:secret@h?namespace={a}", "no braces"),
            ("rediss://:secret@h?ssl_ca_certs=/no/such/file", "/no/such/file cannot be read"),
        ],
    )
    def test_what_is_wrong_is_named(self, url: str, says: str) -> None:
        with pytest.raises(SettingsError) as caught:
            target(url).context()
        assert says in str(caught.value)
        assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert str(caught.value).startswith("engine.broker: ")


class TestNames:
    """Where the source documents have a name, it is theirs."""

    async def test_streams_groups_and_flags(self, broker: RedisBroker, server: RedisServer) -> None:
        await broker.publish(
            [a_message(), a_message(priority=1), a_message(priority=-2, lane="l"), a_message(queue="a:b")]
        )
        streams = {key for key in keys(server) if key.startswith("rag_flow_svr_queue")}
        assert streams == {
            "rag_flow_svr_queue",
            "rag_flow_svr_queue_1",
            "rag_flow_svr_queue_-2:default:l",
            "rag_flow_svr_queue:a%3Ab",
        }
        [lease] = await claim(broker)
        assert lease.message.priority == 1
        assert server.command("XINFO", "GROUPS", "rag_flow_svr_queue_1")[0][1].decode() == GROUP
        await broker.cancel([lease.id])
        assert server.command("GET", f"{lease.id}-cancel") == b"x"
        await broker.finish([End(lease, TaskState.CANCELLED)])
        assert server.command("EXISTS", f"{lease.id}-cancel") == 0

    async def test_lag_and_pending_are_the_streams(self, broker: RedisBroker, server: RedisServer) -> None:
        await publish(broker, 5)
        leases = await claim(broker, 2)
        [group] = server.command("XINFO", "GROUPS", "rag_flow_svr_queue")
        fields = dict(zip(group[::2], group[1::2], strict=True))
        assert (fields[b"pending"], fields[b"lag"]) == (2, 3)
        [depth] = await broker.depth()
        assert (depth.queued, depth.running) == (3, 2)
        await succeed(broker, leases)
        assert server.command("XLEN", "rag_flow_svr_queue") == 3, "an entry goes with its ack"

    async def test_workers(self, broker: RedisBroker, server: RedisServer) -> None:
        beat = Heartbeat("w1", await broker.now(), 1.0, 2, 3, 4, 5, {}, "10.0.0.1", 7)
        await broker.beat(beat, timeout=60)
        assert server.command("SMEMBERS", "TASKEXE") == [b"w1"]
        [sign] = server.command("ZRANGE", "w1", 0, -1)
        assert b'"ip_address":"10.0.0.1"' in sign
        assert 0 < server.command("TTL", "w1") <= 1800
        await broker.beat(beat, timeout=0)
        assert server.command("EXISTS", "TASKEXE") == 0
        assert await broker.workers() == []

    async def test_names_of_different_lanes_are_different(self, broker: RedisBroker) -> None:
        places = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a", ""), ("a:", ""), ("default", "a"), ("default", "")]
        await broker.publish([a_message(queue=queue, lane=lane) for queue, lane in places])
        for queue in sorted({queue for queue, _ in places}):
            leases = await claim(broker, 9, queues=[queue])
            assert sorted((queue, lease.message.lane) for lease in leases) == sorted(
                place for place in places if place[0] == queue
            )
        assert {depth.queue: depth.running for depth in await broker.depth()} == Counter(queue for queue, _ in places)

    async def test_namespaces_share_a_server_and_nothing_else(self, server: RedisServer) -> None:
        async with opened(server, options="?namespace=one") as one, opened(server, options="?namespace=two") as two:
            lease = await claimed(one, key="k", lane="l")
            assert await two.publish([a_message(key="k")]) == [True]
            assert await two.describe([lease.id]) == [None]
            assert await one.lock("l", owner="a", ttl=10)
            assert await two.lock("l", owner="b", ttl=10)
            await one.cancel([lease.id])
            assert {key.partition(":")[0] for key in keys(server)} == {"{one}", "{two}"}


class TestWhatIsLeft:
    """Nothing grows."""

    async def test_ended_and_forgotten_tasks_leave_nothing(self, broker: RedisBroker, server: RedisServer) -> None:
        for number in range(12):
            lane = f"lane {number % 6}"
            await publish(broker, 3, lane=lane, priority=number % 2, queue=f"q{number % 3}", key=None)
            await publish(broker, 1, lane=lane, delay=100)
            await publish(broker, 1, lane=lane, key=f"k{number}")
        queues = ["default", "q0", "q1", "q2"]
        leases = await claim(broker, 30, queues=queues)
        await broker.progress([Progress(lease, 0.5) for lease in leases])
        await succeed(broker, leases[:10])
        await broker.release([Release(lease, delay=5, error=BROKE) for lease in leases[10:20]])
        await broker.release([Release(lease) for lease in leases[20:]])
        await broker.cancel([one.id for one in await broker.tasks(limit=1_000)])
        assert await claim(broker, 99, queues=queues) == []
        assert await broker.depth() == []
        await broker.purge(states=list(TaskState))
        assert await broker.tasks() == []
        assert keys(server) == {"gristmill:seq", "gristmill:turn"}

    async def test_what_has_ended_goes_in_its_time(self, server: RedisServer) -> None:
        async with opened(server, options="?result_ttl=100&failure_ttl=1000") as broker:
            for state, seconds in [(TaskState.SUCCEEDED, 100), (TaskState.CANCELLED, 100), (TaskState.DEAD, 1000)]:
                task = await ended(broker, state, key=f"of {state}")
                for key in (f"gristmill:end:{task.id}", f"gristmill:key:of {state}"):
                    assert seconds - 60 < server.command("TTL", key) <= seconds
            server.command("DEL", f"gristmill:end:{task.id}")  # as its time to live does
            assert task.id not in {one.id for one in await broker.tasks()}
            assert server.command("ZCARD", "gristmill:index") == 2

    async def test_the_lists_of_what_has_ended_are_cut_in_time(self, server: RedisServer) -> None:
        clock = FakeClock()
        async with opened(server, clock, "?result_ttl=1000&failure_ttl=9000") as broker:
            await ended(broker, TaskState.SUCCEEDED, key="k")
            dead = await ended(broker, TaskState.DEAD)
            clock.move(1_001)
            await broker.reclaim()
            assert [one.id for one in await broker.tasks()] == [dead.id]
            assert server.command("ZCARD", "gristmill:index") == 1
            assert await broker.find(["k"]) == {}

    async def test_silent_workers_leave_registry_and_groups(self, server: RedisServer) -> None:
        clock = FakeClock()
        async with opened(server, clock) as broker:
            await publish(broker, 3)
            silent, holder = [await claim(broker, worker=name) for name in ("silent", "holder")]
            await succeed(broker, silent)
            beat = Heartbeat("silent", clock.now(), 1.0, 0, 0, 0, 0, {}, "", 7)
            await broker.beat(beat, timeout=30)
            clock.move(31)
            server.command("DEL", "clean_task_executor")
            clock.move(100)
            await broker.beat(Heartbeat("living", clock.now(), 1.0, 0, 0, 0, 0, {}, "", 8), timeout=30)
            assert server.command("SMEMBERS", "TASKEXE") == [b"living"]
            consumers = [one[1] for one in server.command("XINFO", "CONSUMERS", "rag_flow_svr_queue", GROUP)]
            assert consumers == [b"holder"], "an entry is still its own"
            assert await broker.extend(holder, lease=30) == []


class TestSteps:
    """A step that is asked for again has one effect and gives the same answer."""

    async def test_publish(self, broker: RedisBroker) -> None:
        words = _publication(a_message(key="k"))
        assert [await _step(broker, "publish", b"n1", *words) for _ in range(2)] == [[1], [1]]
        assert await _step(broker, "publish", b"n2", *words) == [0]
        await succeed(broker, await claim(broker))
        assert await _step(broker, "publish", b"n1", *words) == [1]
        assert len(await broker.tasks()) == 1

    async def test_finish_by_the_same_lease_only(self, broker: RedisBroker) -> None:
        lease = await claimed(broker)
        words = (lease.id, lease.token, "succeeded", b"1", b"", b"")
        older = (lease.id, lease.token - 1, "failed", b"", b"", b"")
        for _ in range(2):
            assert await _step(broker, "finish", b"n1", *older, *words, *words) == [0, 1, 0]
        assert await _step(broker, "finish", b"n2", *words) == [0]
        assert (await record(broker, lease)).result == b"1"

    async def test_release_even_when_another_has_it_by_now(self, broker: RedisBroker) -> None:
        lease = await claimed(broker)
        words = (lease.id, lease.token, "0.0", 1, b"", b"")
        assert [await _step(broker, "release", b"n1", *words) for _ in range(2)] == [[1], [1]]
        [again] = await claim(broker, worker="another")
        assert await _step(broker, "release", b"n1", *words) == [1]
        assert await _step(broker, "release", b"n2", *words) == [0]
        assert await broker.extend([again], lease=30) == []

    async def test_cancel(self, broker: RedisBroker) -> None:
        [message] = await publish(broker)
        assert [await _step(broker, "cancel", b"n1", "why", message.id) for _ in range(2)] == [[b"queued"]] * 2
        assert await _step(broker, "cancel", b"n2", "why", message.id) == [b"cancelled"]

    async def test_a_claim_is_called_to_mind_by_its_number_only(self, broker: RedisBroker) -> None:
        messages = await publish(broker, 3)
        words = ("w", 2, "30.0", "", "default")
        _, _, _, rows = await _step(broker, "claim", b"n1", *words)
        assert len(rows) == 6
        await _step(broker, "claim", b"n2", *words)
        assert sorted(map(str, await _step(broker, "recall", b"n3", "w", b"n1"))) == sorted(map(str, rows))
        assert await _step(broker, "recall", b"n3", "another", b"n1") == []
        assert {message.id for message in messages} == {
            one.id for one in await broker.tasks(states=[TaskState.RUNNING])
        }


class TestMemoryLoss:
    """The server has forgotten everything: all goes on, and no old lease is taken for a new one."""

    async def test_a_token_never_comes_twice(self, broker: RedisBroker, server: RedisServer) -> None:
        """P3, for a task of the same id that was published again."""
        [message] = await publish(broker)
        [old] = await claim(broker)
        server.command("FLUSHALL")
        assert await broker.extend([old], lease=30) == [old]
        assert await broker.publish([message]) == [True]
        [new] = await claim(broker)
        assert new.token > old.token
        assert await broker.finish([End(old, TaskState.FAILED), End(new, TaskState.SUCCEEDED)]) == [False, True]

    @pytest.mark.parametrize("lost", ["group", "stream"])
    async def test_a_group_or_stream_that_somebody_removed(
        self, broker: RedisBroker, server: RedisServer, lost: str
    ) -> None:
        held = await claimed(broker)
        await publish(broker, 2)
        if lost == "group":
            server.command("XGROUP", "DESTROY", "rag_flow_svr_queue", GROUP)
            assert len(await claim(broker, 9)) == 2
        else:
            server.command("DEL", "rag_flow_svr_queue")
        await succeed(broker, [held])
        [fresh] = await publish(broker, 1, priority=3)
        assert [one.id for one in await claim(broker)] == [fresh.id]

    async def test_entries_of_others_are_left_alone(self, broker: RedisBroker, server: RedisServer) -> None:
        [first] = await publish(broker, 1)
        entry = server.command("XADD", "rag_flow_svr_queue", "*", "message", '{"id":"1"}')
        [second] = await publish(broker, 1)
        leases = await claim(broker, 9)
        assert [lease.id for lease in leases] == [first.id, second.id]
        await succeed(broker, leases)
        assert [one[0] for one in server.command("XRANGE", "rag_flow_svr_queue", "-", "+")] == [entry]


class TestConnections:
    """A connection that was lost is rebuilt from zero."""

    async def test_what_is_left_of_a_lost_connection_is_cut_off(self, broker: RedisBroker, server: RedisServer) -> None:
        """Or a step that the network held back would be done after we had found out that it was not."""
        link = broker._link
        old = link._connection
        assert old is not None
        link._connection = None  # the server knows nothing of it
        with anyio.CancelScope() as scope:
            async with link._places.open(name=link.name) as connection:
                await link._begin(connection)
                assert await connection.ask(packed("PING"), timeout=5.0) == b"PONG"
                await old.over.wait()
                scope.cancel()
        await link.connected()
        assert await broker.depth() == []

    async def test_a_number_that_is_somebody_elses_by_now_is_left_alone(
        self, broker: RedisBroker, server: RedisServer
    ) -> None:
        async with opened(server) as other:
            theirs = await other._link.command("CLIENT", "ID")
            broker._link._last_id = theirs
            assert broker._link._connection is not None
            broker._link._connection.close("by the test")
            await broker.depth()
            assert await other._link.command("CLIENT", "ID") == theirs

    @pytest.mark.parametrize("channel", ["wake", "notices:state", "notices:cancel"])
    @pytest.mark.parametrize("payload", [b"", b"nonsense", b"\xc0", b"\x91\xa1x"])
    async def test_a_notice_that_is_none_of_ours_is_ignored(
        self, broker: RedisBroker, server: RedisServer, channel: str, payload: bytes
    ) -> None:
        async with broker.notices() as notices, anyio.create_task_group() as group:
            group.start_soon(partial(broker.reserve, ["other"], worker="w", limit=1, lease=30.0))
            while not broker._bells._waiting:
                await anyio.lowlevel.checkpoint()
            server.command("PUBLISH", f"gristmill:{channel}", payload)
            lease = await claimed(broker)
            await succeed(broker, [lease])
            told = await notice(notices, "state")
            assert (told.id, told.state) == (lease.id, "succeeded")
            await publish(broker, queue="other")

    async def test_a_claim_that_cannot_be_given_back_harms_nobody(self, server: RedisServer) -> None:
        async with opened(server, options="?patience=0.05&timeout=0.05") as broker:
            await publish(broker, max_attempts=1)
            server.pause()
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(partial(broker.reserve, ["default"], worker="w", limit=1, lease=30.0, wait=0))
                    await anyio.wait_all_tasks_blocked()
                    group.cancel_scope.cancel()
                with pytest.raises(BrokerUnavailable):
                    await broker.depth()
            finally:
                server.resume()
            while True:
                try:
                    await broker.depth()
                    break
                except BrokerUnavailable:
                    continue


class TestCosts:
    """Counted, not timed."""

    @pytest.mark.parametrize("size", [8, 100])
    async def test_a_task_costs_few_commands(self, broker: RedisBroker, server: RedisServer, size: int) -> None:
        """Claim, end and result together; the bar is 4."""
        await publish(broker, 200)
        before = commands(server)
        for _ in range(200 // size):
            await succeed(broker, await claim(broker, size))
        assert (commands(server) - before) / 200 < (4 if size == 8 else 1.5)

    async def test_who_waits_asks_nothing(self, broker: RedisBroker, server: RedisServer) -> None:
        other = opened(server)
        async with other, anyio.create_task_group() as group:
            got: list[Lease] = []

            async def reserve() -> None:
                got.extend(await broker.reserve(["default"], worker="w", limit=1, lease=30.0))

            group.start_soon(reserve)
            while not broker._bells._waiting:  # it has looked
                await anyio.lowlevel.checkpoint()
            await other.depth()
            before = commands(server)
            for _ in range(50):
                await other.now()
                await other.unlock("none", owner="nobody")
            asked = commands(server) - before
            assert asked < 50 * 3 + 10, "somebody polls"
            await publish(other)


def _publication(message: Message) -> tuple[str | int | bytes, ...]:
    raw = b'{"id":"%s","task":"task"}' % message.id.encode()
    return (message.id, f"={message.key}", "default", 0, "", "0.0", "", 3, raw, b"")


async def _step(broker: RedisBroker, name: str, nonce: bytes, *words: str | int | bytes) -> Any:
    return await broker._link.step(name, nonce, *words)


async def test_the_first_connection_fails_with_one_plain_error(server: RedisServer) -> None:
    broker = open_broker(f"redis://127.0.0.1:{server.port}/0?patience=0.01&timeout=0.000001")
    with pytest.raises(GristmillError, match="does not answer"):
        async with broker:
            raise AssertionError("unreachable")
