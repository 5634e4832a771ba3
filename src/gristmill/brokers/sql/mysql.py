"""The SQL broker in MariaDB and MySQL."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import sqlalchemy as sa

from gristmill.base.errors import BrokerUnavailable, SettingsError
from gristmill.base.ids import new_id
from gristmill.base.logs import get_logger
from gristmill.brokers.sql import guards
from gristmill.brokers.sql.dialect import (
    CONNECT,
    IDLE_IN_TRANSACTION,
    LOCK_WAIT,
    SOCKET,
    Counter,
    Verdict,
    cause_of,
    driver,
    where,
)
from gristmill.brokers.sql.polling import NewNotices
from gristmill.brokers.sql.presence import Nobody
from gristmill.brokers.sql.rows import NEWS_TOLD, mark_writes
from gristmill.brokers.sql.tables import notice

log = get_logger(__name__)

_ONE_AT_A_TIME = "CONCAT('gristmill broker ', MD5(DATABASE()))"
_NO_TABLE = 1146
_NO_TRIGGERS = (1142, 1227, 1419)  # privileges that this user does not have

# 1062: another has published the same meanwhile; when it is repeated, it is known. The others: deadlock, timeouts, changed.
_AGAIN = frozenset({1062, 1205, 1213, 1020, 1412, 1969, 3024})
# No disk, no memory, too many connections, no access, no such database, shutting down, killed, read-only.
_AWAY = frozenset(
    {
        1021,
        1030,
        1037,
        1040,
        1041,
        1042,
        1043,
        1044,
        1045,
        1046,
        1049,
        1053,
        1077,
        1105,
        1114,
        1129,
        1130,
        1152,
        1158,
        1159,
    }
    | {1160, 1161, 1184, 1203, 1226, 1290, 1317, 1792, 1836, 1927, 3159, 4031}
)


class MysqlDialect:
    """MariaDB and MySQL by PyMySQL. They tell nobody of changes, so it is looked for them."""

    server = True
    listens = False
    clock = "SELECT UNIX_TIMESTAMP(SYSDATE(6)) + 0e0"

    def __init__(self, url: sa.URL) -> None:
        if "+" in url.drivername and url.get_driver_name() != "pymysql":
            raise SettingsError(
                f"engine.broker: the driver {url.get_driver_name()} is not supported; use mysql:// or mysql+pymysql://"
            )
        self._dbapi = driver("pymysql", extra="mariadb", scheme=url.get_backend_name())
        self._url = url.set(drivername="mysql+pymysql")
        self.where = where(url)
        self.errors: tuple[type[Exception], ...] = (self._dbapi.Error, OSError)

    def presence(self) -> Nobody:
        return Nobody()

    @cache  # noqa: B019  one for all brokers of a process, so that statements are compiled once
    def engine(self) -> sa.Engine:
        arguments: dict[str, Any] = {
            "charset": "utf8mb4",
            "connect_timeout": CONNECT,
            "read_timeout": SOCKET,
            "write_timeout": SOCKET,
            "cursorclass": _checked(self._dbapi),
        }
        if not any(name.startswith("ssl") for name in self._url.query):
            arguments["ssl_disabled"] = True
        engine = sa.create_engine(
            self._url, poolclass=sa.NullPool, isolation_level="READ COMMITTED", connect_args=arguments
        )
        engine.dialect.do_close = self.hang_up  # type: ignore[assignment]  # SQLAlchemy logs a trace where it fails
        sa.event.listen(engine, "connect", self._set_up)
        sa.event.listen(engine, "before_cursor_execute", mark_writes)
        return engine

    def counter(self) -> Counter:
        return NewNotices(self, self.engine())

    def listener(self) -> Any:
        raise NotImplementedError("it tells nobody; look at the counter")

    def hang_up(self, connection: Any) -> None:
        with suppress(*self.errors):
            connection.close()

    def verdict(self, exc: Exception) -> Verdict:
        cause = cause_of(exc)
        if not isinstance(cause, self.errors):
            return Verdict.OTHER
        code = cause.args[0] if cause.args else 0
        if isinstance(cause, OSError) or not isinstance(code, int) or not code or 2000 <= code < 3000:
            return Verdict.GONE  # the client's own codes begin with 2
        if code in _AGAIN:
            return Verdict.AGAIN
        if code == _NO_TABLE:
            return Verdict.MISSING
        return Verdict.GONE if code in _AWAY else Verdict.REFUSED

    def tell(self, c: sa.Connection) -> None:
        """Leave something that shows in the counter, where the transaction has not done so."""
        if not c.info[NEWS_TOLD]:
            c.execute(sa.insert(notice), {"at": c.exec_driver_sql(self.clock).scalar_one(), "body": b""})

    def exclusive(self, c: sa.Connection) -> None:
        if not c.exec_driver_sql(f"SELECT GET_LOCK({_ONE_AT_A_TIME}, {LOCK_WAIT})").scalar():
            raise BrokerUnavailable(f"the tables of {self.where} are being made by another for {LOCK_WAIT} seconds")

    def shared(self, c: sa.Connection) -> None:
        c.exec_driver_sql(f"SELECT RELEASE_LOCK({_ONE_AT_A_TIME})").one()

    def guard(self, c: sa.Connection) -> None:
        try:
            for statement in guards.mysql():
                c.exec_driver_sql(statement)
        except sa.exc.DBAPIError as exc:
            if cause_of(exc).args[0] not in _NO_TRIGGERS:
                raise
            log.warning(
                "the database does not check the steps of tasks: no right to make triggers", error=str(exc.orig)
            )

    def session(self, c: sa.Connection) -> Any:
        name = f"gristmill {new_id()}"
        c.exec_driver_sql("SELECT GET_LOCK(%s, 0)", (name,)).one()
        return name

    def end_session(self, c: sa.Connection, session: Any) -> None:
        """By the lock that only it can hold: numbers of connections begin anew with the server."""
        number = c.exec_driver_sql("SELECT IS_USED_LOCK(%s)", (session,)).scalar()
        if number is not None:
            c.exec_driver_sql(f"KILL {int(number)}")

    def _set_up(self, connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            mode = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT}, sql_mode = '{mode}'")
            with suppress(self._dbapi.Error):  # MariaDB only
                cursor.execute(f"SET SESSION idle_transaction_timeout = {IDLE_IN_TRANSACTION}")
            cursor.execute("SELECT @@max_allowed_packet")
            connection.most_bytes = int(cursor.fetchone()[0])


def _checked(dbapi: Any) -> Any:
    """Cursors that refuse what the server would answer by hanging up."""

    class Cursor(dbapi.cursors.Cursor):  # type: ignore[misc]  # the driver is imported when it is used
        def _query(self, q: Any) -> Any:
            most = getattr(self.connection, "most_bytes", 0)
            if most and len(q) >= most - 1:
                raise dbapi.err.DataError(
                    1153, f"a statement of {len(q)} bytes; max_allowed_packet of the server is {most}: raise it"
                )
            return super()._query(q)

    return Cursor
