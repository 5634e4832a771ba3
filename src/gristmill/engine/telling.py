"""What a worker tells its master for the metrics: plain data, small, and only what is new."""

from __future__ import annotations

from typing import Any

from gristmill.base import meters
from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.engine.broker import Broker

log = get_logger(__name__)

MOST_QUEUES = 200


def first_words() -> dict[str, Any]:
    """What the metrics are that this process counts: told once, before the first count."""
    return {"heads": meters.heads(), "bounds": list(meters.BUCKETS)}


def news() -> dict[str, Any]:
    """What was counted since the last call; empty where nothing was."""
    changes = meters.changes()
    return {"meters": changes} if changes else {}


async def depths(broker: Broker) -> dict[str, Any]:
    """How long the queues are; nothing while the broker does not answer: then the master's figures grow old."""
    try:
        found = await broker.depth()
    except BrokerUnavailable as exc:
        log.debug("the broker cannot be asked how long the queues are", error=str(exc))
        return {}
    rows = [[one.queue, one.queued, one.delayed, one.running, round(one.oldest, 3)] for one in found[:MOST_QUEUES]]
    return {"depths": rows}
