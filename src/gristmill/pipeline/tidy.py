"""What is left on a host by processes that were killed there, and by those who looked into them: removed by its age."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread

from gristmill.base.clock import Clock
from gristmill.base.logs import get_logger
from gristmill.base.scratch import sweep_scratch

log = get_logger(__name__)

SCRATCH_SECONDS = 60.0  # age at which a scratch folder that no process holds is removed
TRACES = ("*_snapshot_*.trace", "*_snapshot_*.part", "*.log.1")  # in the folder of logs


def tidy(logs: Path, now: float, *, keep_logs: float, keep_scratch: float) -> int:
    """Remove old snapshots and logs, and scratch folders of processes that are dead. Returns how many."""
    return sweep_scratch(before=now - keep_scratch) + _removed(_traces(logs), before=now - keep_logs)


async def keep_tidy(logs: Path, clock: Clock, *, every: float, keep_logs: float, keep_scratch: float) -> None:
    """Do so every ``every`` seconds, for ever. Each host has to: others do not see its files."""
    while True:
        removed = await to_thread.run_sync(
            lambda: tidy(logs, clock.now(), keep_logs=keep_logs, keep_scratch=keep_scratch)
        )
        if removed:
            log.info("tidied up", removed=removed)
        await anyio.sleep(every)


def _traces(logs: Path) -> Iterable[Path]:
    return (path for pattern in TRACES for path in logs.glob(pattern))


def _removed(paths: Iterable[Path], *, before: float) -> int:
    removed = 0
    for path in paths:
        with suppress(OSError):  # another one was faster
            if path.lstat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
