"""What the memory broker keeps of a task, and the lanes in which tasks wait."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gristmill.engine.message import TaskRecord
from gristmill.engine.state import may


@dataclass
class Kept:
    """A task as it is kept."""

    record: TaskRecord
    raw: bytes  # the message as it travels: every lease gets a copy of its own
    seq: int
    deadline: float | None = None

    def set(self, **changes: Any) -> TaskRecord:
        """Change the record. An illegal step between states is a fault of ours, and an AssertionError."""
        state = changes.get("state", self.record.state)
        if state is not self.record.state and not may(self.record.state, state):
            raise AssertionError(f"illegal step {self.record.state} -> {state}")
        self.record = msgspec.structs.replace(self.record, **changes)
        return self.record


@dataclass
class Lanes:
    """The queued tasks of one priority that are due: lanes take turns; inside a lane, what has been due longest goes first."""

    turns: OrderedDict[tuple[str, str], list[tuple[float, int, str]]] = field(default_factory=OrderedDict)

    def push(self, task: Kept) -> None:
        record = task.record
        waiting = self.turns.setdefault(seat_of(record), [])
        heapq.heappush(waiting, (record.not_before, task.seq, record.id))

    def pop(
        self, queues: Sequence[str], full: Callable[[tuple[str, str]], bool], waits: Callable[[str, float], bool]
    ) -> str | None:
        """The next one's id. Entries of tasks that no longer wait take no turn; full lanes keep theirs."""
        while (seat := next((seat for seat in self.turns if seat[0] in queues and not full(seat)), None)) is not None:
            waiting = self.turns[seat]
            while waiting:
                due, _, task_id = heapq.heappop(waiting)
                if waits(task_id, due):
                    self.turns.move_to_end(seat)
                    if not waiting:
                        del self.turns[seat]
                    return task_id
            del self.turns[seat]
        return None


def seat_of(record: TaskRecord) -> tuple[str, str]:
    """Queue and lane: what takes turns."""
    return record.message.queue, record.message.lane
