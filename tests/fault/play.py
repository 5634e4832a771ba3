"""Playing a round: real commands, real processes, SIGKILL; then the same command to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from fault import corpus
from fault.rounds import Round
from gristmill.testing.faults import Victim, prepare, struck

DATASET = "d"
PATIENCE = 180.0  # seconds for one command, on a busy machine; nobody waits for it
SETTINGS = {
    "GRISTMILL_ENGINE__LEASE_SECONDS": "2",
    "GRISTMILL_PIPELINE__RECONCILE_SECONDS": "1",
    "GRISTMILL_PIPELINE__SWEEP_SECONDS": "1",
    "GRISTMILL_PIPELINE__RETIRED_GRACE_SECONDS": "0",
    "GRISTMILL_PIPELINE__CHUNK_TOKEN_NUM": "128",
    "GRISTMILL_PIPELINE__CHUNKS_PER_PART": "4",
    "GRISTMILL_STORES__DURABLE": "false",
}


@dataclass(frozen=True)
class Stage:
    """Where rounds are played: a folder of documents and a home, made anew for each."""

    base: Path
    seconds: float = 5.0  # that an undisturbed ingest took

    @property
    def folder(self) -> Path:
        return self.base / "files"

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def template(self) -> Path:
        return self.base / "template"

    def clear(self, *, indexed: bool) -> None:
        """The first state of the folder, and an empty home or one that has it all."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        corpus.write(self.folder)
        if indexed:
            shutil.copytree(self.template, self.home)

    def start(self, *words: str, hooks: Path | None = None) -> subprocess.Popen[str]:
        """A command of ours, in a process of its own."""
        environ = {**os.environ, **SETTINGS, "GRISTMILL_HOME": str(self.home)}  # noqa: TID251  passed on
        if hooks is not None:
            environ["PYTHONPATH"] = os.pathsep.join([str(hooks), *filter(None, [environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            [sys.executable, "-m", "gristmill", *words],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ingest(self, hooks: Path | None = None) -> subprocess.Popen[str]:
        return self.start(
            "ingest", str(self.folder), "--dataset", DATASET, "--embedder", "lexical", "--json", hooks=hooks
        )


@dataclass
class Played:
    """What happened in a round."""

    struck: list[str]
    codes: list[int | None]
    changed: bool
    last: str
    errors: str


def play(stage: Stage, one: Round, scratch: Path) -> Played:
    """Play it. Afterwards the folder's documents should all be in the home."""
    stage.clear(indexed=one.kind == "again")
    if one.kind == "again":
        corpus.change(stage.folder)
    hooks = [prepare(scratch / f"hooks{n}", [kill] if kill else []) for n, kill in enumerate((one.first, one.second))]
    worker = stage.start("worker", "--slots", "1", hooks=hooks[0]) if one.kind == "beside" else None
    codes = [_attempt(stage, one, hooks[0])]
    if one.kind == "twice":
        codes.append(_ended(stage.ingest(hooks[1]))[0])
    if one.kind == "changed":
        corpus.change(stage.folder)
    code, last, errors = _ended(stage.ingest())
    codes.append(code)
    if worker is not None:
        worker.send_signal(signal.SIGTERM)
        code, _, said = _ended(worker)
        codes.append(0 if code == -signal.SIGKILL else code)
        errors += said
    kills = struck(hooks[0]) + struck(hooks[1])
    return Played(kills, codes, one.kind in ("changed", "again"), last, errors)


def _attempt(stage: Stage, one: Round, hooks: Path) -> int | None:
    process = stage.ingest(hooks)
    if one.first is None:
        try:
            process.wait(one.moment * stage.seconds)
        except subprocess.TimeoutExpired:
            strike(process.pid, one.victim)
    return _ended(process)[0]


def strike(pid: int, victim: Victim) -> None:
    """Kill the process or one of its children."""
    try:
        chosen = psutil.Process(pid)
        for _ in range(["top", "nursery", "runner"].index(victim)):
            chosen = next(iter(chosen.children()), chosen)
        chosen.kill()
    except psutil.NoSuchProcess:
        return


def _ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the command did not end in {PATIENCE} s; it said:\n{out}\n{err}") from None
    return process.returncode, out, err


def undisturbed(stage: Stage, hooks: Path | None = None) -> float:
    """One ingest without any kill. Returns the seconds it took."""
    began = time.monotonic()
    code, out, err = _ended(stage.ingest(hooks))
    assert code == 1, f"{out}\n{err}"  # broken.pdf
    return time.monotonic() - began
