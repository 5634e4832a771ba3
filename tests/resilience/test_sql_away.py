"""PostgreSQL and MariaDB that are away: callers are told, and it goes on by itself when they are back."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gristmill.base.errors import BrokerUnavailable
from gristmill.brokers import open_broker
from gristmill.brokers.sql import link
from gristmill.brokers.sql.broker import SqlBroker
from gristmill.brokers.sql.dialect import dialect_for
from gristmill.engine.message import End
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import PATIENCE, a_message, claim, claimed, publish, record
from gristmill.testing.proxy import Proxy
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

LEASE = 600.0
SECRET = "hunter2"


@pytest.fixture(params=["postgres", "mariadb"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(name: str, servers: ServerPool) -> str:
    return servers.fresh(name)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb"])
async def test_nobody_there(scheme: str) -> None:
    """P11."""
    with pytest.raises(BrokerUnavailable, match=rf"{scheme}://127\.0\.0\.1:1/db does not answer") as told:
        async with open_broker(f"{scheme}://user:{SECRET}@127.0.0.1:1/db"):
            raise AssertionError("opened")
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_that_is_away_for_long_is_told_of_and_found_again(
    url: str, name: str, servers: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PATIENCE", 0.1)
    server = servers.postgres() if name == "postgres" else servers.mariadb()
    async with open_broker(url) as broker:
        lease = await claimed(broker)
        await anyio.to_thread.run_sync(server.kill)
        end = End(lease, TaskState.SUCCEEDED)
        for call in (broker.finish([end]), broker.tasks(), broker.publish([a_message()]), broker.now()):
            with pytest.raises(BrokerUnavailable, match="does not answer"):
                await call
        await anyio.to_thread.run_sync(server.start)
        assert await broker.finish([end]) == [True]
        assert len(await broker.tasks()) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_standby_that_only_reads_is_unavailable_until_it_is_promoted(
    servers: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = servers.database("postgres", "standby")
    async with open_broker(url) as broker:
        servers.postgres().execute("ALTER DATABASE standby SET default_transaction_read_only = on")
        _end_sessions(servers, "standby")
        with monkeypatch.context() as hurry:
            hurry.setattr(link, "PATIENCE", 0.1)
            with pytest.raises(BrokerUnavailable, match="read-only"):
                await broker.publish([a_message()])
        servers.postgres().execute("ALTER DATABASE standby SET default_transaction_read_only = off")
        _end_sessions(servers, "standby")
        await publish(broker)


async def test_who_is_stopped_in_a_transaction_does_not_hold_the_others_for_ever(url: str) -> None:
    """What a stopped worker holds in the middle of a claim, the server takes from it."""
    with dialect_for(url).engine().connect() as stopped:
        limits = (
            ["SHOW idle_in_transaction_session_timeout", "SHOW lock_timeout"]
            if url.startswith("postgresql")
            else ["SELECT @@idle_transaction_timeout", "SELECT @@innodb_lock_wait_timeout"]
        )
        idle, wait = (int(str(stopped.exec_driver_sql(one).scalar()).removesuffix("s")) for one in limits)
    assert 0 < idle < wait < 30


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_was_claimed_for_an_answer_that_got_lost_goes_back_uncounted(
    url: str, name: str, servers: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COMMIT has happened, its caller was told that nobody knows, and later it shows."""
    monkeypatch.setattr(link, "PATIENCE", 0.0)
    server = servers.postgres() if name == "postgres" else servers.mariadb()
    with Proxy(server.port) as proxy:
        near = url.replace(f":{server.port}/", f":{proxy.port}/")
        async with open_broker(near) as broker, open_broker(url) as watcher:
            assert isinstance(broker, SqlBroker)
            [message] = await publish(watcher, max_attempts=1)
            dialect = broker._writing.connection.dialect
            commit = dialect.do_commit

            def commit_unheard(connection: Any) -> None:
                monkeypatch.setattr(dialect, "do_commit", commit)
                commit(connection)
                proxy.refuse()
                proxy.reset()
                raise broker._dialect.errors[0]("connection lost")

            monkeypatch.setattr(dialect, "do_commit", commit_unheard)
            with pytest.raises(BrokerUnavailable):
                await claim(broker)
            monkeypatch.undo()
            assert (await record(watcher, message)).state is TaskState.RUNNING
            proxy.heal()
            with anyio.fail_after(PATIENCE):
                await broker.unlock("any", owner="any")
                [lease] = await watcher.reserve(["default"], worker="w", limit=1, lease=LEASE)
            assert (lease.id, lease.attempt, lease.token) == (message.id, 1, 2)


def _end_sessions(servers: ServerPool, database: str) -> None:
    servers.postgres().execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )
