"""Tasks for workers of the tests."""

from __future__ import annotations

import time

from gristmill.engine.task import App

app = App("tests")


@app.task
def burn(seconds: float) -> float:
    """Use so much processor time."""
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        pass
    return seconds
