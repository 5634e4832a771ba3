"""Several servers that are one broker: Cluster and Sentinel, with a worker in the middle of its work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import anyio
import pytest
from anyio import to_thread

from gristmill.testing.processes import settles
from gristmill.testing.servers import RedisCluster, RedisSentinel, RedisServer
from resilience.scene import HELD, scene
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

KEY = "{app}:any"  # in the slot of everything of the namespace


@pytest.fixture(scope="module")
def cluster(servers: ServerPool) -> Iterator[RedisCluster]:
    with servers.make(partial(RedisCluster, config=("appendonly yes",))) as cluster:
        yield cluster


@pytest.fixture
def url(cluster: RedisCluster) -> str:
    for node in cluster.nodes:
        node.command("FLUSHALL")
    return f"{cluster.url}?namespace=app"


def sides(cluster: RedisCluster) -> tuple[RedisServer, RedisServer]:
    """The node that has the namespace, and another."""
    source = cluster.owner(KEY)
    return source, next(node for node in cluster.nodes if node is not source)


async def test_the_slot_moves_in_mid_run(cluster: RedisCluster, url: str) -> None:
    """MOVED, ASK, TRYAGAIN."""
    slot = cluster.slot(KEY)
    source, target = sides(cluster)
    async with scene(url) as played:
        cluster.begin_migration(slot, source, target)
        played.gate.set()  # ends are written while keys are here and there
        await settles(lambda: len(played.effects) >= HELD)
        assert await to_thread.run_sync(cluster.move_keys, slot, source, target) > 0
        cluster.end_migration(slot, target)
        await played.all_end()
        assert set(played.effects.values()) == {1}
        assert cluster.owner(KEY) is target
        await played.publish(5)
        await played.all_end()


async def test_a_node_that_has_nothing_of_ours_may_go(cluster: RedisCluster, url: str) -> None:
    _, other = sides(cluster)
    async with scene(url) as played:
        await to_thread.run_sync(other.kill)
        played.gate.set()
        await played.all_end()
        assert set(played.effects.values()) == {1}
        await to_thread.run_sync(other.start)
    await to_thread.run_sync(cluster.wait_ready)


async def test_the_node_that_has_ours_comes_back(cluster: RedisCluster, url: str) -> None:
    source, _ = sides(cluster)
    async with scene(url) as played:
        await to_thread.run_sync(source.kill)
        played.gate.set()
        await settles(lambda: len(played.effects) >= HELD)
        await to_thread.run_sync(source.start)
        await played.all_end()
        assert set(played.effects.values()) == {1}
    await to_thread.run_sync(cluster.wait_ready)


async def test_one_node_is_enough_to_find_the_others(cluster: RedisCluster, url: str) -> None:
    source, other = sides(cluster)
    del source
    async with scene(f"redis+cluster://127.0.0.1:{other.port}/0?namespace=app") as played:
        played.gate.set()
        await played.all_end()


@pytest.fixture
def sentinel(servers: ServerPool) -> Iterator[RedisSentinel]:
    with servers.make(RedisSentinel) as sentinel:
        yield sentinel


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "switched"])
async def test_another_master_takes_over_in_mid_run(sentinel: RedisSentinel, killed: bool) -> None:
    """P1. What runs goes on under its leases; ends are written to the new master; then the next ones run."""
    async with scene(sentinel.url) as played:
        await to_thread.run_sync(sentinel.replicate)
        old = sentinel.master
        await to_thread.run_sync(sentinel.fail_over if killed else sentinel.switch)
        assert sentinel.master is not old
        played.gate.set()
        await played.all_end()
        assert set(played.effects.values()) == {1}
        await played.publish(5)
        await played.all_end()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_tasks_that_flow_through_a_fail_over_all_end(sentinel: RedisSentinel) -> None:
    """P1, with somebody who publishes again what the new master does not know: replicas may be a moment behind."""
    async with scene(sentinel.url, lease=3.0) as played:
        played.gate.set()
        async with anyio.create_task_group() as group:
            group.start_soon(to_thread.run_sync, sentinel.fail_over)
            while sentinel.data[0].running or len(played.messages) < 300:
                await played.publish(10)
        known = await played.watcher.describe([one.id for one in played.messages])
        await played.watcher.publish([one for one, found in zip(played.messages, known, strict=True) if found is None])
        await played.all_end()
        assert len(played.effects) == len(played.messages)
