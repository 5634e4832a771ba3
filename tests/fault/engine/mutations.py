"""Promises broken on purpose, in the workers' processes only: the rounds must find each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import msgspec

from gristmill.engine.broker import Broker
from gristmill.engine.message import End, Lease, Release
from gristmill.engine.state import TaskState

Mutation = Literal["no fence", "ack before finish", "reclaim without token", "reclaim uncounted", "cancel unheard"]


class _Mutant:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


class NoFence(_Mutant):
    """Whoever comes with an end of a running task is heard, whatever their token: the check is gone."""

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        records = await self._broker.describe([end.lease.id for end in ends])
        current = []
        for end, record in zip(ends, records, strict=True):
            lease = end.lease
            if record is not None:
                lease = Lease(lease.message, record.token, record.worker, record.attempt)
            current.append(msgspec.structs.replace(end, lease=lease))
        return await self._broker.finish(current)


class AckFirst(_Mutant):
    """Acknowledges what it takes at once, and keeps the result for itself until the body has ended."""

    async def reserve(self, queues: Sequence[str], **options: Any) -> list[Lease]:
        leases = await self._broker.reserve(queues, **options)
        await self._broker.finish([End(lease, TaskState.SUCCEEDED) for lease in leases])
        return leases

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        return [True] * len(ends)

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        return [True] * len(releases)


class SameToken(_Mutant):
    """A task that was taken back keeps its token: its old holder and its new one look the same."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)

    async def reserve(self, queues: Sequence[str], **options: Any) -> list[Lease]:
        return [_worn(lease) for lease in await self._broker.reserve(queues, **options)]

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Lease]:
        asked = {_key(now): old for now, old in zip(await self._now(leases), leases, strict=True)}
        lost = await self._broker.extend(await self._now(leases), lease=lease)
        return [asked[_key(one)] for one in lost if _key(one) in asked]

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        leases = await self._now([end.lease for end in ends])
        changed = [msgspec.structs.replace(end, lease=lease) for end, lease in zip(ends, leases, strict=True)]
        return await self._broker.finish(changed)

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        leases = await self._now([one.lease for one in releases])
        changed = [msgspec.structs.replace(one, lease=lease) for one, lease in zip(releases, leases, strict=True)]
        return await self._broker.release(changed)

    async def _now(self, leases: Sequence[Lease]) -> list[Lease]:
        """The leases as they would be if claims had not made new tokens."""
        records = await self._broker.describe([lease.id for lease in leases])
        return [
            lease if record is None else Lease(lease.message, record.token, record.worker, record.attempt)
            for lease, record in zip(leases, records, strict=True)
        ]


class Uncounted(_Mutant):
    """Runners that die cost no attempt."""

    async def release(self, releases: Sequence[Release]) -> list[bool]:
        free = [msgspec.structs.replace(one, counted=False) for one in releases]
        return await self._broker.release(free)


class Deaf(_Mutant):
    """Cancelled tasks that were handed out are ended as if nobody had asked."""

    async def finish(self, ends: Sequence[End]) -> list[bool]:
        heard = [
            msgspec.structs.replace(end, state=TaskState.SUCCEEDED) if end.state is TaskState.CANCELLED else end
            for end in ends
        ]
        return await self._broker.finish(heard)


def _worn(lease: Lease) -> Lease:
    return msgspec.structs.replace(lease, token=1)


def _key(lease: Lease) -> tuple[str, int]:
    return lease.id, lease.token


_MUTANTS: dict[Mutation, Callable[[Broker], _Mutant]] = {
    "no fence": NoFence,
    "ack before finish": AckFirst,
    "reclaim without token": SameToken,
    "reclaim uncounted": Uncounted,
    "cancel unheard": Deaf,
}


def mutated(broker: Broker, mutation: Mutation) -> Broker:
    return cast("Broker", _MUTANTS[mutation](broker))
