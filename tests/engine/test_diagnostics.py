"""Snapshots of memory: one file each, whole, under the name that the source gives them."""

from __future__ import annotations

import os
import re
import tracemalloc
from pathlib import Path

from gristmill.engine import diagnostics
from gristmill.engine.diagnostics import MemoryTrace


def test_snapshots_of_one_second_are_files_of_their_own_and_load(tmp_path: Path) -> None:
    trace = MemoryTrace(tmp_path / "logs")
    try:
        kept = bytearray(b"x" * 3_000_000)
        paths = [trace.snapshot() for _ in range(2)]
        kept += bytearray(b"y" * 3_000_000)
        paths.append(trace.snapshot())
    finally:
        trace.stop()
    assert len(set(paths)) == 3
    assert sorted(paths) == sorted((tmp_path / "logs").iterdir())
    assert all(re.fullmatch(rf"{os.getpid()}_snapshot_\d{{8}}_\d{{6}}(_\d+)?\.trace", path.name) for path in paths)
    _, second, third = (tracemalloc.Snapshot.load(str(path)) for path in paths)
    grown = third.compare_to(second, "filename")
    assert sum(line.size_diff for line in grown if line.traceback[0].filename == __file__) >= 3_000_000
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700
    assert not tracemalloc.is_tracing()
    assert len(kept) == 6_000_000
    assert diagnostics.FRAMES > 1
