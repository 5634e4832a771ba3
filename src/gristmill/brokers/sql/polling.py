"""Seeing in a database that tells nobody whether others have done something: one look at the end of an index."""

from __future__ import annotations

from contextlib import suppress

import sqlalchemy as sa

from gristmill.brokers.sql.dialect import Dialect
from gristmill.brokers.sql.tail import Tail


class NewNotices:
    """A number that grows whenever somebody has left a notice."""

    def __init__(self, dialect: Dialect, engine: sa.Engine) -> None:
        self._dialect = dialect
        self._engine = engine
        self._connection: sa.Connection | None = None
        self._tail = Tail(bodies=False)
        self._seen = 0

    def __call__(self) -> int:
        try:
            if self._connection is None:
                connection = self._engine.connect()
                self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                self._seen += 1  # something may have been missed
            if self._tail.holes or self._newest(self._connection) != self._tail.last:
                self._seen += bool(self._tail.new(self._connection))
        except Exception:
            self.close()
            raise
        return self._seen

    def _newest(self, c: sa.Connection) -> int:
        """Asked again and again, so without anything between it and the driver."""
        cursor = c.connection.cursor()
        cursor.execute("SELECT MAX(n) FROM notice")
        row = cursor.fetchone()
        cursor.close()
        return (row and row[0]) or 0

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError, *self._dialect.errors):
                connection.invalidate()
                connection.close()
