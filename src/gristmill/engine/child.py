"""A worker's process from its first task to its last, on its own or under a master.

Lines of JSON over the socket that the master left us. To the master: ``{"ready": true, "name": ..}`` once, then every second
the beat, written by the worker's own event loop, so that a loop that hangs is silent; ``{"draining": seconds}`` when it was
told to stop. From it: ``{"gone": [names]}`` (take back what those workers held) and ``{"reopen": true}`` (log files).
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus

from gristmill.base.errors import BrokerUnavailable, EngineError
from gristmill.base.logs import get_logger
from gristmill.engine import stacks, telling
from gristmill.engine.broker import Broker
from gristmill.engine.diagnostics import MemoryTrace
from gristmill.engine.fleet import FD, Exit
from gristmill.engine.hooks import Hooks

log = get_logger(__name__)

BEAT_EVERY = 1.0  # seconds

_MASTERS = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)


class Minded(Protocol):
    """What runs here and a master minds: a worker with its tasks, a server with its requests."""

    name: str
    done: int
    failed: int

    async def run(self, *, task_status: TaskStatus[None] = ...) -> None:
        """Work until drained."""

    def drain(self, *, grace: float = ...) -> None:
        """Take nothing new; what is held has ``grace`` seconds."""

    def held(self) -> list[str]:
        """What it has in hand."""


async def work(
    worker: Minded,
    broker: Broker,
    *,
    grace: float,
    link: MasterLink | None = None,
    trace: MemoryTrace | None = None,
    hooks: Hooks | None = None,
    ready: Callable[[], None] = lambda: None,
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> Exit:
    """Run a worker until it is told to stop, with what else is to go on ``beside`` it. ``ready`` is called when it works.

    SIGTERM and SIGQUIT drain it within ``grace`` seconds; SIGINT, or a second signal, has it hand back at once. SIGUSR1
    writes a snapshot of ``trace``, SIGUSR2 stops that. What is a master's to hear (HUP, TTIN, TTOU) does nothing here.
    """
    async with anyio.create_task_group() as group:
        stacks.serve()
        hooks = hooks or Hooks("")
        hooks.call("post_fork", worker)
        group.start_soon(_hear, worker, grace, hooks, link)
        group.start_soon(_diagnose, trace)
        for one in beside:
            group.start_soon(one)

        async with anyio.create_task_group() as running:
            try:
                await running.start(worker.run)
            except EngineError as exc:
                log.error("the worker cannot start", error=str(exc))  # noqa: TRY400  the reason is enough
                group.cancel_scope.cancel()
                return Exit.BOOT_FAILED
            log.info("working", worker=worker.name)
            ready()
            if link is not None:
                group.start_soon(link.keep, worker, broker, grace)
        if link is not None:
            await link.say(telling.news())
        log.info("stopped", worker=worker.name, done=worker.done, failed=worker.failed)
        group.cancel_scope.cancel()
    return Exit.CLEAN


async def _hear(worker: Minded, grace: float, hooks: Hooks, link: MasterLink | None) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGQUIT, signal.SIGINT) as signals:
        told = 0
        async for number in signals:
            told += 1
            left = 0.0 if told > 1 or number == signal.SIGINT else grace
            if number == signal.SIGINT:
                hooks.call("worker_int", worker)
            log.info("draining: no new work", signal=number.name, grace=left)
            worker.drain(grace=left)
            if link is not None:
                await link.say({"draining": left})


async def _diagnose(trace: MemoryTrace | None) -> None:
    with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2, *_MASTERS) as signals:
        async for number in signals:
            if trace is None or number in _MASTERS:
                continue
            if number == signal.SIGUSR1:
                await to_thread.run_sync(trace.snapshot)
            else:
                trace.stop()


class MasterLink:
    """The worker's end of the line."""

    def __init__(self, fd: int, *, reopen: Callable[[], None]) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._reopen = reopen
        self._buffer = b""
        self._whole = anyio.Lock()  # one line after the other

    @classmethod
    def from_environment(cls, *, reopen: Callable[[], None]) -> MasterLink | None:
        """The link, where a master has started us. Our own children are not to find it."""
        fd = os.environ.pop(FD, "")  # noqa: TID251  the master's word, for this process alone
        if not fd.isdigit():
            return None
        os.set_inheritable(int(fd), False)
        faulthandler.enable()  # the master's SIGABRT is to leave our stacks in the log
        return cls(int(fd), reopen=reopen)

    async def keep(self, worker: Minded, broker: Broker, grace: float) -> None:
        """Beat and listen for as long as the worker works; drain it within ``grace`` when the master is gone."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._beat, worker)
            await self._listen(broker)
            log.warning("the master is gone: draining")
            worker.drain(grace=grace)
            group.cancel_scope.cancel()

    async def _beat(self, worker: Minded) -> None:
        await self.say({"ready": True, "name": worker.name, **telling.first_words()})
        while True:
            held = worker.held()
            beat = {
                "running": len(held),
                "held": held[:200],
                "done": worker.done,
                "failed": worker.failed,
                "rss": rss(),
                **telling.news(),
            }
            await self.say(beat)
            await anyio.sleep(BEAT_EVERY)

    async def say(self, line: dict[str, object]) -> None:
        """Tell the master, if it still listens."""
        raw = json.dumps(line).encode() + b"\n"
        with suppress(OSError):
            async with self._whole:
                while raw:
                    try:
                        raw = raw[self._socket.send(raw) :]
                    except BlockingIOError:
                        await anyio.wait_writable(self._socket)

    async def _listen(self, broker: Broker) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            except OSError:
                return
            if not data:
                return
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                await self._do(json.loads(line), broker)

    async def _do(self, told: dict[str, object], broker: Broker) -> None:
        if told.get("reopen"):
            self._reopen()
        if told.get("depths"):
            await self.say(await telling.depths(broker))
        gone = told.get("gone")
        if isinstance(gone, list):
            try:
                back = await broker.reclaim(gone=gone)
            except BrokerUnavailable as exc:
                log.warning("a dead worker's tasks cannot be taken back yet", error=str(exc))
                return
            log.info("took back what dead workers held", workers=gone, tasks=[record.id for record in back])
            await self.say({"taken_back": gone})


def rss() -> int:
    """Resident bytes of this process (0 where the system does not tell)."""
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
