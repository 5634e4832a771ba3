"""Tasks whose begin and end are seen from outside: they wait at a gate, and write both into a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gristmill.engine.broker import Broker
from gristmill.engine.message import Message
from gristmill.testing import bodies
from gristmill.testing.processes import settles
from gristmill.testing.workers import ends, working


class Stage:
    """Tasks that begin, and end when the gate is opened."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.ledger, self.gate, self.broker = folder / "ledger", folder / "gate", broker

    async def begun(self, count: int = 1) -> list[Message]:
        """So many tasks that have begun."""
        messages = [bodies.passes_gate.message(str(self.ledger), str(self.gate)) for _ in range(count)]
        before = len(self.lines("start"))
        await self.broker.publish(messages)
        await settles(lambda: len(self.lines("start")) == before + count)
        return messages

    def open(self) -> None:
        """Let them end."""
        self.gate.touch()

    def lines(self, what: str) -> list[str]:
        """The ids of those that wrote ``start``, or ``end``; as often as they did."""
        if not self.ledger.exists():
            return []
        return [line.split()[1] for line in self.ledger.read_text().splitlines() if line.startswith(what)]

    async def states(self, messages: Sequence[Message]) -> list[tuple[str, int]]:
        """State and counted attempts of each."""
        found = await self.broker.describe([message.id for message in messages])
        return [(str(one.state), one.attempt) for one in found if one is not None]

    async def rest(self, messages: Sequence[Message]) -> None:
        """Have a worker of the test's own end what was handed back. Returns when all have ended."""
        self.open()
        async with working(self.broker, bodies.app, inline=True, slots=len(messages) or 1, lease=1.0):
            await ends(self.broker, messages)

    async def told(self, message: Message) -> tuple[str, int, int, int]:
        """How a task has come out: its state, its attempt, how often it began and ended."""
        [(state, attempt)] = await self.states([message])
        return state, attempt, self.lines("start").count(message.id), self.lines("end").count(message.id)
