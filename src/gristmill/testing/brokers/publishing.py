"""What is accepted, and in which order it is given out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import msgspec
import pytest

from gristmill.base.errors import EngineError
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Release
from gristmill.engine.state import TaskState
from gristmill.testing.brokers.making import a_message, claim, claimed, publish, record
from gristmill.testing.clock import FakeClock

TEXTS = {
    "empty": "",
    "NUL": "nul\0inside",
    "emoji": "😀👩‍👩‍👧‍👦",
    "four bytes": "𠜎𠜱",
    "right to left": "\u202eabc",
    "quotes": "'; DROP TABLE task; --\"\\",
    "long": "x" * 255,
}


class PublishContract:
    """Publishing is idempotent, and what was published comes out as it went in."""

    async def test_a_key_that_is_known_is_left_out(self, broker: Broker) -> None:
        first, again = a_message(1, key="k"), a_message(2, key="k")
        assert await broker.publish([first]) == [True]
        assert await broker.publish([again, a_message(3, key="other")]) == [False, True]
        assert (await broker.find(["k"]))["k"].message == first
        assert await broker.describe([again.id]) == [None]

    async def test_the_same_key_twice_in_one_batch_is_one_task(self, broker: Broker) -> None:
        assert await broker.publish([a_message(key="k"), a_message(key="k"), a_message(key="k2")]) == [
            True,
            False,
            True,
        ]
        assert len(await claim(broker, 9)) == 2

    async def test_an_id_that_is_known_is_left_out(self, broker: Broker) -> None:
        message = a_message(1)
        assert await broker.publish([message, message]) == [True, False]
        assert await broker.publish([msgspec.structs.replace(message, args=[2])]) == [False]
        assert (await record(broker, message)).message.args == [1]

    async def test_messages_without_a_key_are_all_accepted(self, broker: Broker) -> None:
        assert await broker.publish([a_message(1), a_message(1)]) == [True, True]

    @pytest.mark.parametrize("state", [TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED])
    async def test_a_key_stays_known_when_its_task_has_ended(self, broker: Broker, state: TaskState) -> None:
        lease = await claimed(broker, key="k")
        await broker.finish([End(lease, state)])
        assert await broker.publish([a_message(key="k")]) == [False]
        assert (await record(broker, lease)).state is state

    async def test_nothing_is_published_when_one_message_is_not_json(self, broker: Broker) -> None:
        good, bad = a_message(key="good"), a_message(object())
        with pytest.raises(EngineError, match="task"):
            await broker.publish([good, bad])
        assert await broker.describe([good.id, bad.id]) == [None, None]
        assert await broker.publish([good]) == [True]

    async def test_nothing_published_is_nothing(self, broker: Broker) -> None:
        assert await broker.publish([]) == []
        assert await claim(broker) == []

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    async def test_a_message_comes_out_as_it_went_in(self, broker: Broker, text: str) -> None:
        args: list[Any] = [text, 1, -1.5, True, None, [], {"deep": [{text: [text]}]}, 2**53]
        message = a_message(*args, kwargs={text: text}, key=f"k{text}"[:255], lane=text[:128], trace={"t": text})
        await broker.publish([message])
        [lease] = await claim(broker)
        assert lease.message == message
        assert (await broker.find([f"k{text}"[:255]]))[f"k{text}"[:255]].message == message
        await broker.finish([End(lease, TaskState.SUCCEEDED, result=msgspec.json.encode(text))])
        assert (await record(broker, message)).result == msgspec.json.encode(text)

    async def test_keys_of_full_length_that_differ_at_their_end_are_two(self, broker: Broker) -> None:
        keys = ["k" * 254 + "a", "k" * 254 + "b", "k" * 254 + "A"]
        assert await broker.publish([a_message(key=key) for key in keys]) == [True] * 3
        assert set(await broker.find([*keys, "none"])) == set(keys)

    async def test_what_a_body_does_to_its_arguments_does_not_change_the_message(self, broker: Broker) -> None:
        given = {"list": [1]}
        [message] = [a_message(given)]
        await broker.publish([message])
        given["list"].append(2)
        [lease] = await claim(broker)
        lease.message.args[0]["list"].append(3)
        await broker.release([Release(lease)])
        [lease] = await claim(broker)
        assert lease.message.args == [{"list": [1]}]

    async def test_batches_of_more_than_a_thousand_go_through_every_method(self, broker: Broker) -> None:
        count = 1_200
        messages = [a_message(number, key=f"k{number}") for number in range(count)]
        assert await broker.publish(messages) == [True] * count
        assert await broker.publish(messages) == [False] * count
        leases = await claim(broker, count)
        assert [lease.message for lease in leases] == messages
        assert await broker.extend(leases, lease=30) == []
        assert await broker.release([Release(lease) for lease in leases[:600]]) == [True] * 600
        assert (
            await broker.finish([End(lease, TaskState.SUCCEEDED) for lease in leases]) == [False] * 600 + [True] * 600
        )
        assert (
            await broker.cancel([one.id for one in messages]) == [TaskState.QUEUED] * 600 + [TaskState.SUCCEEDED] * 600
        )
        found = await broker.describe([message.id for message in messages])
        assert [one.message for one in found if one is not None] == messages
        assert len(await broker.find([f"k{number}" for number in range(count)])) == count
        assert len(await broker.replay([message.id for message in messages])) == 600
        assert len(await broker.tasks(limit=5_000)) == count + 600
        assert await broker.purge(states=list(TaskState)) == count


class OrderContract:
    """Highest priority first, lanes in turn, what has been due longest first inside a lane."""

    async def test_higher_priorities_go_first(self, broker: Broker) -> None:
        await broker.publish([a_message(priority=priority) for priority in (0, 7, -3, 1)])
        assert [lease.message.priority for lease in await claim(broker, 2)] == [7, 1]
        assert [lease.message.priority for lease in await claim(broker, 9)] == [0, -3]

    @pytest.mark.parametrize("batch", [1, 4, 6])
    async def test_a_small_job_starts_while_another_has_a_thousand_queued(self, broker: Broker, batch: int) -> None:
        """P14."""
        await publish(broker, 1_000, lane="large")
        await publish(broker, 3, lane="small")
        lanes: list[str] = []
        while len(lanes) < 12:
            lanes += [lease.message.lane for lease in await claim(broker, batch)]
        assert lanes[:8] == ["large", "small"] * 3 + ["large"] * 2

    async def test_lanes_take_turns_from_one_claim_to_the_next(self, broker: Broker) -> None:
        for lane in "abc":
            await publish(broker, 7, lane=lane)
        lanes = [lease.message.lane for size in (1, 2, 4, 1, 3, 10) for lease in await claim(broker, size)]
        assert "".join(lanes) == "abc" * 7

    async def test_new_lanes_do_not_pass_one_that_waits(self, broker: Broker) -> None:
        await publish(broker, 9, lane="zz waits")
        served = Counter[str]()
        for number in range(12):
            await publish(broker, 1, lane=f"a{number}")
            [lease] = await claim(broker)
            served[lease.message.lane] += 1
        assert served["zz waits"] >= 3

    async def test_lanes_of_several_queues_take_turns(self, broker: Broker) -> None:
        for queue in ("one", "two"):
            await publish(broker, 3, queue=queue, lane="l")
        queues = [(await claim(broker, queues=["one", "two"]))[0].message.queue for _ in range(6)]
        assert queues == ["one", "two"] * 3

    async def test_only_the_queues_asked_for_give(self, broker: Broker) -> None:
        await publish(broker, 2, queue="one")
        await publish(broker, 1, queue="two")
        assert await claim(broker, 9, queues=["three"]) == []
        assert [lease.message.queue for lease in await claim(broker, 9, queues=["two", "three"])] == ["two"]

    async def test_inside_a_lane_what_has_been_due_longest_goes_first(self, broker: Broker, clock: FakeClock) -> None:
        await broker.publish([a_message("due at 10", delay=10)])
        clock.move(5)
        await broker.publish([a_message("due at 5, first"), a_message("due at 5, second")])
        clock.move(6)
        await broker.publish([a_message("due at 11")])
        order = [lease.message.args[0] for lease in await claim(broker, 9)]
        assert order == ["due at 5, first", "due at 5, second", "due at 10", "due at 11"]

    @pytest.mark.parametrize("counted", [True, False])
    async def test_what_is_given_back_without_delay_keeps_its_place(
        self, broker: Broker, clock: FakeClock, counted: bool
    ) -> None:
        first, *_ = await publish(broker, 3)
        [lease] = await claim(broker)
        clock.move(1)
        await broker.release([Release(lease, counted=counted)])
        [lease] = await claim(broker)
        assert lease.message == first

    async def test_a_delayed_task_waits_for_its_time(self, broker: Broker, clock: FakeClock) -> None:
        await publish(broker, delay=10)
        clock.move(9.99)
        assert await claim(broker) == []
        clock.move(0.01)
        assert len(await claim(broker)) == 1

    async def test_cancelled_tasks_take_no_turn(self, broker: Broker) -> None:
        gone = await publish(broker, 50, lane="a")
        await publish(broker, 2, lane="a")
        await publish(broker, 2, lane="b")
        await broker.cancel([message.id for message in gone])
        assert [lease.message.lane for lease in await claim(broker, 9)] == ["a", "b", "a", "b"]

    async def test_no_task_is_given_to_two_of_many_workers(self, broker: Broker) -> None:
        """P3."""
        messages = await publish(broker, 150, lane="a") + await publish(broker, 50, lane="b")
        got: list[Lease] = []

        async def work(name: str) -> None:
            while leases := await claim(broker, 3, worker=name):
                got.extend(leases)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(work, f"w{number}")
        assert sorted(lease.id for lease in got) == sorted(message.id for message in messages)
