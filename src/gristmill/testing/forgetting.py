"""Brokers that lose their whole memory while others work with them, as a Valkey without persistence does at a restart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from gristmill.base import sqlite
from gristmill.brokers.memory import MemoryBroker

_SCHEMA = ("broker_revision", "turnstile", "receipt")  # tables that say what the others are, or how to write to them
_KEPT = ("_clock", "_wake", "_watchers", "_capped")  # who waits or watches does so still


def forget(broker: MemoryBroker) -> None:
    """The broker knows nothing any more, from now on."""
    fresh = vars(MemoryBroker(clock=broker._clock))
    vars(broker).update({name: value for name, value in fresh.items() if name not in _KEPT})
    broker._wake_up()


def forget_rows(url: str) -> None:
    """The same for a broker on SQLite: all that its tables hold is gone, in one transaction."""
    with closing(sqlite.connect(Path(url.removeprefix("sqlite:///")))) as raw, sqlite.writing(raw) as connection:
        guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in guards:  # they would not let unfinished tasks go
            connection.execute(f'DROP TRIGGER "{name}"')
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in tables:
            if name not in _SCHEMA and not name.startswith("sqlite_"):
                connection.execute(f'DELETE FROM "{name}"')  # noqa: S608  our own names
        for _, made in guards:
            connection.execute(made)
