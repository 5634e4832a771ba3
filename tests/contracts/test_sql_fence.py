"""A SQL database put back from a backup, or emptied, hands out the same tokens again: whose a lease is counts, too (P3)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gristmill.brokers import open_broker
from gristmill.engine.message import End, Progress, Release, new_message
from gristmill.engine.state import TaskState

pytestmark = pytest.mark.anyio


async def test_who_has_the_right_token_of_another_life_is_refused(tmp_path: Path) -> None:
    async with open_broker(f"sqlite:///{tmp_path / 'broker.db'}") as broker:
        await broker.publish([new_message("body")])
        [held] = await broker.reserve(["default"], worker="new", limit=1, lease=60.0, wait=0)
        old = msgspec.structs.replace(held, worker="old")
        assert await broker.extend([old], lease=60.0) == [old]
        assert await broker.progress([Progress(old, 0.5)]) == [False]
        assert await broker.release([Release(old)]) == [False]
        assert await broker.finish([End(old, TaskState.SUCCEEDED)]) == [False]
        assert await broker.finish([End(held, TaskState.SUCCEEDED)]) == [True]
