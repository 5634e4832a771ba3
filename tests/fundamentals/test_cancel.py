from __future__ import annotations

import pytest

from gristmill.base.errors import TaskCancelled
from gristmill.engine.client import Client
from gristmill.testing.bodies import swallows
from gristmill.testing.workers import said


@pytest.mark.anyio
async def test_cancel(client: Client) -> None:
    """A running body is stopped, even one that catches everything that is thrown at it."""
    handle = await swallows.submit()
    await said(client.broker, (await handle.record()).message)
    await handle.cancel()
    with pytest.raises(TaskCancelled):
        await handle.result(timeout=60)
