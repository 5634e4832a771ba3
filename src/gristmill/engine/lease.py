"""Keeping what a worker holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.engine.broker import Broker
from gristmill.engine.message import Lease

log = get_logger(__name__)

LEASE = 10.0  # seconds: with the look for expired ones, what a dead worker held runs again within 15
PARTS = 3  # how many times a lease is renewed before it ends
AGAIN = 10  # the same, while the broker does not answer


async def renew(
    broker: Broker,
    held: Mapping[str, Lease],
    *,
    lease: float,
    running: Callable[[], list[str]],
    stop: Callable[[str, str], None],
) -> None:
    """Renew for ever what is held, all together. What is lost is stopped; and what was cancelled without our hearing of it.

    While nothing is held the broker is asked nothing.
    """
    pause = lease / PARTS
    while True:
        await anyio.sleep(pause)
        pause = lease / PARTS
        leases = list(held.values())
        if not leases:
            continue
        try:
            for one in await broker.extend(leases, lease=lease):
                if held.get(one.id) is one:
                    stop(one.id, "lost")
            with anyio.move_on_after(pause):  # however slow this answer is, it costs no lease
                for record in await broker.describe(running()):
                    if record is not None and record.cancel_requested:
                        stop(record.id, "cancel")
        except BrokerUnavailable as exc:
            log.warning("leases could not be renewed", error=str(exc), leases=len(leases))
            pause = lease / AGAIN
