"""Where the server is now: one address, what Sentinel says, or who has our slot of a Cluster."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import hiredis

from gristmill.brokers.redis.connection import Connection, Lost, Push, Refused, connect, packed
from gristmill.brokers.redis.url import Address, Target


class Places:
    """Opens connections to the server that takes writes."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._context = target.context()
        self._moved: Address | None = None
        self._turn = 0

    def moved(self, address: Address) -> None:
        """A node of the Cluster said that our slot is there."""
        self._moved = address

    @asynccontextmanager
    async def open(self, *, name: str, push: Push | None = None) -> AsyncIterator[Connection]:
        """A connection that has logged in. Raises Lost, also where the server refuses us."""
        target = self._target
        address = await self._find()
        async with self._connected(address, target.username, target.password, push=push) as connection:
            if target.database:
                _expect(await self._ask(connection, "SELECT", str(target.database)), address)
            self._check(await self._ask(connection, "CLIENT", "SETNAME", name), address)
            if target.kind == "sentinel":
                role = await self._ask(connection, "ROLE")
                if isinstance(role, list) and role[0] != b"master":  # some users may not ask
                    raise Lost(f"{address}: Sentinel calls it the master of {target.master!r}, but it is a replica yet")
            yield connection

    async def _find(self) -> Address:
        target = self._target
        if target.kind == "single":
            self._turn += 1
            return target.addresses[self._turn % len(target.addresses)]
        if target.kind == "sentinel":
            return await self._from_any(self._ask_sentinel)
        if self._moved is not None:
            address, self._moved = self._moved, None
            return address
        return await self._from_any(self._ask_node)

    async def _from_any(self, ask: Any) -> Address:
        """The first answer of those that know, beginning with the one that answered last."""
        reasons = []
        addresses = self._target.addresses
        for number in range(len(addresses)):
            turn = (self._turn + number) % len(addresses)
            try:
                found: Address = await ask(addresses[turn])
            except Lost as exc:
                reasons.append(str(exc))
            else:
                self._turn = turn
                return found
        raise Lost("; ".join(reasons))

    async def _ask_sentinel(self, address: Address) -> Address:
        target = self._target
        async with self._connected(address, target.sentinel_username, target.sentinel_password) as connection:
            answer = await self._ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.master)
        if answer is None:
            raise Lost(f"{address}: this Sentinel knows no master {target.master!r}")
        host, port = _expect(answer, address)
        return Address(host.decode(), int(port))

    async def _ask_node(self, address: Address) -> Address:
        target = self._target
        async with self._connected(address, target.username, target.password) as connection:
            slot = _expect(await self._ask(connection, "CLUSTER", "KEYSLOT", target.prefix), address)
            ranges = _expect(await self._ask(connection, "CLUSTER", "SLOTS"), address)
        for first, last, node, *_ in ranges:
            if first <= slot <= last:
                host = (node[0] or b"").decode() or address.host  # a node may leave its own address out
                return Address(host, int(node[1]))
        raise Lost(f"{address}: no node of the Cluster has slot {slot}")

    @asynccontextmanager
    async def _connected(
        self, address: Address, username: str, password: str | None, *, push: Push | None = None
    ) -> AsyncIterator[Connection]:
        stream = await connect(address, self._context, timeout=self._target.timeout)
        connection = Connection(stream, address, push=push)
        async with anyio.create_task_group() as children:
            children.start_soon(connection.run)
            try:
                if password is not None:
                    words = (username, password) if username else (password,)
                    self._check(await self._ask(connection, "AUTH", *words), address)
                failure = None
                yield connection
            except Lost as exc:  # as it was raised, not in a group
                failure = exc
            finally:
                connection.close("closed by us")
        if failure is not None:
            raise failure

    async def _ask(self, connection: Connection, *words: str) -> Any:
        return await connection.ask(packed(*words), timeout=self._target.timeout)

    def _check(self, answer: Any, address: Address) -> None:
        """Whether we are let in."""
        text = str(answer) if isinstance(answer, hiredis.ReplyError) else ""
        if re.search("WRONGPASS|NOAUTH|invalid password|without any password", text):
            user = f"user {self._target.username!r}" if self._target.username else "the default user"
            raise Refused(f"{address} wants another password of {user}: {text}")


def _expect(answer: Any, address: Address) -> Any:
    if isinstance(answer, hiredis.ReplyError):
        raise Lost(f"{address} refuses us: {answer}")
    return answer
