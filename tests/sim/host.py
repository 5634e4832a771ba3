"""The hosts: each has a clock of its own, and one worker after the other."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import anyio
import trio

from gristmill.base.errors import BrokerUnavailable
from sim.plan import LEASE, Fault
from sim.runners import make_app

if TYPE_CHECKING:
    from sim.world import World

DAY = 1_800_000_000.0


class HostClock:
    """The clock of one host: somebody may set it."""

    def __init__(self) -> None:
        self.offset = DAY

    def now(self) -> float:
        return trio.current_time() + self.offset

    def monotonic(self) -> float:
        return trio.current_time()


class Host:
    """One worker after the other, by the same number."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.clock = HostClock()
        self._births = 0
        self._rng = Random(f"{world.plan.seed} host {number}")
        self._open = True
        self._pause = 0.0
        self._scope = anyio.CancelScope()
        self._ready = anyio.Event()
        self._gone = anyio.Event()

    async def run(self) -> None:
        while self._open:
            self._births += 1
            name = f"w{self.number}.{self._births}"
            plan = self.world.plan
            self._line = self.world.make_line(self.world.hub, plan, self.number, name)
            self._scope = anyio.CancelScope()
            self._gone = anyio.Event()
            async with anyio.create_task_group() as kills:
                app = make_app(self.world, self._line)
                self._worker = self.world.make_worker(
                    self._line.broker,
                    app,
                    inline=True,
                    slots=plan.slots,
                    async_slots=plan.slots,
                    lane_limit=plan.per_lane,
                    lease=LEASE,
                    name=name,
                    clock=self.clock,
                    rng=Random(f"{plan.seed} {name} retries"),
                )
                self._worker.take(self.world, self._line, kills)
                for _ in range(60 * plan.hurried):
                    self._worker._slots.ran(0.0)
                self._ready.set()
                with self._scope:
                    await self._worker.run()
                self.world.oracle.say(name, "has gone")
                kills.cancel_scope.cancel()
            self._check()
            self._ready = anyio.Event()
            self._gone.set()
            if self._line.dead and self._rng.random() < 0.5:  # it had a master, who knows
                with suppress(BrokerUnavailable):
                    await self.world.line.broker.reclaim(gone=[name])
            if self._open:
                await anyio.sleep(self._pause)

    async def strike(self, fault: Fault) -> None:
        if fault.what == "clock jumps":
            self.clock.offset += fault.seconds
            return
        await self._ready.wait()
        self._pause = fault.seconds
        line = self._line
        if fault.what == "freezes":
            await line.freeze(fault.seconds)
        elif fault.what == "dies":
            line.dead = True
            self._scope.cancel()
        elif fault.what == "stops":
            await line.thawed()
            self._scope.cancel()
        elif fault.what == "drains":
            await line.thawed()
            self._worker.drain(grace=fault.seconds)

    async def leave(self) -> None:
        self._open = False
        if self._ready.is_set():
            self._worker.drain(grace=20.0)
            await self._gone.wait()

    def _check(self) -> None:
        """P9: nobody has to wait for the lease of a worker that has ended as it should."""
        oracle = self.world.oracle
        if self._line.dead or (oracle.struck(self.number, -1.0) and not self._only_asked()):
            return
        left = [one.id for one in oracle.records().values() if one.worker == self._line.name and not one.state.final]
        oracle.expect(not left, "a worker that has ended holds tasks", self._line.name, left)

    def _only_asked(self) -> bool:
        """Whether nothing went wrong but that it was asked to end."""
        mine = [
            fault for fault in self.world.plan.faults if fault.line == self.number or fault.what.startswith("broker")
        ]
        return all(fault.what in ("stops", "drains", "hears nothing", "clock jumps") for fault in mine)
