from __future__ import annotations

import pytest

from gristmill.engine.client import Client
from gristmill.testing.bodies import add, add_async


@pytest.mark.anyio
async def test_submit(client: Client) -> None:
    """A task is submitted with its arguments, and its result is what the body returned: `def` and `async def` alike."""
    assert await (await add.submit(2, 3)).result(timeout=60) == 5
    assert await (await add_async.submit(2, b=3)).result(timeout=60) == 5
