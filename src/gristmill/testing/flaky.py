"""A broker that fails when it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio

from gristmill.base.errors import BrokerUnavailable
from gristmill.engine.broker import Broker
from gristmill.engine.message import Notice


class FlakyBroker:
    """Stands before another broker and passes everything on, but for the calls that are to fail."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._failing: Counter[str] = Counter()
        self._late: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.mute = False  # whether subscribers hear nothing

    @property
    def broker(self) -> Broker:
        """This, as what it stands for."""
        return cast("Broker", self)

    def fail(self, *methods: str, times: int = 1) -> None:
        """The next ``times`` calls of each of these raise BrokerUnavailable, and nothing happens."""
        self._failing.update(dict.fromkeys(methods, times))

    def lose_answers(self, *methods: str, times: int = 1) -> None:
        """The next ``times`` calls of each of these happen, and raise BrokerUnavailable all the same."""
        self._late.update(dict.fromkeys(methods, times))

    def heal(self) -> None:
        """No call fails any more."""
        self._failing.clear()
        self._late.clear()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._broker, name)
        if name == "notices":
            return _silence if self.mute else method

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._take(self._failing, name):
                await anyio.lowlevel.checkpoint()
                raise BrokerUnavailable(f"{name} fails, as told")
            answer = await method(*args, **kwargs)
            if self._take(self._late, name):
                raise BrokerUnavailable(f"the answer of {name} is lost, as told")
            return answer

        return call

    def _take(self, counter: Counter[str], name: str) -> bool:
        if counter[name] <= 0:
            return False
        counter[name] -= 1
        self.failed[name] += 1
        return True


@asynccontextmanager
async def _silence() -> AsyncIterator[AsyncIterator[Notice]]:
    send, receive = anyio.create_memory_object_stream[Notice]()
    with send, receive:
        yield receive
