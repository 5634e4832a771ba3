"""Who waits for which queue, and how often it has rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import anyio


class Bells:
    """A wake-up that comes between a look and the wait that follows it is not lost: the count has changed."""

    def __init__(self) -> None:
        self._rung: Counter[str] = Counter()
        self._all = 0
        self._ends = 0
        self._waiting: dict[anyio.Event, tuple[frozenset[str], bool]] = {}

    def rung(self, queues: Sequence[str], *, ends: bool) -> int:
        """How often it has rung for any of these; with ``ends`` also for tasks that ended or went back."""
        return sum(self._rung[queue] for queue in queues) + self._all + (self._ends if ends else 0)

    def ring(self, queues: Sequence[str]) -> None:
        """There is something in these queues."""
        self._rung.update(queues)
        self._wake(lambda wanted, _: not wanted.isdisjoint(queues))

    def ring_ends(self) -> None:
        """Tasks have ended or gone back: a lane may no longer be full."""
        self._ends += 1
        self._wake(lambda _, ends: ends)

    def ring_all(self) -> None:
        """Something may have been missed."""
        self._all += 1
        self._wake(lambda _, __: True)

    @contextmanager
    def waiting(self, queues: Sequence[str], *, ends: bool) -> Iterator[anyio.Event]:
        event = anyio.Event()
        self._waiting[event] = (frozenset(queues), ends)
        try:
            yield event
        finally:
            del self._waiting[event]

    def _wake(self, concerns: Callable[[frozenset[str], bool], bool]) -> None:
        for event, (wanted, ends) in self._waiting.items():
            if concerns(wanted, ends):
                event.set()
