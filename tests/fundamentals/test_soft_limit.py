from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.engine.client import Client
from gristmill.testing.bodies import tidies


@pytest.mark.anyio
async def test_soft_limit(client: Client, tmp_path: Path) -> None:
    """At the soft limit SoftTimeLimitExceeded is raised inside the body, which may clean up and answer."""
    marks = tmp_path / "marks"
    assert await (await tidies.submit(str(marks))).result(timeout=60) == "in time"
    assert marks.read_text() == "tidied\n"
