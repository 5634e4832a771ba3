"""The unit for systemd: systemd has no complaint, and it fits what the master does."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest

from deploy.reading import DEPLOY, LEAST_STOP, ROOT, memory, options, ran, settings
from docs.blocks import blocks
from gristmill.engine.fleet import Exit

UNIT = DEPLOY / "systemd" / "gristmill.service"
Unit = dict[str, list[str]]


def parsed(text: str) -> Unit:
    """The values of each key. (No key stands in two sections.)"""
    found: Unit = defaultdict(list)
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


@pytest.fixture
def unit() -> Unit:
    return parsed(UNIT.read_text(encoding="utf-8"))


def installed(folder: Path) -> Path:
    """The unit with a program that is there."""
    text = UNIT.read_text(encoding="utf-8").replace("/opt/gristmill/bin/gristmill", "/bin/true")
    (folder / UNIT.name).write_text(text, encoding="utf-8")
    return folder / UNIT.name


def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    assert ran("systemd-analyze", "verify", "--man=no", installed(tmp_path)) == ""


def test_systemd_finds_little_that_it_may_do_to_the_host(tmp_path: Path) -> None:
    said = ran("systemd-analyze", "security", "--offline=true", "--no-pager", installed(tmp_path))
    level = re.search(r"Overall exposure level.*?: (\d+\.\d+)", said)
    assert level is not None
    assert float(level[1]) < 3.0


def test_it_starts_a_master_and_hears_from_it(unit: Unit, tmp_path: Path) -> None:
    [command] = unit["ExecStart"]
    program, *words = shlex.split(command)
    assert program == "/opt/gristmill/bin/gristmill"
    assert options(words)["workers"]
    environ = dict(pair.split("=", 1) for pair in unit["Environment"])
    settings(environ, tmp_path)
    assert environ["GRISTMILL_HOME"] == f"/var/lib/{unit['StateDirectory'][0]}"
    assert (unit["Type"], unit["NotifyAccess"], unit["WatchdogSec"]) == (["notify"], ["main"], ["30"])
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_it_is_told_to_stop_alone_and_has_time_for_it(unit: Unit, tmp_path: Path) -> None:
    assert unit["KillMode"] == ["mixed"]
    own = settings({}, tmp_path)
    assert int(unit["TimeoutStopSec"][0]) >= own.worker.grace_seconds + LEAST_STOP
    assert int(unit["TimeoutStartSec"][0]) > own.supervisor.boot_timeout


def test_a_wrong_setting_is_not_tried_again_and_a_crash_is(unit: Unit) -> None:
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == [str(int(Exit.BOOT_FAILED))]


def test_it_has_the_memory_that_its_tasks_may_use_and_outlives_one_that_takes_more(unit: Unit, tmp_path: Path) -> None:
    given = options(shlex.split(unit["ExecStart"][0])[1:])
    limit = settings({}, tmp_path).worker.memory_limit
    assert limit is not None
    assert unit["MemoryMax"] == [f"{memory('up', given['workers'], given['slots'], limit)}M"]
    assert unit["OOMPolicy"] == ["continue"]


@pytest.mark.parametrize("page", ["operations/master.md", "howto/workers.md"])
def test_units_in_the_docs_say_the_same(page: str, unit: Unit, tmp_path: Path) -> None:
    grace = settings({}, tmp_path).worker.grace_seconds
    for block in blocks(ROOT / "docs" / page):
        if block.language == "ini":
            shown = parsed(block.text)
            assert int(shown["TimeoutStopSec"][0]) > grace
            for key in {"Type", "KillMode", "WatchdogSec", "ExecReload", "Restart"} & set(shown):
                assert shown[key] == unit[key]
