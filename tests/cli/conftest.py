"""Commands run in this process; what they start are real processes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gristmill.cli.main import run


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        """JSON values, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """The command line with a home of its own."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> Said:
        self._capsys.readouterr()
        code = run(["--home", str(self.home), *map(str, words)])
        captured = self._capsys.readouterr()
        return Said(code, captured.out, captured.err)

    def ingest(self, *words: str | Path) -> Said:
        return self("ingest", *words, "--dataset", "d", "--embedder", "lexical", "--json")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No configuration of this machine, no setting left by another test."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    for name in ("GRISTMILL_HOME", "GRISTMILL_CONFIG", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRISTMILL_STORES__DURABLE", "false")


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """An empty home."""
    return Cli(tmp_path / "home", capsys)


DOCUMENTS = {
    "leases.md": "# Leases\n\nA lease is the right to run a task now. It carries a fencing token.\n\n"
    "# Sweep\n\nThe sweep removes what no live generation owns.\n",
    "deep/drain.txt": "A drain stops a worker without losing work. 排空不会丢失任务。\n",
    "table.csv": "word,meaning\nslot,room for one running task\npart,a range of pages\n",
    "broken.pdf": "%PDF-1.7 and no more",
}


def write(folder: Path, documents: dict[str, str] = DOCUMENTS) -> Path:
    """Files as they were an hour ago: what changed just now is looked at again."""
    for name, text in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        age(path)
    return folder


def age(path: Path, seconds: int = 0) -> None:
    """Let a file look as if it had been written long ago, ``seconds`` later than others."""
    os.utime(path, (1_700_000_000 + seconds, 1_700_000_000 + seconds))


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home in which four documents were ingested, one of them in vain; and their folder."""
    base = tmp_path_factory.mktemp("filled")
    folder = write(base / "files")
    words = ["ingest", str(folder), "--dataset", "d", "--embedder", "lexical", "--json"]
    assert run(["--home", str(base / "home"), *words]) == 1
    return base / "home", folder


@pytest.fixture
def filled(_filled: tuple[Path, Path], cli: Cli) -> Cli:
    """A copy of that home: the test may do to it what it likes."""
    shutil.copytree(_filled[0], cli.home)
    return cli


@pytest.fixture
def folder(_filled: tuple[Path, Path]) -> Path:
    """The folder that the filled home was made from; it is not to be changed."""
    return _filled[1]
