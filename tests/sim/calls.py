"""One call of the broker: what was so when it began, and what its answer has to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anyio
import msgspec

from gristmill.engine.message import End, Lease, TaskRecord
from gristmill.engine.state import TaskState
from sim.oracle import Claim, Oracle, Run


class Call:
    """One call of the broker."""

    def __init__(self, oracle: Oracle, who: str, name: str, args: Sequence[Any], fields: Mapping[str, Any]) -> None:
        self.oracle, self.who, self.name = oracle, who, name
        self.args, self.fields = args, fields
        self._answered = False
        self._at = oracle.clock.now()
        self._leases = list(_leases(name, args))
        self._held = [oracle.holds(lease) for lease in self._leases]
        self._known = oracle.records() if name in ("reclaim", "publish", "cancel") else {}
        if name == "reserve":
            self._claim = Claim(who, args[0], fields["lease"], fields.get("per_lane"))
            oracle.waiting.append(self._claim)
        elif name == "finish":
            self._ends(args[0])
        elif name == "release":
            self._given_back()
        elif name == "extend":
            self._extended(fields["lease"])
        elif name == "cancel":
            self._cancelled(args[0])
        elif name == "reclaim":
            self._buried(fields.get("gone", ()))

    def over(self) -> None:
        """Answered or not, it is over."""
        if self.name == "reserve":
            self.oracle.waiting.remove(self._claim)
        if not self._answered:
            self.oracle.say(self.who, self.name, _short(self.args), "cancelled")

    def answered(self, answer: Any) -> None:
        oracle = self.oracle
        self._answered = True
        oracle.counts["calls"] += 1
        oracle.say(self.who, self.name, _short(self.args), "->", _short(answer))
        if self.name == "reserve":
            oracle.claimed(self._claim, answer)
        elif self.name in ("finish", "release", "progress"):
            self._fenced([bool(one) for one in answer])
        elif self.name == "extend":
            self._fenced([lease not in answer for lease in self._leases])
        elif self.name == "reclaim":
            self._taken(answer)
        elif self.name == "publish":
            self._accepted(answer)
        elif self.name == "cancel":
            expected = [self._known[one].state if one in self._known else None for one in self.args[0]]
            oracle.expect(answer == expected, "another state before the cancel", answer, expected)
        elif self.name == "book":
            oracle.books(self.args[0], self.fields, answer)
        oracle.final()

    def _taken(self, records: Sequence[TaskRecord]) -> None:
        """What has expired goes back, nothing else, and the attempt counts."""
        oracle, now = self.oracle, self._at
        expired = {
            one.id: one.attempt
            for one in self._known.values()
            if one.lease_until is not None and (one.lease_until <= now or one.worker in self._gone)
        }
        taken = {one.id: one.attempt for one in records}
        oracle.counts["reclaimed"] += len(taken)
        oracle.expect(taken == expired, "not what has expired is taken back", taken, expired)

    def _accepted(self, accepted: Sequence[bool]) -> None:
        """A key is known or it is not."""
        keys = {one.message.key for one in self._known.values()}
        for message, fresh in zip(self.args[0], accepted, strict=True):
            right = message.id not in self._known and message.key not in keys
            self.oracle.expect(
                fresh is right, "a key was accepted twice, or a new one was not", message.id, message.key
            )
            keys.add(message.key)

    def _fenced(self, written: list[bool]) -> None:
        """P3: the holder, and only the holder."""
        self.oracle.counts[f"{self.name}: too late"] += written.count(False)
        once: set[str] = set()
        for lease, held, done in zip(self._leases, self._held, written, strict=True):
            if self.name in ("progress", "extend") or lease.id not in once:
                self.oracle.expect(done is held, f"{self.name}: not by the holder, or not for him", self.who, lease.id)
            once.add(lease.id)

    def _ends(self, ends: Sequence[End]) -> None:
        """Ends are written for bodies that came to such an end, under this very lease."""
        for end, held in zip(ends, self._held, strict=True):
            if not held:
                continue
            known = self.oracle.known[end.lease.id]
            known.lease, known.written = None, end.state
            how = "ok" if end.state is TaskState.SUCCEEDED else "fails" if end.state is TaskState.FAILED else ""
            if how and end.lease.message.args:
                run = self._run(end)
                self.oracle.expect(
                    run is not None and run.how == how, "an end that no body came to", self.who, end.lease.id, run
                )

    def _run(self, end: End) -> Run | None:
        lease = end.lease
        found = [run for run in self.oracle.runs if (run.task, run.worker) == (lease.id, lease.worker)]
        if end.state is TaskState.SUCCEEDED and end.result is not None:
            found = [run for run in found if run.number == msgspec.json.decode(end.result)]
        return next((run for run in found if run.attempt == lease.attempt), None)

    def _extended(self, seconds: float) -> None:
        for lease, held in zip(self._leases, self._held, strict=True):
            if held:
                self.oracle.known[lease.id].until = self._at + seconds

    def _cancelled(self, ids: Sequence[str]) -> None:
        for task_id in ids:
            if task_id in self._known and not self._known[task_id].state.final:
                known = self.oracle.known[task_id]
                known.cancelled = known.cancelled or anyio.current_time()

    def _buried(self, gone: Sequence[str]) -> None:
        """What the gone hold is free, whatever their leases say."""
        self._gone = set(gone)
        for record in self._known.values():
            if record.state is TaskState.RUNNING and record.worker in self._gone:
                self.oracle.known[record.id].lease = None

    def _given_back(self) -> None:
        for release, lease, held in zip(self.args[0], self._leases, self._held, strict=True):
            if held:
                self.oracle.known[lease.id].lease = None
                self.oracle.counts["retries" if release.counted else "handed back"] += 1


def _leases(name: str, args: Sequence[Any]) -> Iterator[Lease]:
    if name == "extend":
        yield from args[0]
    elif name in ("finish", "release", "progress"):
        yield from (one.lease for one in args[0])


def _short(value: Any) -> str:
    """Enough to tell two schedules apart."""
    if isinstance(value, (tuple, list)):
        return "[" + " ".join(map(_short, value)) + "]"
    if isinstance(value, dict):
        return _short(list(value))
    if isinstance(value, End):
        return f"{value.state}:{_short(value.lease)}"
    if isinstance(value, TaskRecord):
        return f"{value.id}:{value.state}:{value.attempt}"
    if isinstance(value, Lease):
        return f"{value.id}#{value.token}"
    inner = getattr(value, "lease", None)
    if inner is not None:
        return _short(inner)
    return str(getattr(value, "id", "" if hasattr(value, "__struct_fields__") else value))
