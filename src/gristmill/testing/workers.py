"""Workers in tests: one in the test's own process, or one in a process of its own that can be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Self, cast

import anyio

from gristmill.base.logs import setup_logs
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.child import MasterLink, work
from gristmill.engine.client import Client
from gristmill.engine.diagnostics import MemoryTrace
from gristmill.engine.hooks import Hooks
from gristmill.engine.message import Message, TaskRecord
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.engine.worker import Worker

BODIES = "gristmill.testing.bodies:app"


@asynccontextmanager
async def working(broker: Broker, app: str | App = BODIES, **options: Any) -> AsyncIterator[Worker]:
    """A worker that works within this block; at its end it hands back what still runs. ``options`` are Worker's own."""
    worker = Worker(broker, app, **options)
    async with anyio.create_task_group() as group:
        await group.start(worker.run)
        yield worker
        worker.drain(grace=0.0)


async def ends(broker: Broker, messages: Sequence[Message], *, timeout: float = 60.0) -> list[TaskRecord]:
    """How these tasks ended, once all have. Raises ResultTimeout."""
    client = Client(broker)
    return [await client.wait(message.id, timeout=timeout) for message in messages]


async def run(broker: Broker, message: Message, *, timeout: float = 60.0) -> TaskRecord:
    """Publish a task and wait for its end. Raises ResultTimeout."""
    await broker.publish([message])
    return (await ends(broker, [message], timeout=timeout))[0]


async def said(broker: Broker, message: Message, text: str = "waiting", *, timeout: float = 60.0) -> TaskRecord:
    """The task's record when its latest words are ``text`` (with "" any words). Raises TimeoutError."""

    def says(record: TaskRecord) -> bool:
        return record.progress_message == text if text else bool(record.progress_message)

    return await _when(broker, message, says, timeout)


async def again(broker: Broker, message: Message, *, attempt: int = 2, timeout: float = 60.0) -> TaskRecord:
    """The task's record when it runs in that attempt. Raises TimeoutError."""
    return await _when(
        broker, message, lambda record: record.state is TaskState.RUNNING and record.attempt == attempt, timeout
    )


async def failed(broker: Broker, message: Message, *, timeout: float = 60.0) -> TaskRecord:
    """The task's record when an attempt at it has failed. Raises TimeoutError."""
    return await _when(broker, message, lambda record: bool(record.history), timeout)


async def reached(broker: Broker, message: Message, state: TaskState, *, timeout: float = 60.0) -> TaskRecord:
    """The task's record when it is in ``state``. Raises TimeoutError."""
    return await _when(broker, message, lambda record: record.state is state, timeout)


async def _when(broker: Broker, message: Message, right: Callable[[TaskRecord], bool], timeout: float) -> TaskRecord:
    with anyio.fail_after(timeout):
        async with aclosing(cast("AsyncGenerator[TaskRecord]", Client(broker).watch(message.id))) as records:
            async for record in records:
                if right(record):
                    return record
    raise AssertionError(f"the task ended another way: {record}")


class WorkerProcess:
    """A worker in a process of its own. Kill it, or end it with the block."""

    def __init__(self, url: str, *, app: str = BODIES, lease: float = 30.0, slots: int = 1) -> None:
        words = [url, app, str(lease), str(slots), "30", "", ""]
        self._command = [sys.executable, "-m", "gristmill.testing.workers", *words]

    async def __aenter__(self) -> Self:
        """Start it; returns when it works."""
        self.process = _start(self._command)
        line = await anyio.to_thread.run_sync(self._first_line)
        if line != b"ready\n":
            raise RuntimeError("the worker did not start")
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.kill)

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    async def drain(self) -> int:
        """SIGTERM; returns its exit code when it is gone."""
        self.process.send_signal(signal.SIGTERM)
        return await anyio.to_thread.run_sync(self.process.wait)

    def _first_line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)  # noqa: S603  our own module


async def _main(*words: str) -> int:
    url, app, lease, slots, grace, traces, hooks = words
    link = MasterLink.from_environment(reopen=lambda: None)
    setup_logs("warning" if link is None else "info", format="json")
    trace = MemoryTrace(Path(traces)) if traces else None
    async with open_broker(url) as broker:
        worker = Worker(broker, app, lease=float(lease), slots=int(slots))
        return await work(
            worker, broker, grace=float(grace), link=link, trace=trace, hooks=Hooks(hooks), ready=_say_ready
        )


async def _take_back(*words: str) -> None:
    """What a master has done for the tasks of workers that died, when there is no other worker."""
    async with open_broker(words[0]) as broker:
        await broker.reclaim(gone=words[1:])


def _say_ready() -> None:
    print("ready", flush=True)  # noqa: T201  the one who started it waits for this


if __name__ == "__main__":
    if sys.argv[1] == "take-back":
        anyio.run(_take_back, *sys.argv[2:])
    else:
        sys.exit(anyio.run(_main, *sys.argv[1:]))
