"""A worker's broker that tells the ledger which leases it was given, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fault.engine.ledger import Call, Called, Item, Pen, now
from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Release


class Recorder:
    """Everything else goes straight to the broker."""

    def __init__(self, broker: Broker, worker: str, pen: Pen) -> None:
        self._broker, self._worker, self._pen = broker, worker, pen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def reserve(self, queues: Sequence[str], **options: Any) -> list[Lease]:
        before = now()
        leases = await self._broker.reserve(queues, **options)
        self._tell("claim", before, [_item(lease, True) for lease in leases])
        return leases

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        before = now()
        lost = await self._broker.extend(leases, lease=lease)
        gone = {(one.id, one.token) for one in lost}
        self._tell("extend", before, [_item(one, (one.id, one.token) not in gone) for one in leases])
        return lost

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        before = now()
        kept: list[bool] | None = None
        try:
            kept = await self._broker.finish(ends)
        finally:
            answers: list[bool | None] = [*kept] if kept else [None] * len(ends)
            items = [_item(end.lease, ok, end.state.value) for end, ok in zip(ends, answers, strict=True)]
            self._tell("finish", before, items)
        return kept

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        before = now()
        kept: list[bool] | None = None
        giving = [_item(one.lease, None, "uncounted") for one in releases if not one.counted]
        self._tell("giving", before, giving)
        self._tell("returning", before, [_item(one.lease, None, "counted") for one in releases if one.counted])
        try:
            kept = await self._broker.release(releases)
        finally:
            answers: list[bool | None] = [*kept] if kept else [None] * len(releases)
            items = [
                _item(one.lease, ok, "counted" if one.counted else "uncounted")
                for one, ok in zip(releases, answers, strict=True)
            ]
            self._tell("release", before, items)
        return kept

    def _tell(self, call: Call, before: float, items: list[Item]) -> None:
        if items:
            self._pen.write(Called(call, self._worker, before, now(), items))


def _item(lease: Lease, kept: bool | None, what: str = "") -> Item:
    return Item(lease.id, lease.token, lease.attempt, kept, what)
