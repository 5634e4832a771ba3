"""Slots: how many tasks are taken, who waits for one, and who is sent away."""

from __future__ import annotations

import anyio
import pytest

from gristmill.engine.slots import AHEAD, SHORT, Slots

pytestmark = pytest.mark.anyio


def test_there_is_room_for_whatever_kind_comes_next() -> None:
    slots = Slots(2, 5)
    assert slots.room() == 2
    slots.serve([True])
    assert slots.room() == 5
    slots.serve([True, False])
    slots.take(True)
    assert slots.room() == 2
    slots.take(False)
    assert slots.room() == 1


def test_while_tasks_are_short_more_are_taken_and_filled_up_by_halves() -> None:
    slots = Slots(1, 1)
    for _ in range(200):
        slots.ran(0.0)
    assert slots.room() == 1 + AHEAD
    for _ in range(1 + AHEAD // 2):
        slots.take(False)
    assert slots.room() == 0
    slots.give_back(False)
    assert slots.room() == AHEAD // 2 + 1
    slots.ran(20 * SHORT)
    assert slots.room() <= 0  # one that took long is enough to take nothing ahead


async def test_more_room_is_told_when_there_is() -> None:
    slots = Slots(1, 1)
    await slots.more_room()
    slots.take(False)
    async with anyio.create_task_group() as group:
        group.start_soon(slots.more_room)
        await anyio.wait_all_tasks_blocked()
        slots.give_back(False)


async def test_a_free_slot_goes_to_the_one_that_waits_longest_and_each_kind_has_its_own() -> None:
    slots, got = Slots(1, 1), list[str]()

    async def enter(name: str) -> None:
        assert await slots.enter(name, False) is None
        got.append(name)

    await enter("first")
    assert await slots.enter("other kind", True) is None
    async with anyio.create_task_group() as group:
        for name in ("second", "third"):
            group.start_soon(enter, name)
            await anyio.wait_all_tasks_blocked()
        assert got == ["first"]
        slots.leave(False)
        await anyio.wait_all_tasks_blocked()
        assert got == ["first", "second"]
        slots.leave(False)


async def test_a_slot_that_nobody_takes_any_more_is_free() -> None:
    slots = Slots(1, 1)
    await slots.enter("first", False)
    async with anyio.create_task_group() as group:
        for name in ("cancelled", "cancelled with its slot"):
            group.start_soon(slots.enter, name, False)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        slots.leave(False)  # goes to the first of them, who will not take it
    assert await slots.enter("second", False) is None


async def test_who_waits_may_be_sent_away() -> None:
    slots, told = Slots(1, 1), dict[str, str | None]()

    async def enter(name: str) -> None:
        told[name] = await slots.enter(name, False)

    await enter("first")
    assert not slots.refuse("first", "cancel")
    async with anyio.create_task_group() as group:
        for name in ("a", "b", "c"):
            group.start_soon(enter, name)
        await anyio.wait_all_tasks_blocked()
        assert slots.refuse("b", "cancel")
        slots.close("shutdown")
    assert told == {"first": None, "a": "shutdown", "b": "cancel", "c": "shutdown"}
    assert await slots.enter("late", False) == "shutdown"
    slots.leave(False)
    assert await slots.enter("next", False) is None


async def test_who_waits_in_vain_is_sent_away_and_less_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.engine.slots.OTHERS", 0.01)
    slots = Slots(1, 1)
    for _ in range(200):
        slots.ran(0.0)
    await slots.enter("long", False)
    async with anyio.create_task_group() as group:
        group.start_soon(slots.watch)
        assert await slots.enter("in vain", False) == "waited"
        group.cancel_scope.cancel()
    assert slots.room() == 1
