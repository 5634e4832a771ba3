"""A worker's signs of life: for eyes and dashboards only, nothing that must be right depends on them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gristmill.base.clock import Clock
from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.engine import pause
from gristmill.engine.broker import Broker
from gristmill.engine.message import Current, Heartbeat, Lease

log = get_logger(__name__)

EVERY = 30.0  # seconds between signs of life of a worker that has nothing new to say
NEWS_EVERY = 5.0  # seconds between those of one that has
BEATS = 4  # signs of life within the time after which a silent worker is forgotten, at least


class Work(msgspec.Struct, frozen=True):
    """What a worker has done so far, and the leases of what it runs now."""

    done: int
    failed: int
    running: Mapping[str, Lease]


class Pulse:
    """Beats for one worker: at once, soon after its work has changed, and every ``EVERY`` seconds if it has not.

    The broker is asked for its clock and its depths at the latter only, so an idle worker costs a few commands a minute.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        queues: Sequence[str],
        look: Callable[[], Work],
        *,
        timeout: float,
        clock: Clock,
    ) -> None:
        self._broker, self._clock = broker, clock
        self._name, self._queues = name, list(queues)
        self._look = look
        self._timeout = timeout
        self._every = min(EVERY, timeout / BEATS)
        self._born = clock.monotonic()
        self._ip = address()
        self._lag = self._pending = 0
        self._ahead = clock.now() - clock.monotonic()  # of our monotonic clock, the broker's; until it is asked, ours

    async def run(self) -> None:
        """Beat for ever."""
        full, said = 0.0, None
        while True:
            now = self._clock.monotonic()
            work = self._look()
            news = (work.done, work.failed, *sorted(work.running))
            try:
                if said is None or now - full >= self._every:
                    await self._ask()
                    said, full = None, now
                if said != news:
                    await self._broker.beat(self._heartbeat(work), timeout=self._timeout)
                    said = news
            except BrokerUnavailable as exc:
                said = None
                log.debug("no sign of life could be given", error=str(exc))
            await pause.sleep(self._clock, min(NEWS_EVERY, self._every))

    async def leave(self) -> None:
        """The last word: the worker is no longer there, and nobody has to wait until that is noticed."""
        try:
            await self._broker.beat(self._heartbeat(self._look()), timeout=0.0)
        except BrokerUnavailable as exc:
            log.debug("the broker could not be told that this worker leaves", error=str(exc))

    async def _ask(self) -> None:
        self._ahead = await self._broker.now() - self._clock.monotonic()
        mine = [depth for depth in await self._broker.depth() if depth.queue in self._queues]
        self._lag = sum(depth.queued for depth in mine)
        self._pending = sum(depth.running for depth in mine)

    def _heartbeat(self, work: Work) -> Heartbeat:
        return Heartbeat(
            name=self._name,
            now=self._ahead + self._clock.monotonic(),
            boot_at=self._ahead + self._born,
            pending=self._pending,
            lag=self._lag,
            done=work.done,
            failed=work.failed,
            current={lease.id: _current(lease) for lease in work.running.values()},
            ip=self._ip,
            pid=os.getpid(),
            queues=self._queues,
        )


def _current(lease: Lease) -> Current:
    message = lease.message
    return Current(message.task, message.key or "", message.queue, message.lane, message.priority, lease.attempt)


def to_json(heartbeat: Heartbeat) -> bytes:
    """The heartbeat as the source writes it: its keys, times as ISO 8601 with milliseconds, ``current`` by task id.

    Beside ``ip_address`` there is ``ip``, and ``queues``, which the source does not have.
    """
    plain: dict[str, Any] = {
        "ip_address": heartbeat.ip,
        "pid": heartbeat.pid,
        "name": heartbeat.name,
        "now": _iso(heartbeat.now),
        "boot_at": _iso(heartbeat.boot_at),
        "pending": heartbeat.pending,
        "lag": heartbeat.lag,
        "done": heartbeat.done,
        "failed": heartbeat.failed,
        "current": {task_id: {"id": task_id, **msgspec.to_builtins(one)} for task_id, one in heartbeat.current.items()},
        "ip": heartbeat.ip,
        "queues": heartbeat.queues,
    }
    return msgspec.json.encode(plain)


def from_json(raw: bytes) -> Heartbeat:
    """The heartbeat from what ``to_json`` gave, or the source's own executor: what it leaves out is empty."""
    plain: dict[str, Any] = msgspec.json.decode(raw)
    times = {name: datetime.fromisoformat(plain[name]).timestamp() for name in ("now", "boot_at")}
    current = {
        task_id: one if "task" in one else {**one, "task": one.get("task_type", "")}
        for task_id, one in plain.get("current", {}).items()
    }
    fields = {"pid": 0, "ip": plain.get("ip_address", ""), **plain, **times, "current": current}
    return msgspec.convert(fields, Heartbeat)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def address() -> str:
    """The address of this host that others are likely to reach it by. Sends nothing."""
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((somewhere, 9))  # only chooses the way there
                host: str = probe.getsockname()[0]
                return host
        except OSError:
            continue
    return "127.0.0.1"
