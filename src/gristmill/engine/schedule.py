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
from gristmill.engine.cron import parse
from gristmill.engine.message import Message, encode
from gristmill.engine.task import Periodic

log = get_logger(__name__)


MADE_UP = 3_600.0  # seconds: what nobody was there for is made up for so long after its time
KNOWN = 43_200.0  # seconds for which the broker surely still knows a period's task when it has ended


def due(periodic: Periodic, now: float) -> tuple[Message | None, float]:
    """The message of the period that ``now`` is in, and the seconds until the next one.

    None where the period is too old: its task may have ended and been forgotten, or its time by the clock is long over.
    """
    what = digest(encode(msgspec.structs.replace(periodic.message, id="")))[:16]  # the same in every process
    if periodic.cron:
        began, ends = parse(periodic.cron, periodic.timezone).around(now)
        number, rhythm, fresh = f"{began:.0f}", f"{periodic.cron}@{periodic.timezone}", MADE_UP
    else:
        count = int(now // periodic.every)
        began, ends = count * periodic.every, (count + 1) * periodic.every
        number, rhythm, fresh = str(count), f"{periodic.every:g}", KNOWN
    left = ends - now
    if now - began > fresh:
        return None, left
    key = f"{periodic.message.task}:{rhythm}:{what}:{number}"
    return msgspec.structs.replace(periodic.message, id=new_id(), key=key, deadline=left), left


async def schedule(broker: Broker, periodics: Sequence[Periodic], *, clock: Clock | None = None) -> None:
    """Publish what is due, for ever."""
    clock = clock or SystemClock()
    while periodics:
        wait = 5.0
        try:
            now = await broker.now()
            turns = [due(periodic, now) for periodic in periodics]
            messages = [message for message, _ in turns if message is not None]
            if messages:
                await broker.publish(messages)
            wait = min(left for _, left in turns)
        except BrokerUnavailable as exc:
            log.warning("periodic tasks could not be published", error=str(exc))
        await pause.sleep(clock, wait)
