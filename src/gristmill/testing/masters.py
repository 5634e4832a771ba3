"""A master with real workers in processes of their own, to be signalled and watched."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from gristmill.engine.fleet import Plan
from gristmill.testing.processes import alive
from gristmill.testing.workers import BODIES

WORDS = re.compile(r'(?<=.)(?=\{"(?:event|logger)": )')  # a line of JSON may come in the midst of a crash's stacks
PATIENCE = 60.0  # seconds until a test gives up on something that should have happened


class Master:
    """Runs within a block; what is left at its end is killed. ``log`` has every line that master and workers wrote."""

    def __init__(
        self,
        url: str,
        *,
        app: str = BODIES,
        lease: float = 30.0,
        slots: int = 2,
        grace: float = 30.0,
        traces: str = "",
        hooks: str = "",
        first: bool = False,
        **plan: Any,
    ) -> None:
        """``hooks``: of the workers. ``first``: the master is the first process of a namespace of its own, as in a container
        (needs root)."""
        words = [url, app, str(lease), str(slots), str(grace), traces, hooks]
        worker = [sys.executable, "-m", "gristmill.testing.workers", *words]
        take_back = [sys.executable, "-m", "gristmill.testing.workers", "take-back", url]
        self.plan = Plan(**{"argv": worker, "take_back": take_back, "grace": grace, "log_json": True, **plan})
        self.log: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._first = first

    def __enter__(self) -> Self:
        outer = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if self._first else []
        self.process = subprocess.Popen(  # noqa: S603  our own module
            [*outer, sys.executable, "-m", "gristmill.engine.supervisor", self.plan.dump()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        for pid in () if self._first else self.started():
            if alive(pid) and os.getsid(pid) == pid:  # ours: each has a session of its own
                os.kill(pid, signal.SIGKILL)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def workers(self) -> list[int]:
        """The process ids of the workers that there are now."""
        return _children(self.process.pid)

    def started(self) -> list[int]:
        """The process ids of all workers that were ever started, by the master's word."""
        return [line["worker_pid"] for line in self.log if line["event"] == "a worker starts"]

    def signal(self, number: int) -> None:
        os.kill(_children(self.process.pid)[0] if self._first else self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code, once it is gone."""
        return self.process.wait(seconds)

    def said(self, event: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The ``count``-th line with this event and these fields, once it is there. Raises TimeoutError."""

        def found() -> dict[str, Any] | None:
            lines = [line for line in self.log if line["event"] == event and fields.items() <= line.items()]
            return lines[count - 1] if len(lines) >= count else None

        with self._more:
            if not self._more.wait_for(lambda: found() is not None, PATIENCE):
                raise TimeoutError(f"nobody said {event!r} {fields} {count} times; said was: {self.told()}")
            line = found()
        assert line is not None
        return line

    def told(self) -> list[str]:
        """The events of the log."""
        return [line["event"] for line in self.log]

    def ready(self) -> Self:
        """Returns when all workers work."""
        self.said("a worker is ready", self.plan.workers)
        return self

    def probe(self, path: str) -> tuple[int, str]:
        """What the probes answer."""
        try:
            with urllib.request.urlopen(f"http://{self.plan.health}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self.log.extend(map(_parsed, WORDS.split(line.rstrip("\n"))))
                self._more.notify_all()


def _children(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in found.split()]


def _parsed(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"event": line}
    return found if "event" in found else {"event": line}
