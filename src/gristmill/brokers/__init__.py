"""Brokers: adapters of ``engine.broker.Broker``, chosen by a URL."""

from __future__ import annotations

from gristmill.base.clock import Clock
from gristmill.base.errors import SettingsError
from gristmill.base.registry import Registry
from gristmill.engine.broker import Broker

BROKERS: Registry[Broker] = Registry(
    group="gristmill.brokers",
    builtin={
        "memory": "gristmill.brokers.memory:MemoryBroker",
        "redis": "gristmill.brokers.redis.broker:RedisBroker",
        "sql": "gristmill.brokers.sql.broker:SqlBroker",
    },
    needs={"redis": "redis"},
)

SCHEMES = {
    "memory": "memory",
    **dict.fromkeys(["sqlite", "postgresql", "mysql", "mariadb"], "sql"),
    **dict.fromkeys(["redis", "rediss", "valkey", "valkeys"], "redis"),
}


def open_broker(url: str, *, clock: Clock | None = None) -> Broker:
    """The broker that a URL names. Open it with ``async with``.

    ``memory://``, ``sqlite:///path/to/file``, ``postgresql://user:password@host/database``, ``mysql://`` and ``mariadb://``
    likewise; ``redis://user:password@host:port/0``, ``rediss://`` with TLS, ``redis+sentinel://host:port,.../master``,
    ``redis+cluster://host:port,...``, all also as ``valkey``. Time is what ``clock`` says; without one it is the server's,
    and the machine's where there is no server.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES and scheme not in BROKERS.names():
        raise SettingsError(f"engine.broker: {scheme!r} is no broker; known: {', '.join(sorted(SCHEMES))}")
    return BROKERS.load(SCHEMES.get(scheme, scheme))(url, clock=clock)  # type: ignore[call-arg]
