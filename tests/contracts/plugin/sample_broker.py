"""A third party's broker: the memory broker under another name, registered by an entry point."""

from __future__ import annotations

from gristmill.brokers.memory import MemoryBroker


class SampleBroker(MemoryBroker):
    """Opened by ``sample://``."""
