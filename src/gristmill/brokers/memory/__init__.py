"""A broker inside one process."""

from gristmill.brokers.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
