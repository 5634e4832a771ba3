"""How many cores this process may use: a container's share counts, not the host's number."""

from __future__ import annotations

import os
from contextlib import suppress
from math import ceil
from pathlib import Path


def cores(root: Path = Path("/")) -> int:
    """The cores we may run on, at least 1: by affinity, and by the quota of our control group (cgroup v2), rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, ceil(_quota(root) or allowed)))


def _quota(root: Path) -> float | None:
    """The smallest quota on the way from our group up to the root, in cores."""
    quotas: list[float] = []
    with suppress(OSError, StopIteration):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        own = next(line for line in lines if line.startswith("0::")).removeprefix("0::").strip("/")
        top = root / "sys/fs/cgroup"
        group = top / own
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            with suppress(OSError, ValueError):
                quota, period = (folder / "cpu.max").read_text().split()
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)
