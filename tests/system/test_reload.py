"""A master of the command line that reads its configuration again."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.testing.servers.process import free_port
from system.commands import PATIENCE, Commands, line_with

pytestmark = pytest.mark.timeout(PATIENCE * 3)


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    made = Commands(tmp_path / "home", {"PYTHONPATH": str(Path(__file__).parent.parent)})
    yield made
    made.end()


@pytest.mark.parametrize(
    ("words", "after"),
    [
        pytest.param(["worker", "--app", "system.apps:app", "-w", "1"], 1, id="worker"),
        pytest.param(["up", "--plain", "--listen", "127.0.0.1:0"], 2, id="up", marks=pytest.mark.fault),
    ],
)
def test_a_reload_changes_workers_and_one_that_is_wrong_changes_nothing(
    words: list[str], after: int, commands: Commands, tmp_path: Path
) -> None:
    """Their settings, and how many there are, where the command line does not say; the log has what is wrong, and where."""
    settings, health = tmp_path / "service_conf.yaml", f"127.0.0.1:{free_port()}"
    settings.write_text("worker: {name: first}\nsupervisor: {workers: 1}\n")
    master = commands.start("--config", settings, *words, "--health", health)
    line_with(master.stderr, lambda line: "a worker is ready" in line and "first-" in line)

    settings.write_text(f"worker: {{name: second}}\nsupervisor: {{workers: {after}}}\n")
    master.send_signal(signal.SIGHUP)
    for _ in range(after):
        line_with(master.stderr, lambda line: "a worker is ready" in line and "second-" in line)
    line_with(master.stderr, lambda line: "a worker has ended" in line and "first-" in line)

    settings.write_text("worker: {nam: third}\n")
    master.send_signal(signal.SIGHUP)
    line = line_with(master.stderr, lambda line: "the configuration is not read again" in line)
    assert "nam" in line
    assert settings.name in line
    with urllib.request.urlopen(f"http://{health}/health", timeout=PATIENCE) as answer:
        assert json.loads(answer.read())["workers"] == {"ready": after}

    master.send_signal(signal.SIGTERM)
    _, rest = master.communicate(timeout=PATIENCE)
    assert master.returncode == 0
    assert "a worker starts" not in rest
