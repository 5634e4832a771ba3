from __future__ import annotations

import pytest

from gristmill.engine.client import Client
from gristmill.testing.bodies import third_time_lucky


@pytest.mark.anyio
async def test_retry(client: Client) -> None:
    """A failure that may pass is tried again, and the failures before the success are remembered."""
    record = await (await third_time_lucky.submit()).wait(timeout=60)
    assert (record.state, record.attempt, record.result) == ("succeeded", 3, b"3")
    assert [error.type for error in record.history] == ["ModelUnavailable", "ModelUnavailable"]
