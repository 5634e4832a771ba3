"""A connection that comes back: what others were in the way of, or what the network lost, is done again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import SystemRandom
from typing import Any, TypeVar

import sqlalchemy as sa

from gristmill.base.errors import BrokerUnavailable, EngineError
from gristmill.base.ids import new_id
from gristmill.base.logs import get_logger
from gristmill.brokers.sql import schema
from gristmill.brokers.sql.dialect import Dialect, Verdict, cause_of
from gristmill.brokers.sql.rows import NEWS_QUEUED, NEWS_TOLD, NOW, SEATS, WROTE
from gristmill.brokers.sql.tables import receipt

T = TypeVar("T")

PATIENCE = 4.0  # seconds until the caller is told that the server cannot be reached
FIRST_PAUSE, LAST_PAUSE, CONFLICT_PAUSE = 0.02, 1.0, 0.1  # seconds between tries
CONFLICTS, CONFLICTING = 50, 30.0  # times, and seconds, that others may be in the way of one transaction
OLD_RECEIPT = 7 * 86_400.0  # seconds


log = get_logger(__name__)
_random = SystemRandom()


class InDoubt(BrokerUnavailable):
    """The server went away while it committed: it will show later whether that has happened."""


class Link:
    """One connection, for one thread at a time. It is made when it is needed, and anew after it broke."""

    def __init__(self, dialect: Dialect, *, stop: threading.Event, reads: bool = False) -> None:
        self._dialect = dialect
        self._stop = stop
        self._reads = reads
        self._engine: sa.Engine | None = None
        self._connection: sa.Connection | None = None
        self._session: Any = None
        self._name = new_id()
        self._count = 0  # transactions that were signed
        self._doubt = 0  # the one that may have happened
        self._happened = 0  # the last one of these that has
        self.news: set[str] = set()  # what the transactions did that others wait for
        self.settled: Callable[[bool], None] = lambda _: None  # told what became of a doubtful transaction

    @property
    def connection(self) -> sa.Connection:
        """The one that is used now."""
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def open(self, engine: sa.Engine) -> None:
        """Connect now."""
        self._engine = engine
        self._connection = self._connect()

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None and self._dialect.server and not self._reads:
            with suppress(sa.exc.SQLAlchemyError, *self._dialect.errors), self._connection.begin():
                self._connection.execute(sa.delete(receipt).where(receipt.c.name == self._name))
        self._drop()

    def read(self, run: Callable[[sa.Connection], T]) -> T:
        """Run what may be repeated, outside of a transaction."""
        return self._persist(lambda: run(self.connection))

    def transact(self, run: Callable[[sa.Connection], T], *, lasting: Callable[[sa.Connection], None]) -> T:
        """Run in a transaction, again and again until it is committed or refused.

        ``lasting`` is what goes into it at its end. Raises BrokerUnavailable (nothing has happened), InDoubt (nobody can
        tell now; ``settled`` is told later), and whatever ``run`` raises (nothing has happened).
        """
        tried: dict[int, T] = {}  # number of a transaction -> what it returns, if it has happened
        news: set[str] = set()

        def once() -> T:
            c = self.connection
            if self._happened in tried:
                return tried[self._happened]
            self._begin(c)
            with c.begin() as transaction:
                result = run(c)
                lasting(c)
                if self._dialect.server and c.info[WROTE]:
                    self._sign(c)
                    tried[self._count] = result
                    self._doubt = self._count
                news.update(mark for mark in (NEWS_QUEUED, NEWS_TOLD) if c.info[mark])
                transaction.commit()
            self._doubt = 0
            return result

        result = self._persist(once)
        self.news |= news
        return result

    def meaning(self, exc: Exception) -> Exception:
        """What an error is for the caller."""
        if isinstance(exc, EngineError):
            return exc
        cause = cause_of(exc)
        verdict = self._dialect.verdict(exc)
        if verdict is Verdict.REFUSED:
            return EngineError(f"the broker's database {self._dialect.where} refuses this: {told(cause)}")
        if verdict is Verdict.OTHER and not isinstance(exc, sa.exc.DBAPIError | sa.exc.ResourceClosedError):
            return exc
        return BrokerUnavailable(f"the broker's database {self._dialect.where} does not answer: {told(cause)}")

    def _begin(self, c: sa.Connection) -> None:
        c.info.update({WROTE: False, NOW: None, SEATS: [], NEWS_QUEUED: False, NEWS_TOLD: False})

    def _persist(self, run: Callable[[], T]) -> T:
        """Until it is done: with a new connection where the old one broke, within PATIENCE."""
        pauses, conflicts, began = _pauses(), 0, time.monotonic()
        while True:
            try:
                return run()
            except Exception as exc:
                verdict = self._dialect.verdict(exc)
                if verdict in (Verdict.GONE, Verdict.MISSING) and self._dialect.server:
                    self._lost(exc)
                    over = self._stop.is_set() or time.monotonic() > began + PATIENCE
                elif verdict is Verdict.AGAIN:
                    self._doubt = 0
                    conflicts += 1
                    over = conflicts >= CONFLICTS or time.monotonic() > began + CONFLICTING
                else:
                    self._doubt = 0
                    raise
                if over:
                    failure = InDoubt if self._doubt else BrokerUnavailable
                    raise failure(str(self.meaning(exc))) from exc
            self._stop.wait(min(next(pauses), CONFLICT_PAUSE) if verdict is Verdict.AGAIN else next(pauses))

    def _lost(self, exc: Exception) -> None:
        if self._connection is not None:
            log.warning(
                "the connection to the broker's database is lost", where=self._dialect.where, error=told(cause_of(exc))
            )
        self._drop()

    def _sign(self, c: sa.Connection) -> None:
        self._count += 1
        mine = sa.update(receipt).where(receipt.c.name == self._name).values(n=self._count)
        if not c.execute(mine).rowcount:
            c.execute(sa.insert(receipt), {"name": self._name, "n": self._count, "at": time_of(c, self._dialect)})

    def _connect(self) -> sa.Connection:
        if self._engine is None:
            raise BrokerUnavailable("this broker is not open")
        connection = self._engine.connect()
        try:
            if self._dialect.server or not self._reads:
                schema.ensure(connection, self._dialect)
            if self._reads:
                return connection.execution_options(isolation_level="AUTOCOMMIT")
            self._take_over(connection)
        except BaseException:
            self._abandon(connection)
            raise
        return connection

    def _take_over(self, c: sa.Connection) -> None:
        """End what the last connection left behind, and find out whether its last transaction has happened."""
        with c.begin():
            if self._session is not None:
                self._dialect.end_session(c, self._session)
            self._session = self._dialect.session(c)
        if self._doubt:
            with c.begin():  # its row is locked until the old session has committed or not
                n = c.execute(sa.select(receipt.c.n).where(receipt.c.name == self._name).with_for_update()).scalar()
            self._happened, self._doubt = self._doubt if n == self._doubt else 0, 0
            self.settled(self._happened != 0)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._abandon(connection)

    def _abandon(self, connection: sa.Connection) -> None:
        for step in (connection.invalidate, connection.close) if self._dialect.server else (connection.close,):
            with suppress(sa.exc.SQLAlchemyError, *self._dialect.errors):
                step()


def time_of(c: sa.Connection, dialect: Dialect, *, fresh: bool = False) -> float:
    """The server's time, asked for once in a transaction."""
    if fresh or c.info.get(NOW) is None:
        c.info[NOW] = float(c.exec_driver_sql(dialect.clock).scalar_one())
    return float(c.info[NOW])


def told(exc: Exception) -> str:
    """What the server said, in its words."""
    first = exc.args[0] if exc.args else ""
    if isinstance(first, dict):  # pg8000: the fields of the server's answer
        return f"{first.get('M', '')} ({first.get('C', '')})"
    return str(exc) or type(exc).__name__


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause * _random.uniform(0.5, 1.0)
        pause = min(pause * 2, LAST_PAUSE)
