"""Looking into a running process: where its memory went."""

from __future__ import annotations

import os
import resource
import time
import tracemalloc
from itertools import chain, count
from pathlib import Path

from gristmill.base.logs import get_logger

log = get_logger(__name__)

FRAMES = 10  # of each allocation


class MemoryTrace:
    """Python's own record of what allocated memory, with snapshots in a folder that ``tracemalloc`` loads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def snapshot(self) -> Path:
        """Start recording if it has not started, and write down what is recorded so far. Returns the file."""
        if not tracemalloc.is_tracing():
            tracemalloc.start(FRAMES)
            log.info("tracemalloc started")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._free(f"{os.getpid()}_snapshot_{time.strftime('%Y%m%d_%H%M%S')}")
        whole = path.with_suffix(".part")
        tracemalloc.take_snapshot().dump(str(whole))
        whole.rename(path)  # who sees it can load it
        current, peak = tracemalloc.get_traced_memory()
        log.info(
            "memory snapshot written",
            path=str(path),
            max_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 2),
            traced_mb=round(current / 1e6, 2),
            peak_mb=round(peak / 1e6, 2),
        )
        return path

    def _free(self, name: str) -> Path:
        """The path of a new file of this name, or with a number behind it: none is written over."""
        paths = (self._folder / f"{name}{more}.trace" for more in chain([""], (f"_{number}" for number in count(2))))
        return next(path for path in paths if not path.exists())

    def stop(self) -> None:
        """Record no more; what was recorded is forgotten."""
        log.info("tracemalloc stopped" if tracemalloc.is_tracing() else "tracemalloc was not running")
        tracemalloc.stop()
