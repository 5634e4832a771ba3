"""What a master is made of, without processes: plans, hooks, process id files, words to systemd."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gristmill.engine.fleet import LONGEST_PAUSE, Plan, Starts, reopen_stderr
from gristmill.engine.hooks import Hooks
from gristmill.engine.systemd import Notifier, PidFile


def test_a_plan_travels_whole() -> None:
    plan = Plan(["python", "-m", "gristmill"], workers=3, max_age=5.0, health="127.0.0.1:1")
    assert Plan.load(plan.dump()) == plan


@pytest.mark.parametrize("raw", ["[]", '{"argv": [], "what": 1}', "{", "7"])
def test_what_is_no_plan_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"plan|Expecting"):
        Plan.load(raw)


@pytest.mark.parametrize(
    ("script", "reason"), [("raise SystemExit('line 3: no such key')", "no such key"), ("print('{}x')", "Extra data")]
)
def test_a_configuration_that_cannot_be_read_again_says_why(script: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Plan([], reload=[sys.executable, "-c", script]).read_again()


def test_hooks_that_are_there_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, ...]] = []
    module = ModuleType("my_hooks")
    module.when_ready = lambda *args: called.append(args)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_hooks", module)
    hooks = Hooks("my_hooks")
    hooks.call("when_ready", 1)
    hooks.call("on_reload", 2)
    Hooks("").call("when_ready", 3)
    assert called == [(1,)]


def test_pauses_between_starts_that_fail_grow_and_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("gristmill.engine.fleet.time.monotonic", lambda: now)
    starts = Starts()

    def waited() -> float:
        """How long it takes until a start is due."""
        nonlocal now
        before = now
        while not starts.due:
            now += 0.5
        return now - before

    def pause() -> float:
        starts.failed()
        return waited()

    assert waited() == 0
    pauses = [pause() for _ in range(10)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_PAUSE
    starts.failed()
    starts.hurry()
    assert waited() == 0
    starts.succeeded()
    assert pause() == 0.5


class TestPidFile:
    def test_it_is_there_while_we_are(self, tmp_path: Path) -> None:
        path = tmp_path / "pid"
        with PidFile(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"
        assert not path.exists()

    def test_one_of_a_dead_process_is_taken_over(self, tmp_path: Path) -> None:
        path = tmp_path / "pid"
        path.write_text("999999999\n")
        with PidFile(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"

    def test_one_of_a_living_process_is_respected(self, tmp_path: Path) -> None:
        path = tmp_path / "pid"
        path.write_text(f"{os.getppid()}\n")
        with pytest.raises(FileExistsError, match="runs already"), PidFile(str(path)):
            pass
        assert path.exists()

    def test_nonsense_in_it_is_nobodys(self, tmp_path: Path) -> None:
        path = tmp_path / "pid"
        path.write_text("what\n")
        with PidFile(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"


class TestSystemd:
    @pytest.fixture(params=["path", "abstract"])
    def address(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return str(tmp_path / "notify") if request.param == "path" else f"@gristmill-test-{os.getpid()}"

    def test_it_hears_what_we_say_and_the_watchdog_twice_as_often_as_asked(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(f"\0{address[1:]}" if address.startswith("@") else address)
            systemd.settimeout(5)
            notifier = Notifier()
            notifier.tell("READY=1", "STATUS=well")
            for now in (100.0, 109.0, 110.5):
                notifier.watchdog(now)
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1\nSTATUS=well", b"WATCHDOG=1", b"WATCHDOG=1"]
        assert "NOTIFY_SOCKET" not in os.environ  # noqa: TID251  workers are not to find it

    def test_nobody_listens(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        Notifier().tell("READY=1")
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
        Notifier().tell("READY=1")


def test_the_log_goes_on_in_a_fresh_file(tmp_path: Path) -> None:
    path, kept = tmp_path / "log", os.dup(2)
    try:
        for number in (1, 2):
            reopen_stderr(str(path))
            os.write(2, b"line %d\n" % number)
            path.rename(tmp_path / f"log.{number}")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert [(tmp_path / f"log.{number}").read_text() for number in (1, 2)] == ["line 1\n", "line 2\n"]
