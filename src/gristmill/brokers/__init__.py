"""Brokers: adapters of ``engine.broker.Broker``, chosen by a URL."""

from __future__ import annotations

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import SettingsError
from gristmill.base.registry import Registry
from gristmill.engine.broker import Broker

BROKERS: Registry[Broker] = Registry(
    group="gristmill.brokers",
    builtin={
        "memory": "gristmill.brokers.memory:MemoryBroker",
        "sql": "gristmill.brokers.sql.broker:SqlBroker",
    },
)

SCHEMES = {"memory": "memory", "sqlite": "sql"}


def open_broker(url: str, *, clock: Clock | None = None) -> Broker:
    """The broker that a URL names: ``memory://`` or ``sqlite:///path/to/file``. Open it with ``async with``."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES and scheme not in BROKERS.names():
        raise SettingsError(f"engine.broker: {scheme!r} is no broker; known: {', '.join(sorted(SCHEMES))}")
    return BROKERS.load(SCHEMES.get(scheme, scheme))(url, clock=clock or SystemClock())  # type: ignore[call-arg]
