"""The caller's side: one handle for one request, results and errors as they were, no wait that a lost notice prolongs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest

from gristmill.base.errors import ResultTimeout, TaskCancelled, TaskDead, TaskError, TaskFailed, UnknownTask
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine import client as client_module
from gristmill.engine.client import Client
from gristmill.engine.message import End, Message, Progress, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.testing.brokers.making import PATIENCE, a_message, claim, claimed, ended
from gristmill.testing.flaky import FlakyBroker

pytestmark = pytest.mark.anyio


@pytest.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    async with MemoryBroker() as broker:
        yield broker


@pytest.fixture
def client(broker: MemoryBroker) -> Client:
    return Client(broker)


async def test_a_known_key_gives_the_handle_of_the_task_that_stands(client: Client) -> None:
    first = await client.submit(a_message(1, key="k"))
    again = await client.submit(a_message(2, key="k"))
    assert again.id == first.id
    assert (await again.record()).message.args == [1]


async def test_the_same_message_twice_is_one_task(client: Client) -> None:
    message = a_message()
    assert (await client.submit(message)).id == (await client.submit(message)).id == message.id


async def test_a_key_that_is_purged_between_two_questions_is_published_after_all(broker: MemoryBroker) -> None:
    done = await ended(broker, TaskState.SUCCEEDED, key="k")

    class Purging(MemoryBroker):
        """Somebody purges just after the publish was refused."""

        async def publish(self, messages: Sequence[Message]) -> list[bool]:
            accepted = await broker.publish(messages)
            await broker.purge(states=[TaskState.SUCCEEDED])
            return accepted

        async def find(self, keys: Sequence[str]) -> dict[str, TaskRecord]:
            return await broker.find(keys)

    handle = await Client(Purging()).submit(a_message(key="k"))
    assert handle.id != done.id
    assert (await broker.find(["k"]))["k"].id == handle.id


async def test_a_result_comes_as_soon_as_the_task_ends(broker: MemoryBroker, client: Client) -> None:
    handle = await client.submit(a_message())
    results: list[object] = []

    async def wait() -> None:
        results.append(await handle.result(timeout=PATIENCE))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        [lease] = await claim(broker)
        await broker.finish([End(lease, TaskState.SUCCEEDED, result=b'{"n": [1]}')])
    assert results == [{"n": [1]}]


@pytest.mark.parametrize(
    ("state", "error"),
    [(TaskState.FAILED, TaskFailed), (TaskState.CANCELLED, TaskCancelled), (TaskState.DEAD, TaskDead)],
)
async def test_an_end_without_success_is_raised_with_its_reason(
    broker: MemoryBroker, client: Client, state: TaskState, error: type[TaskError]
) -> None:
    found = await ended(broker, state, key="k")
    handle = await client.submit(a_message(key="k"))
    with pytest.raises(error, match=rf"task .*{found.id}.* is {state}: ValueError: it broke"):
        await handle.result(timeout=PATIENCE)


async def test_a_result_that_is_nothing_is_none(broker: MemoryBroker, client: Client) -> None:
    lease = await claimed(broker)
    await broker.finish([End(lease, TaskState.SUCCEEDED)])
    assert await client_module.TaskHandle(client, lease.id).result(timeout=0) is None


async def test_who_stops_waiting_is_told_so_and_the_task_stays(client: Client) -> None:
    handle = await client.submit(a_message())
    with pytest.raises(ResultTimeout, match=handle.id):
        await handle.wait(timeout=0)
    assert (await handle.record()).state is TaskState.QUEUED


async def test_a_task_that_nobody_knows_is_an_error(client: Client) -> None:
    for ask in (client.record, client.wait):
        with pytest.raises(UnknownTask, match="nonesuch"):
            await ask("nonesuch")


async def test_lost_notices_only_make_it_later(broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LOOK", 0.001)
    flaky = FlakyBroker(broker)
    flaky.mute = True
    client = Client(flaky.broker)
    handle = await client.submit(a_message())
    seen: list[TaskRecord] = []

    async def watch() -> None:
        seen.extend([record async for record in client.watch(handle.id)])

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        group.start_soon(lambda: handle.wait(timeout=PATIENCE))
        [lease] = await claim(broker)
        await broker.finish([End(lease, TaskState.SUCCEEDED)])
    assert seen[-1].state is TaskState.SUCCEEDED


async def test_a_watcher_sees_the_record_now_at_each_change_and_at_the_end(
    broker: MemoryBroker, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LOOK", PATIENCE)  # what is seen is seen by notices
    lease = await claimed(broker)
    seen: list[tuple[str, float]] = []
    with anyio.fail_after(PATIENCE):
        async for found in client.watch(lease.id):
            seen.append((str(found.state), found.progress))
            if len(seen) == 3:
                await broker.finish([End(lease, TaskState.SUCCEEDED)])
            elif not found.state.final:
                await broker.progress([Progress(lease, len(seen) / 4)])
    assert seen == [("running", 0.0), ("running", 0.25), ("running", 0.5), ("succeeded", 0.5)]


async def test_a_handle_cancels_its_task(broker: MemoryBroker, client: Client) -> None:
    handle = await client.submit(a_message())
    await handle.cancel("not needed")
    with pytest.raises(TaskCancelled, match="not needed"):
        await handle.result(timeout=PATIENCE)


def test_synchronous_code_submits_waits_and_cancels() -> None:
    app = App()

    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    broker = MemoryBroker()
    with app.connect(broker) as sync:
        result = add.delay(4, 5)
        assert result.state is TaskState.QUEUED
        with pytest.raises(ResultTimeout):
            result.get(timeout=0)
        [lease] = sync._portal.call(claim, broker)
        assert lease.message.args == [4, 5]
        sync._portal.call(broker.finish, [End(lease, TaskState.SUCCEEDED, result=b"9")])
        assert result.get(timeout=PATIENCE) == 9
        other = add.options(key="k").delay(1, 1)
        other.cancel("enough")
        with pytest.raises(TaskCancelled, match="enough"):
            other.get(timeout=PATIENCE)
        assert add.options(key="k").delay(1, 1).id == other.id
