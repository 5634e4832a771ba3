"""Code that is confined reaches no network, runs no program and writes nowhere but in a folder of its own."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gristmill.base.confine import confined, confined_steps, programs_allowed
from gristmill.base.errors import PluginError
from gristmill.base.scratch import PREFIX


def connects() -> None:
    with socket.socket() as ours:
        ours.connect(("127.0.0.1", 9))


ATTEMPTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "connect": (lambda _: socket.create_connection(("127.0.0.1", 9)), "network"),
    "look up": (lambda _: socket.getaddrinfo("localhost", 80), "network"),
    "send": (lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)), "network"),
    "run": (lambda _: subprocess.run([sys.executable, "-c", ""], check=False), "program"),
    "shell": (lambda _: os.system("true"), "program"),
    "write": (lambda folder: (folder / "new").write_text("x"), "write"),
    "append": (lambda folder: (folder / "old").open("a").close(), "write"),
    "remove": (lambda folder: (folder / "old").unlink(), "write"),
    "rename": (lambda folder: (folder / "old").rename(folder / "new"), "write"),
    "mkdir": (lambda folder: (folder / "new").mkdir(), "write"),
    "symlink": (lambda folder: (folder / "new").symlink_to("old"), "write"),
    "climb": (lambda folder: Path(tempfile.gettempdir(), "..", "evil").write_text("x"), "write"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_is_refused_where_it_is_made(name: str, tmp_path: Path) -> None:
    attempt, word = ATTEMPTS[name]
    (tmp_path / "old").write_text("as it was")
    with pytest.raises(PluginError, match=f"parser x.*{word}"), confined("parser x"):
        attempt(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "as it was"


def test_what_it_may_do_it_does(tmp_path: Path) -> None:
    """Reading, and temporary files: in a folder that nobody else can look into, and that is gone afterwards."""
    (tmp_path / "old").write_text("words")
    usual = tempfile.gettempdir()
    with confined("parser x"):
        assert (tmp_path / "old").read_text() == "words"
        folder = Path(tempfile.gettempdir())
        assert folder.name.startswith(PREFIX)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with tempfile.TemporaryDirectory() as inner, tempfile.NamedTemporaryFile() as file:
            Path(inner, "a").write_text("x")
            assert Path(file.name).is_relative_to(folder)
            assert stat.S_IMODE(os.stat(file.name).st_mode) == 0o600
            Path(inner, "a").unlink()
    assert not folder.exists()
    assert tempfile.gettempdir() == usual


def test_the_block_ends_the_confinement(tmp_path: Path) -> None:
    with confined("outer"):
        with pytest.raises(PluginError, match="inner"), confined("inner"):
            connects()
        with pytest.raises(PluginError, match="outer"):
            connects()
    with pytest.raises(OSError, match="refused"):
        connects()
    (tmp_path / "new").write_text("x")


def test_a_program_that_is_meant_may_run() -> None:
    """LibreOffice does: it runs with a profile and a proxy of its own."""
    with confined("parser x"), programs_allowed():
        assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0


def test_threads_that_begin_meanwhile_are_confined_and_others_are_not() -> None:
    """A parser cannot step around it by a thread; a thread that was there before goes on with its own work."""
    go, told = threading.Event(), []

    def attempt() -> None:
        go.wait(10)
        try:
            connects()
        except (OSError, PluginError) as exc:
            told.append(type(exc))

    before = threading.Thread(target=attempt)
    before.start()
    with confined("parser x"):
        meanwhile = threading.Thread(target=attempt)
        meanwhile.start()
        go.set()
        before.join()
        meanwhile.join()
    assert sorted(told, key=str) == sorted([ConnectionRefusedError, PluginError], key=str)


def test_each_step_is_confined_and_what_is_done_with_its_value_is_not(tmp_path: Path) -> None:
    def steps() -> Iterator[int]:
        with tempfile.TemporaryFile() as kept:
            yield kept.write(b"x")
            assert kept.tell() == 1
            connects()

    taken = confined_steps("parser x", steps())
    assert next(taken) == 1
    (tmp_path / "new").write_text("x")
    with pytest.raises(PluginError, match="parser x"):
        next(taken)
