"""Changing many rows, each to values of its own, in one statement: on a server every statement is a trip over the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from gristmill.brokers.sql.columns import Text

MOST = 500  # rows of one statement

_PG_TYPES = {"BigInteger": "bigint", "Integer": "integer", "Double": "double precision", "LargeBinary": "bytea"}


class Change:
    """An UPDATE of rows found by ``keys``. Each row binds ``b_<column>`` for its keys and for the columns in ``sets``.

    ``fixed`` are columns that get the same value in every row, ``grows`` those that go up by one.
    """

    def __init__(
        self,
        table: sa.Table,
        keys: Sequence[str],
        sets: Sequence[str] = (),
        *,
        grows: Sequence[str] = (),
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        self._table, self._keys, self._sets, self._grows = table, tuple(keys), tuple(sets), tuple(grows)
        self._fixed = dict(fixed or {})
        self._one_by_one = (
            sa.update(table)
            .where(*(table.c[name] == sa.bindparam(f"b_{name}") for name in keys))
            .values(
                {name: sa.bindparam(f"b_{name}", type_=table.c[name].type) for name in sets}
                | {name: table.c[name] + 1 for name in grows}
                | self._fixed
            )
        )

    def on(self, c: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Change these rows."""
        if not rows:
            return
        if c.dialect.name == "sqlite":
            c.execute(self._one_by_one, rows)
            return
        rows = list({tuple(row[f"b_{name}"] for name in self._keys): row for row in rows}.values())  # the last one wins
        make = self._for_postgresql if c.dialect.name == "postgresql" else self._for_mysql
        for first in range(0, len(rows), MOST):
            piece = rows[first : first + MOST]
            same = [name for name in self._sets if all(row[f"b_{name}"] == piece[0][f"b_{name}"] for row in piece)]
            statement, parameters = make(c.dialect, piece, tuple(same))
            c.exec_driver_sql(statement, tuple(parameters))

    def _for_postgresql(
        self, dialect: sa.Dialect, rows: Sequence[Mapping[str, Any]], same: tuple[str, ...]
    ) -> tuple[str, list[Any]]:
        varying = [*self._keys, *(name for name in self._sets if name not in same)]
        parameters = [self._bound(dialect, name, rows[0]) for name in same]
        parameters += self._fixed.values()
        parameters += [[self._bound(dialect, name, row) for row in rows] for name in varying]
        return self._postgresql_text(same), parameters

    @lru_cache(maxsize=64)  # noqa: B019  the few changes live as long as the program
    def _postgresql_text(self, same: tuple[str, ...]) -> str:
        varying = [*self._keys, *(name for name in self._sets if name not in same)]
        arrays = ", ".join(f"%s::{self._pg_type(name)}[]" for name in varying)
        names = ", ".join(f'"{name}"' for name in varying)
        found = " AND ".join(f't."{name}" = v."{name}"' for name in self._keys)
        fresh = ", ".join(f'"{name}" = v."{name}"' for name in varying if name not in self._keys)
        sets = ", ".join(part for part in (self._plain_sets(same, '"{}" = %s', '"{0}" = t."{0}" + 1'), fresh) if part)
        return f'UPDATE "{self._table.name}" t SET {sets} FROM unnest({arrays}) AS v({names}) WHERE {found}'  # noqa: S608

    def _for_mysql(
        self, dialect: sa.Dialect, rows: Sequence[Mapping[str, Any]], same: tuple[str, ...]
    ) -> tuple[str, list[Any]]:
        varying = [*self._keys, *(name for name in self._sets if name not in same)]
        scalars = [*(self._bound(dialect, name, rows[0]) for name in same), *self._fixed.values()]
        values = [self._bound(dialect, name, row) for row in rows for name in varying]
        if len(varying) == 1:
            places = ", ".join(["%s"] * len(rows))
            sets = self._plain_sets(same, "`{}` = %s", "`{0}` = `{0}` + 1")
            return f"UPDATE `{self._table.name}` SET {sets} WHERE `{varying[0]}` IN ({places})", scalars + values  # noqa: S608
        return self._mysql_text(same, len(rows)), values + scalars

    @lru_cache(maxsize=256)  # noqa: B019
    def _mysql_text(self, same: tuple[str, ...], count: int) -> str:
        varying = [*self._keys, *(name for name in self._sets if name not in same)]
        first = "SELECT " + ", ".join(f"%s AS `{name}`" for name in varying)
        more = " UNION ALL SELECT " + ", ".join(["%s"] * len(varying))
        found = " AND ".join(f"t.`{name}` = v.`{name}`" for name in self._keys)
        fresh = ", ".join(f"t.`{name}` = v.`{name}`" for name in varying if name not in self._keys)
        plain = self._plain_sets(same, "t.`{}` = %s", "t.`{0}` = t.`{0}` + 1")
        sets = ", ".join(part for part in (plain, fresh) if part)
        return f"UPDATE `{self._table.name}` t JOIN ({first}{more * (count - 1)}) v ON {found} SET {sets}"  # noqa: S608

    def _plain_sets(self, same: Sequence[str], given: str, plus_one: str) -> str:
        """The columns that are set alike in all rows."""

        def parts() -> Iterator[str]:
            yield from (given.format(name) for name in (*same, *self._fixed))
            yield from (plus_one.format(name) for name in self._grows)

        return ", ".join(parts())

    def _bound(self, dialect: sa.Dialect, name: str, row: Mapping[str, Any]) -> Any:
        kind = self._table.c[name].type
        value = row[f"b_{name}"]
        return kind.process_bind_param(value, dialect) if isinstance(kind, Text) else value

    def _pg_type(self, name: str) -> str:
        kind = type(self._table.c[name].type).__name__
        return _PG_TYPES.get(kind, "text")
