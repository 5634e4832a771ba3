"""Reading rows that others append, in databases where a number may be seen before a smaller one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gristmill.brokers.sql.tables import notice

HOLES = 500  # numbers that are waited for at most
PATIENCE = 30.0  # seconds; the transaction of a number that does not come by then has failed
LOOKED_AT = 100  # numbers before the newest one that may still come when somebody begins to read
VAIN = 20  # looks without anything new after which it is made sure that there is still what was seen

_newest = sa.select(sa.func.coalesce(sa.func.max(notice.c.n), 0))
_late = notice.c.n.in_(sa.bindparam("b_holes", expanding=True))
_after = notice.c.n > sa.bindparam("b_last")
_numbers = sa.select(notice.c.n)


class Tail:
    """The rows that were not there when it was last asked, in the order of their numbers.

    A transaction takes its numbers before it commits, so others may be seen first. The holes between the numbers that were
    seen are asked for, too, until nobody can fill them any more. With ``gaps=False`` there are none: one writes at a time.
    """

    def __init__(self, *, bodies: bool = True, gaps: bool = True) -> None:
        columns = (notice.c.n, notice.c.body) if bodies else (notice.c.n,)
        self._next = sa.select(*columns).where(_after).order_by(notice.c.n)
        self._also = sa.select(*columns).where(sa.or_(_after, _late)).order_by(notice.c.n)
        self._gaps = gaps
        self.last = -1
        self.holes: dict[int, float] = {}  # and since when they are waited for
        self.set_back = 0  # how often the numbers began again below what was seen
        self._vain = 0

    def begin(self, c: sa.Connection) -> None:
        """From here on: what is there now is not new."""
        self.last = int(c.execute(_newest).scalar_one())
        if self._gaps:
            first = max(self.last - LOOKED_AT, 0)
            there = set(c.execute(_numbers.where(notice.c.n > first)).scalars())
            self.holes = dict.fromkeys((n for n in range(first + 1, self.last) if n not in there), time.monotonic())

    def new(self, c: sa.Connection) -> Sequence[Any]:
        """What was appended since; nothing the first time. All that is there, if an older backup was put in its place."""
        if self.last < 0:
            self.begin(c)
            return []
        rows = self._unseen(c)
        self._vain = 0 if rows else self._vain + 1
        if self._vain >= VAIN:
            self._vain = 0
            if 0 < int(c.execute(_newest).scalar_one()) < self.last:
                self.last, self.holes = 0, {}
                self.set_back += 1
                rows = self._unseen(c)
        if self._gaps:
            self._note([int(row.n) for row in rows])
        elif rows:
            self.last = rows[-1].n
        return rows

    def _unseen(self, c: sa.Connection) -> Sequence[sa.Row[Any]]:
        if self.holes:
            return c.execute(self._also, {"b_last": self.last, "b_holes": list(self.holes)}).all()
        return c.execute(self._next, {"b_last": self.last}).all()

    def _note(self, seen: Sequence[int]) -> None:
        now = time.monotonic()
        newest = max([self.last, *seen[-1:]])
        waited = dict.fromkeys(range(max(self.last + 1, newest - HOLES), newest), now)
        there = set(seen)
        for n, since in (*self.holes.items(), *waited.items()):
            waited[n] = since
        self.holes = {n: since for n, since in waited.items() if n not in there and since > now - PATIENCE}
        for n in sorted(self.holes)[:-HOLES]:
            del self.holes[n]
        self.last = newest
