"""What killed processes leave on a host is removed by its age; what is in use, and what is not ours, stays."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gristmill.base.scratch import PREFIX, scratch, sweep_scratch
from gristmill.pipeline.tidy import tidy

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def aged(path: Path, seconds: float) -> Path:
    """The same, last changed so many seconds before now."""
    os.utime(path, (NOW - seconds, NOW - seconds), follow_symlinks=False)
    return path


def test_a_scratch_folder_is_gone_at_its_end_and_one_of_a_dead_process_when_it_is_old(temp: Path) -> None:
    with scratch() as own:
        assert Path(own).parent == temp
    left, used = temp / f"{PREFIX}left", temp / f"{PREFIX}used"
    for folder in (left, used):
        (folder / "inner").mkdir(parents=True)
    aged(left, 100.0)
    aged(used, 10.0)
    assert sweep_scratch(before=NOW - 50.0) == 1
    assert [path.name for path in temp.iterdir()] == [used.name]


def test_a_folder_in_use_stays_however_old_it_is(temp: Path) -> None:
    with scratch() as own:
        aged(Path(own), 1_000_000.0)
        assert sweep_scratch(before=NOW) == 0
        assert Path(own).exists()
    assert list(temp.iterdir()) == []


KILLED = """
import sys, tempfile
from gristmill.base.confine import confined
with confined("parser"), tempfile.NamedTemporaryFile() as file:
    print(file.name, flush=True)
    sys.stdin.read()
"""


def test_what_a_parser_wrote_is_removed_though_it_was_killed(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in the middle of a parse: the sweep finds its folder, which nobody holds now."""
    monkeypatch.setenv("TMPDIR", str(temp))
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parsing:
        assert parsing.stdout is not None
        file = Path(parsing.stdout.readline().strip())
        assert file.exists()
        assert file.parent.parent == temp
        later = file.parent.stat().st_mtime + 1
        assert sweep_scratch(before=later) == 0
        parsing.kill()
        parsing.wait()
    assert file.exists()
    assert sweep_scratch(before=later) == 1
    assert list(temp.iterdir()) == []


def test_nothing_else_is_touched(temp: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (temp / f"{PREFIX}link").symlink_to(home)
    (temp / f"{PREFIX}file").touch()
    (temp / "gristmill-home").mkdir()
    for path in temp.iterdir():
        aged(path, 1000.0)
    assert sweep_scratch(before=NOW) == 0
    assert (len(list(temp.iterdir())), home.exists()) == (3, True)


def test_old_snapshots_and_logs_are_removed_and_the_log_in_use_stays(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    names = ["1_snapshot_20260101_000000.trace", "2_snapshot_20260102_000000.trace", "master.log", "master.log.1"]
    names.append("3_snapshot_20260103_000000.part")  # its process was killed
    for name in names:
        (logs / name).touch()
        aged(logs / name, 100.0)
    aged(logs / names[1], 10.0)
    assert tidy(logs, NOW, keep_logs=50.0, keep_scratch=50.0) == 3
    assert sorted(path.name for path in logs.iterdir()) == [names[1], "master.log"]


def test_where_nothing_was_ever_logged_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert tidy(tmp_path / "nothing", NOW, keep_logs=0.0, keep_scratch=0.0) == 0
