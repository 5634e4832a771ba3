"""Periodic tasks: in every period each is published once, by whichever worker comes first."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import BrokerUnavailable
from gristmill.base.ids import digest, new_id
from gristmill.base.logs import get_logger
from gristmill.engine import pause
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, encode
from gristmill.engine.task import Periodic

log = get_logger(__name__)


def due(periodic: Periodic, now: float) -> tuple[Message, float]:
    """The message of the period that ``now`` is in, and the seconds until the next one."""
    number = int(now // periodic.every)
    what = digest(encode(msgspec.structs.replace(periodic.message, id="")))[:16]  # the same in every process
    key = f"{periodic.message.task}:{periodic.every:g}:{what}:{number}"
    left = (number + 1) * periodic.every - now
    return msgspec.structs.replace(periodic.message, id=new_id(), key=key, deadline=left), left


async def schedule(broker: Broker, periodics: Sequence[Periodic], *, clock: Clock | None = None) -> None:
    """Publish what is due, for ever."""
    clock = clock or SystemClock()
    while periodics:
        wait = 5.0
        try:
            now = await broker.now()
            turns = [due(periodic, now) for periodic in periodics]
            await broker.publish([message for message, _ in turns])
            wait = min(left for _, left in turns)
        except BrokerUnavailable as exc:
            log.warning("periodic tasks could not be published", error=str(exc))
        await pause.sleep(clock, wait)
