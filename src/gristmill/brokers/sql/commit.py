"""Group commit: all calls that wait at one moment share one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread

from gristmill.base.errors import BrokerUnavailable
from gristmill.brokers.sql.link import InDoubt, Link

T = TypeVar("T")

Run = Callable[[sa.Connection], T]


@dataclass(eq=False)
class _Step(Generic[T]):
    """A call that waits for the next transaction."""

    run: Run[T]
    undo: Callable[[T], Run[object] | None] | None = None
    apart: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)
    result: T | None = None
    error: Exception | None = None
    abandoned: bool = False


class GroupCommit:
    """Runs steps on one connection, in a thread. While a transaction is under way, the next steps gather.

    A step that the database refuses, or that fails in itself, fails alone: the others of its transaction are done again
    without it. ``lasting`` is what goes into each transaction at its end. With ``split``, steps that want to be apart have
    a transaction of their own: so what they hold the others off from is short.
    """

    def __init__(self, link: Link, lasting: Run[None], *, split: bool = False) -> None:
        self._link = link
        self._lasting = lasting
        self._split = split
        self._doubtful: list[_Step[Any]] = []  # nobody can tell yet whether they have happened
        self._happened: list[_Step[Any]] = []  # they have, but their callers were told that nobody knows
        link.settled = self._settle
        self._waiting: list[_Step[Any]] = []
        self._more = anyio.Event()
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False

    async def write(
        self, run: Run[T], *, undo: Callable[[T], Run[object] | None] | None = None, apart: bool = False
    ) -> T:
        """Run a step in the next transaction.

        Cancelled before that began, it does not happen; after that it does, and ``undo`` gives the step that sees to what
        the caller can no longer take.
        """
        if self._closed:
            raise BrokerUnavailable("this broker is not open")
        step = _Step(run, undo, apart)
        self._put(step)
        try:
            await step.done.wait()
        except BaseException:
            if step in self._waiting:
                self._waiting.remove(step)
            elif step.done.is_set():
                self._make_good(step)
            else:
                step.abandoned = True
            raise
        if step.error is not None:
            raise step.error
        return step.result  # type: ignore[return-value]  # set together with done

    async def run(self, committed: Callable[[], None]) -> None:
        """Commit what waits, for ever. ``committed`` is called after every transaction."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await self._commit_waiting()
            committed()

    async def close(self) -> None:
        """Commit what still waits and take nothing more. By now ``run`` has ended."""
        while self._waiting:
            await self._commit_waiting()
        self._closed = True

    async def _commit_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._commit, batch, limiter=self._thread)
        for step in batch:
            step.done.set()
            if step.abandoned:
                self._make_good(step)
        happened, self._happened = self._happened, []
        for step in happened:
            step.error = None
            self._make_good(step)

    def _put(self, step: _Step[Any]) -> None:
        self._waiting.append(step)
        self._more.set()

    def _make_good(self, step: _Step[T]) -> None:
        """Its caller has gone: undo what only the caller could have used."""
        if step.undo is not None and step.error is None:
            undoing = step.undo(step.result)  # type: ignore[arg-type]  # set together with done
            if undoing is not None:
                self._put(_Step(undoing))

    def _commit(self, batch: list[_Step[Any]]) -> None:
        """In the thread."""
        if not self._split:
            self._commit_together(batch)
            return
        for apart in (False, True):
            self._commit_together([step for step in batch if step.apart is apart])

    def _commit_together(self, batch: list[_Step[Any]]) -> None:
        if not batch:
            return
        self._transact(batch)
        if len(batch) > 1 and batch[0].error is not None and not isinstance(batch[0].error, BrokerUnavailable):
            for step in batch:
                self._transact([step])

    def _transact(self, batch: list[_Step[Any]]) -> None:
        def run(c: sa.Connection) -> None:
            for step in batch:
                step.result = step.run(c)

        failure: Exception | None = None
        try:
            self._link.transact(run, lasting=self._lasting)
        except InDoubt as exc:
            failure, self._doubtful = exc, batch
        except Exception as exc:  # noqa: BLE001  whatever it is, it belongs to a caller and must not end the others' work
            failure = exc
        for step in batch:
            step.error = None if failure is None else self._link.meaning(failure)

    def _settle(self, happened: bool) -> None:
        """In the thread: what became of the doubtful ones."""
        doubtful, self._doubtful = self._doubtful, []
        if happened:
            self._happened.extend(doubtful)
