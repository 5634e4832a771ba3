"""Column types that keep the same values in every database."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

# PostgreSQL's text holds every character but NUL.
_ESCAPE, _ESCAPED, _NUL = "\x01", "\x01\x01", "\x010"


class Text(sa.TypeDecorator[str]):
    """Text that is compared byte for byte: case, accents and blanks at the end tell two apart."""

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        length = cast("sa.String", self.impl_instance).length
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Text())
        if dialect.name == "mysql":
            exact = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
            if length is None:
                return dialect.type_descriptor(mysql.MEDIUMTEXT(charset="utf8mb4", collation=exact))
            return dialect.type_descriptor(mysql.VARCHAR(length, charset="utf8mb4", collation=exact))
        return dialect.type_descriptor(sa.Text() if length is None else sa.String(length))

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or dialect.name != "postgresql" or not ("\0" in value or _ESCAPE in value):
            return value
        return value.replace(_ESCAPE, _ESCAPED).replace("\0", _NUL)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or _ESCAPE not in value or dialect.name != "postgresql":
            return value
        return _ESCAPE.join(part.replace(_NUL, "\0") for part in value.split(_ESCAPED))


Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by themselves in INTEGER only
Seconds = sa.Double  # MariaDB's FLOAT is not exact to the minute
Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB, "mysql")
