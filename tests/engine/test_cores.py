"""A worker without a number of slots takes one for each core that it may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gristmill.engine.cores import cores

ALL = len(os.sched_getaffinity(0))


def _host(root: Path, group: str, quotas: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::{group}\n")
    for folder, text in quotas.items():
        place = root / "sys/fs/cgroup" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.max").write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "quotas", "expected"),
    [
        ("/", {".": "50000 100000\n"}, 1),
        ("/pod/box", {"pod/box": "max 100000\n", "pod": "100000 100000\n"}, 1),
        ("/pod/box", {"pod/box": "max 100000\n"}, ALL),
        ("/pod/box", {"pod/box": "9900000 100000\n"}, ALL),
        ("/pod/box", {"pod/box": "nonsense"}, ALL),
        ("/gone", {}, ALL),
    ],
)
def test_a_containers_share_counts(tmp_path: Path, group: str, quotas: dict[str, str], expected: int) -> None:
    """The smallest quota up to the root holds, rounded up; without one, or one that cannot be read, the affinity does."""
    assert cores(_host(tmp_path, group, quotas)) == min(expected, ALL)


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    """Where there are no control groups, the affinity decides."""
    assert cores(tmp_path) == ALL
