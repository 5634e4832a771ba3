"""Commands as processes of their own, and a model that can be held up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gristmill.testing.endpoints import Reply
from gristmill.testing.fakes import FakeOpenAI, SeenRequest

PATIENCE = 90.0  # seconds; only a failing test waits so long
HELD = "HOLD"


class Gate(FakeOpenAI):
    """Answers at once, but texts with HELD only when it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.asked = threading.Semaphore(0)  # released for each request that waits

    def reply(self, request: SeenRequest) -> Reply:
        if any(HELD in text for text in request.texts) and not self.open.is_set():
            self.asked.release()
            self.open.wait(PATIENCE)
        return super().reply(request)

    def texts(self) -> list[str]:
        """Every text that was embedded, as often as it was."""
        return [text for request in self.seen for text in request.texts]


@dataclass
class Commands:
    """Starts commands with one home."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str | Path, stdout: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "gristmill", "--home", str(self.home), *map(str, words)],
            env=os.environ | {"NO_PROXY": "127.0.0.1", "GRISTMILL_STORES__DURABLE": "false"} | self.environ,  # noqa: TID251  passed on
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def json(self, *words: str | Path) -> Any:
        _, out, err = self.run(*words, "--json")
        assert out, err
        return json.loads(out)

    def end(self) -> None:
        """Nothing that was started outlives the test."""
        for process in self.started:
            process.kill()
            process.communicate()


def line_with(stream: IO[str] | None, wanted: Callable[[str], bool]) -> str:
    """The next line of which this is true."""
    assert stream is not None
    seen = []
    for line in stream:
        if wanted(line):
            return line
        seen.append(line)
    raise AssertionError(f"it ended before: {seen}")
