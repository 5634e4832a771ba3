"""Ways to the broker on which things go wrong: one for each worker, and one for those who submit and cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, cast

import anyio
from anyio import lowlevel

from gristmill.base.errors import BrokerUnavailable
from gristmill.brokers.memory import MemoryBroker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Lease, Notice, Release
from sim.calls import Call
from sim.oracle import Oracle
from sim.plan import Fault, Plan


class Hub:
    """The broker itself, and what watches it. It may forget everything; then all connections break."""

    def __init__(self, make: Any, oracle: Oracle) -> None:
        self._make = make
        self._links: list[anyio.CancelScope] = []
        self.oracle = oracle
        self.broker: MemoryBroker = make()
        oracle.watch(self.broker)

    def forget(self) -> None:
        self.broker = self._make()
        self.oracle.watch(self.broker)
        for link in self._links:
            link.cancel()

    async def call(self, who: str, name: str, *args: Any, **fields: Any) -> Any:
        broker, seen = self.broker, Call(self.oracle, who, name, args, fields)
        with anyio.CancelScope() as link:
            self._links.append(link)
            try:
                answer = await getattr(broker, name)(*args, **fields)
                seen.answered(answer)
                return answer
            finally:
                seen.over()
                self._links.remove(link)
        raise BrokerUnavailable("the broker has been started again")

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        with anyio.CancelScope() as link:
            self._links.append(link)
            try:
                async with self.broker.notices() as notices:
                    yield notices
            finally:
                self._links.remove(link)
        if link.cancelled_caught:
            raise BrokerUnavailable("the broker has been started again")


class Line:
    """What one client has for a broker."""

    def __init__(self, hub: Hub, plan: Plan, number: int, name: str) -> None:
        self.name, self.number = name, number
        self.dead = False
        self._hub, self._plan = hub, plan
        self._rng = Random(f"{plan.seed} {name}")
        self._faults = [fault for fault in plan.faults if fault.line == number]
        self._frozen: list[anyio.Event] = []

    @property
    def broker(self) -> Broker:
        """This, as what it stands for."""
        return cast("Broker", self)

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **fields: Any) -> Any:
            return await self._call(name, args, fields)

        return call

    async def freeze(self, seconds: float) -> None:
        """Whoever is at this end does nothing for so long."""
        thaw = anyio.Event()
        self._frozen.append(thaw)
        await anyio.sleep(seconds)
        self._frozen.remove(thaw)
        thaw.set()

    async def thawed(self) -> None:
        while self._frozen:
            await self._frozen[-1].wait()

    async def reserve(self, *args: Any, **fields: Any) -> list[Lease]:
        """A claim that is cancelled on its way back is given back, as the port promises."""
        got: list[Lease] = []
        try:
            leases: list[Lease] = await self._call("reserve", args, fields, got)
        except anyio.get_cancelled_exc_class():
            if got and not self.dead:
                with anyio.CancelScope(shield=True):
                    await self._hub.call(self.name, "release", [Release(lease, counted=False) for lease in got])
            raise
        return leases

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        await self._go("notices")
        if self._strikes("calls fail", "notices"):
            raise BrokerUnavailable("notices fails")
        async with self._hub.notices() as notices:
            yield _Heard(self, notices)

    async def hears(self) -> bool:
        """Whether a notice that is here now comes through, once it has."""
        await self.thawed()
        if self._now("hears nothing"):
            return False
        await self._wait()
        return True

    async def _call(self, name: str, args: Any, fields: Any, got: list[Lease] | None = None) -> Any:
        await self._go(name)
        if self._strikes("calls fail", name):
            raise BrokerUnavailable(f"{name} fails")
        answer = await self._hub.call(self.name, name, *args, **fields)
        if got is not None:
            got.extend(answer)
        await self._wait()
        await self.thawed()
        if self._strikes("answers get lost", name):
            raise BrokerUnavailable(f"the answer of {name} is lost")
        return answer

    async def _go(self, name: str) -> None:
        if self.dead:
            raise BrokerUnavailable("nobody is there any more")
        await lowlevel.checkpoint()
        await self.thawed()
        await self._wait()
        if (slow := self._now("calls are slow")) and name in slow.calls:
            await anyio.sleep(self._rng.uniform(0, slow.seconds))
        await self.thawed()

    async def _wait(self) -> None:
        if self._plan.late and self._rng.random() < 0.3:
            await anyio.sleep(self._rng.uniform(0, self._plan.late / 2))

    def _now(self, what: str) -> Fault | None:
        now = anyio.current_time()
        running = (fault for fault in self._faults if fault.at <= now < fault.at + fault.seconds)
        return next((fault for fault in running if fault.what == what), None)

    def _strikes(self, what: str, name: str) -> bool:
        fault = self._now(what)
        return fault is not None and name in fault.calls and self._rng.random() < 0.7


class _Heard(AsyncIterator[Notice]):
    """The notices that come through."""

    def __init__(self, line: Line, notices: AsyncIterator[Notice]) -> None:
        self._line, self._notices = line, notices

    async def __anext__(self) -> Notice:
        while True:
            notice = await self._notices.__anext__()
            if await self._line.hears():
                return notice
