"""Column types that mean the same on every database.

Names and ids are compared byte by byte (case, accents and trailing spaces count) and sorted by their bytes; moments keep
their microseconds; texts and failures have no length.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

NO_NUL = "\ufffd"  # what PostgreSQL keeps in the place of a NUL, which its texts cannot hold


class Name(sa.TypeDecorator[str]):
    """A short text that is compared: an id, a name, a state."""

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        length: int = vars(self.impl_instance)["length"]
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.VARCHAR(length, charset="utf8mb4", collation=_by_bytes(dialect)))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.VARCHAR(length, collation="C"))
        return dialect.type_descriptor(sa.String(length))


class Words(sa.TypeDecorator[str]):
    """A text of any length."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.LONGTEXT(charset="utf8mb4", collation=_by_bytes(dialect)))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TEXT(collation="C"))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value.replace("\x00", NO_NUL) if value and dialect.name == "postgresql" else value


def _by_bytes(dialect: Any) -> str:
    """The collation that ignores nothing, not even spaces at the end."""
    return "utf8mb4_nopad_bin" if dialect.is_mariadb else "utf8mb4_0900_bin"


Moment = sa.Float().with_variant(sa.Double(), "mysql")  # seconds; FLOAT there has 24 bits
Data = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")
Serial = sa.Integer().with_variant(sa.BigInteger(), "postgresql", "mysql")  # SQLite's own counts in INTEGER alone

TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}  # row locks, and texts of all languages
