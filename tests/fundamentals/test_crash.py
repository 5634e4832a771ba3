from __future__ import annotations

import pytest

from gristmill.base.errors import TaskDead
from gristmill.engine.client import Client
from gristmill.testing.bodies import add, bad_sync


@pytest.mark.anyio
async def test_crash(client: Client) -> None:
    """A body that takes its process down fails alone and says how; the next task finds a new process."""
    with pytest.raises(TaskDead, match=r"RunnerCrashed: .*SIGSEGV"):
        await (await bad_sync.submit("segfault")).result(timeout=60)
    assert await (await add.submit(1, 1)).result(timeout=60) == 2
