"""Slots: how many tasks a worker takes, and which of those that it holds may run now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import anyio

SHORT = 0.05  # seconds: while tasks are shorter, more are taken ahead
AHEAD = 32  # tasks taken ahead at most
OTHERS = 1.0  # seconds that a task taken ahead waits for a slot here; then others may have it


class _Waiting:
    """A task that waits for its slot."""

    def __init__(self) -> None:
        self.since = anyio.current_time()
        self.called = anyio.Event()
        self.refusal: str | None = None


class Slots:
    """``slots`` bodies of kind ``def`` and ``async_slots`` of kind ``async def`` at a time; whoever is taken first goes first.

    A kind is named by whether it is ``async def``.
    """

    def __init__(self, slots: int, async_slots: int) -> None:
        self._free = {False: slots, True: async_slots}
        self._untaken = dict(self._free)
        self._queues: dict[bool, OrderedDict[str, _Waiting]] = {False: OrderedDict(), True: OrderedDict()}
        self._kinds = [False]
        self._seconds = 1.0  # how long tasks take, smoothed
        self._closed: str | None = None
        self._space = anyio.Event()
        self._some = anyio.Event()

    def serve(self, kinds: Iterable[bool]) -> None:
        """Which kinds of tasks there are."""
        self._kinds = sorted(set(kinds)) or [False]

    def room(self) -> int:
        """How many tasks to take now: whatever kinds they are, there is a slot for each, or will be soon.

        What is taken ahead is filled up by halves, not one by one.
        """
        ahead = min(AHEAD, int(SHORT / self._seconds)) if self._seconds < SHORT else 0
        room = min([self._untaken[kind] for kind in self._kinds]) + ahead
        return room if room > ahead // 2 else 0

    async def more_room(self) -> None:
        """Return when there is room again."""
        self._space = anyio.Event()
        if not self.room():
            await self._space.wait()

    def crowded(self) -> bool:
        """Whether tasks wait for their slot."""
        return any(self._queues.values())

    def take(self, kind: bool) -> None:
        self._untaken[kind] -= 1

    def give_back(self, kind: bool) -> None:
        self._untaken[kind] += 1
        if not self._space.is_set() and self.room():
            self._space.set()

    def ran(self, seconds: float) -> None:
        """A task has run for so long."""
        self._seconds += 0.1 * (seconds - self._seconds)

    async def enter(self, task_id: str, kind: bool) -> str | None:
        """Wait for a slot. None: the task has it until ``leave``; otherwise why it gets none."""
        if self._free[kind] > 0:
            self._free[kind] -= 1
            return None
        if self._closed is not None:
            return self._closed
        waiting = self._queues[kind][task_id] = _Waiting()
        self._some.set()
        heard = False
        try:
            await waiting.called.wait()
            heard = True
        finally:
            if not heard and self._queues[kind].pop(task_id, None) is None and waiting.refusal is None:
                self.leave(kind)
        return waiting.refusal

    def leave(self, kind: bool) -> None:
        """The slot is free for the next one."""
        if self._queues[kind]:
            _, waiting = self._queues[kind].popitem(last=False)
            waiting.called.set()
        else:
            self._free[kind] += 1

    def refuse(self, task_id: str, reason: str) -> bool:
        """Send away a task that waits for its slot. False where none of this id does."""
        for queue in self._queues.values():
            if (waiting := queue.pop(task_id, None)) is not None:
                waiting.refusal = reason
                waiting.called.set()
                return True
        return False

    def close(self, reason: str) -> None:
        """From now on nobody waits for a slot."""
        self._closed = reason
        for queue in self._queues.values():
            for task_id in list(queue):
                self.refuse(task_id, reason)

    async def watch(self) -> None:
        """Send away, for ever, those that wait in vain: others may have a slot for them."""
        while True:
            await self._some.wait()
            await anyio.sleep(OTHERS / 4)
            since = anyio.current_time() - OTHERS
            vain = [task for queue in self._queues.values() for task, one in queue.items() if one.since <= since]
            for task_id in vain:
                self.refuse(task_id, "waited")
                self._seconds = max(self._seconds, SHORT)  # tasks are short no more
            if not self.crowded():
                self._some = anyio.Event()
