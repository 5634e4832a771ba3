"""What the server is asked once, to warn of what will hurt later."""

from __future__ import annotations

from gristmill.base.errors import EngineError, SettingsError
from gristmill.base.logs import get_logger
from gristmill.brokers.redis.link import Link

log = get_logger(__name__)

_SAFE = (
    "noeviction",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)  # only what has a time to live


async def greet(link: Link) -> None:
    """Log what is wrong with the server, as far as we may ask."""
    where = link.target.where
    try:
        known = await link.command("EVAL", "return redis.REDIS_VERSION_NUM or 0", "0")
        text = bytes(await link.command("INFO", "memory")).decode()
    except (EngineError, SettingsError) as exc:
        log.debug("the server cannot be asked about itself", where=where, error=str(exc))
        return
    if not known:
        log.warning(
            "this server is older than Redis 7: all works, but it gets no more fixes, and one that is full or has become "
            "a replica says so less clearly",
            where=where,
        )
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy not in _SAFE and info.get("maxmemory", "0") != "0":
        log.warning(
            "this server throws tasks away when it is full: set maxmemory-policy to noeviction",
            where=where,
            maxmemory_policy=policy,
        )
