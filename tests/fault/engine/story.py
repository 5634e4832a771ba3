"""What has been told of a round so far, in order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from fault.engine.ledger import Began, Called, Entry, Item, Left, Up


@dataclass(frozen=True)
class Told:
    """One lease in one call."""

    worker: str
    before: float
    after: float
    call: str
    item: Item


@dataclass
class Story:
    begun: list[Began] = field(default_factory=list)
    left: dict[str, Left] = field(default_factory=dict)
    calls: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))  # by task id
    pace: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))  # by worker
    up: set[str] = field(default_factory=set)

    def add(self, entries: list[Entry]) -> None:
        for entry in entries:
            match entry:
                case Began():
                    self.begun.append(entry)
                case Left():
                    self.left[entry.nonce] = entry
                case Called():
                    if entry.call != "claim":  # that one waits for tasks
                        self.pace[entry.worker].append((entry.before, entry.after))
                    for item in entry.items:
                        self.calls[item.id].append(Told(entry.worker, entry.before, entry.after, entry.call, item))
                case Up():
                    self.up.add(entry.worker)

    def slowest(self, worker: str, start: float, end: float) -> float:
        """The longest that the broker let this worker wait for an answer in that time."""
        return max(
            (after - before for before, after in self.pace[worker] if before < end and after > start), default=0.0
        )

    def running(self, worker: str | None = None) -> list[Began]:
        """Bodies of whose end nobody has told (they may have been killed)."""
        return [one for one in self.begun if one.nonce not in self.left and worker in (None, one.worker)]

    def of(self, task_id: str) -> list[str]:
        """All that is known of a task, for reading."""
        rows = [
            (
                one.at,
                f"begins  {one.worker} pid {one.pid} attempt {one.attempt}{' BESIDE another' if one.beside else ''}",
            )
            for one in self.begun
            if one.id == task_id
        ]
        rows += [
            (self.left[one.nonce].at, f"{'ends' if self.left[one.nonce].done else 'leaves'}    {one.worker}")
            for one in self.begun
            if one.id == task_id and one.nonce in self.left
        ]
        rows += [
            (
                one.after,
                f"{one.call:8}{one.worker} token {one.item.token} attempt {one.item.attempt} {one.item.what}"
                f" -> {one.item.kept} (asked at {one.before:.3f})",
            )
            for one in self.calls.get(task_id, [])
        ]
        return [f"{at:.3f} {words}" for at, words in sorted(rows)]
