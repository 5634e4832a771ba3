"""The connection that listens: wake-ups and notices, subscribed anew whenever it had to be rebuilt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import anyio

from gristmill.base.errors import BrokerUnavailable, SettingsError
from gristmill.base.logs import get_logger
from gristmill.brokers.redis.connection import Connection, Lost, packed
from gristmill.brokers.redis.link import FIRST_PAUSE, LONGEST_PAUSE, PROBE
from gristmill.brokers.redis.places import Places
from gristmill.brokers.redis.url import Target

log = get_logger(__name__)


class Ear:
    """Hears the channels that somebody asked for; connects when the first one is. ``heard(channel, payload)`` gets it all.

    ``deaf`` is called whenever something may have been missed.
    """

    def __init__(
        self, target: Target, name: str, heard: Callable[[str, bytes], None], deaf: Callable[[], None]
    ) -> None:
        self._target = target
        self._places = Places(target)
        self._name = name
        self._tell, self._deaf = heard, deaf
        self._rng = Random()  # noqa: S311  jitter, no secret
        self._wanted: set[str] = set()
        self._confirmed: Counter[str] = Counter()  # how often the server has confirmed a channel
        self._on: set[str] = set()  # what the server has confirmed on this connection
        self._connection: Connection | None = None
        self._change = anyio.Event()
        self._why = "not connected yet"
        self._refused = ""  # what the server said when it did not let us listen

    async def run(self) -> None:
        """Listen, for ever."""
        pause = FIRST_PAUSE
        while True:
            while not self._wanted:
                await self._change.wait()
            try:
                async with self._places.open(name=f"{self._name}-ear", push=self._push) as connection:
                    self._connection = connection
                    pause = FIRST_PAUSE
                    if self._wanted:
                        connection.send(packed("SUBSCRIBE", *self._wanted))
                    await self._probe(connection)
            except Lost as exc:
                self._why = str(exc)
            finally:
                self._connection = None
                self._on.clear()
            log.info("the broker's notices are cut off", where=self._target.where, reason=self._why, again_after=pause)
            await anyio.sleep(pause * self._rng.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)

    def hears(self, channel: str) -> bool:
        """Whether nothing of it is missed now."""
        return channel in self._on

    async def hear(self, *channels: str, anew: bool = False) -> None:
        """Return once these are subscribed. Raises BrokerUnavailable.

        ``anew``: and what was said on them before has been heard, for the server confirms in order.
        """
        before = {channel: self._confirmed[channel] for channel in channels} if anew else {}

        def subscribed() -> bool:
            return self._on.issuperset(channels) and all(self._confirmed[one] > n for one, n in before.items())

        new = [channel for channel in channels if anew or channel not in self._wanted]
        self._wanted.update(new)
        if new and self._connection is not None:
            self._connection.send(packed("SUBSCRIBE", *new))
        elif new:
            self._changed()
        with anyio.move_on_after(self._target.patience):
            while not subscribed():
                await self._change.wait()
                if self._refused:
                    break
        if self._refused:
            self._wanted.difference_update(channels)
            refused, self._refused = self._refused, ""
            raise SettingsError(f"engine.broker: at {self._target.where} we may not listen to {channels}: {refused}")
        if not subscribed():
            raise BrokerUnavailable(f"the broker at {self._target.where} gives no notices: {self._why}")

    def forget(self, channel: str) -> None:
        """Hear it no more."""
        self._wanted.discard(channel)
        self._on.discard(channel)
        if self._connection is not None:
            self._connection.send(packed("UNSUBSCRIBE", channel))

    async def _probe(self, connection: Connection) -> None:
        while True:
            with anyio.move_on_after(PROBE):
                await connection.over.wait()
                raise Lost(connection.reason)
            if (silent := anyio.current_time() - connection.heard) >= PROBE / 2:
                if silent >= 2 * PROBE:
                    connection.close(f"silent for {silent:.0f} s")
                else:
                    connection.send(packed("PING"))

    def _push(self, said: Any) -> None:
        if not isinstance(said, list):
            self._refused = str(said)
            self._changed()
            return
        kind, *rest = said
        if kind == b"message":
            self._tell(rest[0].decode(), rest[1])
        elif kind == b"subscribe":
            channel = rest[0].decode()
            if channel in self._wanted:
                self._confirmed[channel] += 1
                if channel not in self._on:
                    self._on.add(channel)
                    self._deaf()
                self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = anyio.Event()
