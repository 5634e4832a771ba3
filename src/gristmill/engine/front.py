"""The process that answers requests, beside the workers: one, on a socket that the master holds.

The socket outlives who answers on it: while one server follows another, and when one has died, nobody is turned away.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from gristmill.engine.fleet import KILL_AFTER, LISTEN_FD, SETTLED, Child, Exit, Plan, Starts, say

BACKLOG = 512  # connections that wait until the server takes them


class Front:
    """Keeps one server running until it is told to stop; nothing, where the plan has none."""

    def __init__(self, plan: Plan, selector: selectors.BaseSelector) -> None:
        self.children: list[Child] = []
        self._plan = _of(plan)
        self._selector = selector
        self._listener: socket.socket | None = None
        self._old: Child | None = None  # to be replaced
        self._booted = False
        self._starts = Starts()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hold the socket within this block. Raises OSError, which names the address, where that cannot be had."""
        if self._plan.server:
            self._listener = listening(self._plan.listen)
        try:
            yield
        finally:
            self._close()

    @property
    def ready(self) -> bool:
        """Whether requests are answered, or nobody is to answer any."""
        return not self._plan.server or any(one.ready and not one.retiring and not one.suspect for one in self.children)

    def status(self) -> list[dict[str, Any]]:
        """What the probes tell of it."""
        return [child.status() for child in self.children]

    def keep(self) -> None:
        """Start it where it is missing; first its successor, then, when that is ready, the one before is let go."""
        active = [child for child in self.children if not child.retiring]
        old = self._old = self._old if self._old in active else None
        wanted = 1 + (old is not None and len(active) == len(self.children))
        if self._listener is not None and len(active) < wanted and self._starts.due:
            active.append(self._start(self._listener))
        if old is not None and any(one.ready for one in active if one is not old):
            old.stop(signal.SIGTERM, within=self._plan.grace + KILL_AFTER)

    def look(self, now: float) -> None:
        """Deadlines and silence."""
        for child in self.children:
            if child.keep_deadlines(now):
                child.abort(now)

    def replace(self, plan: Plan) -> None:
        """Have a new one by this plan; but where it answers stays as it is."""
        if plan.listen != self._plan.listen:
            say("another address to listen on is taken only by a new start", level="warning", listen=plan.listen)
        self._plan = replace(_of(plan), listen=self._plan.listen)
        self._old = next((child for child in self.children if not child.retiring), None)
        self._starts.hurry()

    def stop(self, number: int, within: float) -> None:
        """Let nobody in any more, and have it end."""
        self._close()
        for child in self.children:
            child.stop(number, within=within)

    def ended(self, child: Child, status: int) -> bool:
        """It is gone. True where none could ever start."""
        child.ended(status)
        self._hear(child)
        self.children.remove(child)
        lived = time.monotonic() - child.born
        say(
            "a server has ended" if child.as_told else "a server died",
            level="info" if child.as_told else "error",
            server_pid=child.pid, how=child.how, seconds=round(lived, 1), held=child.held,
        )  # fmt: skip
        if child.as_told or self._listener is None:
            return False
        if not child.ready and self._old is not None:
            say("the new server did not start: the old one stays", level="error")
            self._old = None
        if not child.ready or lived < SETTLED:
            self._starts.failed()
        return not child.ready and not self._booted and child.code == Exit.BOOT_FAILED

    def _start(self, listener: socket.socket) -> Child:
        child = Child(self._plan, jitter=0.0, kind="server")
        child.start({LISTEN_FD: listener.fileno()})
        self.children.append(child)
        child.watch(self._selector, partial(self._hear, child))
        say("a server starts", server_pid=child.pid)
        return child

    def _hear(self, child: Child) -> None:
        for told in child.hear():
            if told.get("ready") and not child.ready:
                child.ready = self._booted = True
                self._starts.succeeded()
                say("a server is ready", server_pid=child.pid, listen=self._plan.listen)
            if "draining" in told and not child.retiring:
                child.retire(within=told["draining"] + KILL_AFTER)

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _of(plan: Plan) -> Plan:
    """The same for its server: nothing that wears out workers counts there."""
    return replace(plan, argv=plan.server, max_tasks=None, max_age=None, max_rss=None)


def given_listener() -> socket.socket | None:
    """In a server's process: the socket that its master has given it. Our own children are not to find it."""
    fd = os.environ.pop(LISTEN_FD, "")  # noqa: TID251  the master's word, for this process alone
    if not fd.isdigit():
        return None
    os.set_inheritable(int(fd), False)
    return socket.socket(fileno=int(fd))


def listening(address: str) -> socket.socket:
    """A socket that listens on ``host:port``. Raises OSError, which names the address, where that cannot be had."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
        made.listen(BACKLOG)
    except OSError as exc:
        made.close()
        raise OSError(
            exc.errno, f"nothing can listen on {address} (--listen, ragflow.http_port): {exc.strerror}"
        ) from exc
    return made
