from __future__ import annotations

import pytest

from gristmill.engine.client import Client
from gristmill.testing.bodies import reports
from gristmill.testing.workers import said


@pytest.mark.anyio
async def test_progress(client: Client) -> None:
    """A body says how far it is; whoever watches sees the latest of it."""
    handle = await reports.submit()
    record = await said(client.broker, (await handle.record()).message, "step 5")
    assert (record.progress, record.progress_data) == (0.5, {"step": 5})
    await handle.cancel()
