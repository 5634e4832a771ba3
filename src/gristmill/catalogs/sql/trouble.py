"""What a database's error means for the step that met it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import sqlalchemy as sa


class Trouble(Enum):
    """What is to be done about an error."""

    REFUSED = "refused"  # the database does not allow this step: it will not, next time
    AGAIN = "again"  # of several steps at once this one was undone: to be repeated
    LOST = "lost"  # the connection or the server is gone: to be repeated with a new one
    DENIED = "denied"  # user, password, name or rights: somebody has to mend a setting
    DOWN = "down"  # anything else


# SQLSTATE by its beginning. https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL = (
    (("23", "22"), Trouble.REFUSED),
    (("40", "55P03"), Trouble.AGAIN),  # deadlock, serialization; a lock waited for too long
    (("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25006"), Trouble.LOST),  # shutting down, starting, a standby
    (("28", "3D000", "42501"), Trouble.DENIED),
)
_MYSQL = {
    Trouble.REFUSED: (1644, 1062, 1048, 1264, 1366, 1406, 3819, 4025),  # a guard, a key, a value, a check
    Trouble.AGAIN: (1205, 1213, 1020),  # lock wait, deadlock, changed since it was read
    Trouble.LOST: (0, 1053, 1077, 1079, 1152, 1184, 1290, 1836, 1927, 2003, 2006, 2013, 2014, 2045, 2055, 4031),
    Trouble.DENIED: (1044, 1045, 1049, 1142, 1227, 1370, 1419, 1698),
}
_BY_NUMBER = {number: trouble for trouble, numbers in _MYSQL.items() for number in numbers}


def of_sqlite(error: sa.exc.DBAPIError) -> Trouble:
    """A file: it waits for its lock by itself."""
    return Trouble.REFUSED if isinstance(error, sa.exc.IntegrityError) else Trouble.DOWN


def of_postgresql(error: sa.exc.DBAPIError) -> Trouble:
    """By SQLSTATE; without one it is the driver who speaks, and it only speaks of its connection."""
    state = _sqlstate(error.orig)
    if not state:
        return Trouble.LOST if isinstance(error, sa.exc.InterfaceError | sa.exc.OperationalError) else Trouble.DOWN
    return next((trouble for beginnings, trouble in _POSTGRESQL if state.startswith(beginnings)), Trouble.DOWN)


def of_mysql(error: sa.exc.DBAPIError) -> Trouble:
    """By the server's or the driver's number."""
    first = next(iter(error.orig.args), None) if error.orig else None
    return _BY_NUMBER.get(first, Trouble.DOWN) if isinstance(first, int) else Trouble.DOWN


def said(error: BaseException) -> str:
    """The database's own sentence."""
    cause: Any = getattr(error, "orig", None) or error
    first = next(iter(cause.args), None)
    if isinstance(first, dict) and "M" in first:  # pg8000
        return str(first["M"])
    if isinstance(first, int) and len(cause.args) > 1:  # PyMySQL
        return f"{cause.args[1]} ({first})"
    return str(cause)


def _sqlstate(cause: Any) -> str:
    first = next(iter(cause.args), None) if cause else None
    if isinstance(first, dict):
        return str(first.get("C", ""))
    return str(getattr(cause, "sqlstate", "") or "")
