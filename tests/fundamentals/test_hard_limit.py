from __future__ import annotations

import pytest

from gristmill.base.errors import TaskFailed
from gristmill.engine.client import Client
from gristmill.testing.bodies import add, bad_sync


@pytest.mark.anyio
async def test_hard_limit(client: Client) -> None:
    """At the hard limit a body is ended from outside: an endless loop in C is, too. Its slot takes the next task."""
    with pytest.raises(TaskFailed, match="HardTimeLimitExceeded"):
        await (await bad_sync.submit("c_loop")).result(timeout=60)
    assert await (await add.submit(1, 1)).result(timeout=60) == 2
