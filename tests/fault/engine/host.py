"""A worker in a process of its own, as a round starts it: it tells the ledger of its leases, and its wall clock may jump."""

from __future__ import annotations

import signal
import struct
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import anyio
import msgspec

from fault.engine.ledger import Pen, Up, room, worker
from fault.engine.mutations import Mutation, mutated
from fault.engine.recorder import Recorder
from gristmill.base.clock import SystemClock
from gristmill.base.errors import BrokerUnavailable
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.isolate import RunnerLimits
from gristmill.engine.nursery import die_with_parent
from gristmill.engine.worker import Worker

QUEUE = "faults"
APP = "fault.engine.tasks:app"


class Start(msgspec.Struct, frozen=True):
    """What a worker process is told."""

    url: str
    lease: float
    clock: str  # the file with the seconds that this host's wall clock is wrong by
    slots: int = 2
    backend: str = "asyncio"
    mutation: Mutation | None = None


def jump_with(path: Path) -> None:
    """From now on this process's wall clock is wrong by what the file says."""

    def now(self: SystemClock) -> float:
        return time.time() + offset(path)  # noqa: TID251  in the place of SystemClock.now

    SystemClock.now = now  # type: ignore[method-assign]  # this host's clock, whoever has it


def offset(path: Path) -> float:
    return cast("float", struct.unpack("d", path.read_bytes())[0])


def set_offset(path: Path, seconds: float) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(struct.pack("d", seconds))
    fresh.replace(path)


async def main(start: Start) -> None:
    pen = Pen(room())
    async with AsyncExitStack() as stack:
        broker = await _opened(stack, start.url)
        group = await stack.enter_async_context(anyio.create_task_group())
        told: Broker = broker if start.mutation is None else mutated(broker, start.mutation)
        hands = Worker(
            cast("Broker", Recorder(told, worker(), pen)),
            APP,
            queues=[QUEUE],
            slots=start.slots,
            async_slots=20,
            lease=start.lease,
            limits=RunnerLimits(idle=3600.0),
            name=worker(),
        )
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            await group.start(hands.run)
            pen.write(Up(worker()))
            async for _ in signals:
                hands.drain(grace=0.3)
                await hands.ended.wait()
                break


async def _opened(stack: AsyncExitStack, url: str) -> Broker:
    """The broker, once it is there; in real life a supervisor starts a worker again that cannot begin."""
    while True:
        try:
            return await stack.enter_async_context(open_broker(url))
        except BrokerUnavailable:
            await anyio.sleep(0.1)


if __name__ == "__main__":
    _start = msgspec.json.decode(sys.argv[1], type=Start)
    die_with_parent()
    jump_with(Path(_start.clock))
    anyio.run(main, _start, backend=_start.backend)
