"""Taking back what silent workers hold, and forgetting what ended long ago: on a timer, whatever the traffic."""

from __future__ import annotations

from gristmill.base import meters
from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.engine import pause
from gristmill.engine.broker import Broker
from gristmill.engine.message import TaskRecord
from gristmill.engine.state import TaskState

log = get_logger(__name__)

PURGE_EVERY = 600.0  # seconds


async def reap(broker: Broker, *, every: float, keep: float, clock: Clock | None = None) -> None:
    """Reclaim every ``every`` seconds; records of succeeded and cancelled tasks go after ``keep`` seconds.

    Failed and dead ones stay: they wait for somebody who looks at them.
    """
    clock = clock or SystemClock()
    purged = 0.0
    while True:
        try:
            for record in await broker.reclaim():
                count_expired(record)
                log.warning("lease expired", task=record.message.task, id=record.id, state=str(record.state))
            now = await broker.now()
            if now - purged > PURGE_EVERY:
                purged = now
                await broker.purge(states=[TaskState.SUCCEEDED, TaskState.CANCELLED], older_than=keep)
        except BrokerUnavailable as exc:
            log.warning("cannot look for expired leases", error=str(exc))
        await pause.sleep(clock, every)


def count_expired(record: TaskRecord) -> None:
    """A task was taken back from a worker that is gone or silent."""
    meters.count("leases_expired", task=record.message.task)
    if record.state is TaskState.DEAD:
        meters.count("dead_letters", task=record.message.task)
