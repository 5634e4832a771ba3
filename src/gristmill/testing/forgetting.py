"""Brokers that lose their whole memory while others work with them, as a Valkey without persistence does at a restart."""

from __future__ import annotations

import sqlalchemy as sa

from gristmill.brokers.memory import MemoryBroker
from gristmill.brokers.sql import tables

_KEPT = ("_clock", "_wake", "_watchers", "_capped")  # who waits or watches does so still


def forget(broker: MemoryBroker) -> None:
    """The broker knows nothing any more, from now on."""
    fresh = vars(MemoryBroker(clock=broker._clock))
    vars(broker).update({name: value for name, value in fresh.items() if name not in _KEPT})
    broker._wake_up()


def forget_rows(url: str) -> None:
    """The same for a SQL broker: all that its tables hold is gone, in one transaction."""
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(table.delete())
    finally:
        engine.dispose()
