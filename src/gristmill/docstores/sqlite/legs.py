"""Filters and the word leg as SQL. Terms and names only ever travel as parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gristmill.ports.docstore import Condition, Filter, View

# FTS5 reads every posting of every term (it has no WAND): the rarest terms decide the order, the others only cost.
MOST_TERMS = 8
_BM25 = "-bm25(fts, 2.0, 1.0, 2.0, 2.0)"  # title, text, keywords, questions


def json_of(values: Iterable[int] | Iterable[str] | Iterable[tuple[int, int]]) -> str:
    """A list as one parameter, for ``json_each``."""
    return msgspec.json.encode(list(values)).decode()


def seen(view: View, where: Filter) -> tuple[str, list[Any]]:
    """The condition on ``chunk c`` of what a reader may see and wants to see."""
    condition, parameters = visible(view)
    narrow, more = narrowed(where)
    return " AND ".join([condition, "c.available = 1", *narrow]), parameters + more


def visible(view: View) -> tuple[str, list[Any]]:
    """The condition on ``chunk c`` of the generations that a reader may see."""
    condition, parameters = "c.gen <= ?", [view.hi]
    if not view.hidden:
        return condition, parameters
    return f"{condition} AND c.gen NOT IN (SELECT value FROM json_each(?))", [*parameters, json_of(view.hidden)]  # noqa: S608 a constant


def narrowed(where: Filter) -> tuple[list[str], list[Any]]:
    """The conditions of a filter."""
    conditions, parameters = [], []
    for column, wanted in (("c.document_id", where.documents), ("c.kind", where.kinds)):
        if wanted:
            conditions.append(f"{column} IN (SELECT value FROM json_each(?))")  # noqa: S608 two constants
            parameters.append(json_of(wanted))
    if where.tags:
        conditions.append(
            "EXISTS (SELECT 1 FROM json_each(c.tags) t WHERE t.value IN (SELECT value FROM json_each(?)))"
        )
        parameters.append(json_of(where.tags))
    if where.pages:
        conditions.append(
            "EXISTS (SELECT 1 FROM json_each(c.pages) p, json_each(?) r WHERE p.value BETWEEN json_extract(r.value, '$[0]')"
            " AND json_extract(r.value, '$[1]'))"
        )
        parameters.append(json_of(where.pages))
    for one in where.conditions:
        condition, more = _compared(one)
        conditions.append(
            f"EXISTS (SELECT 1 FROM field f, json_each(f.fields) e WHERE f.rid = c.rid AND ({condition}))"  # noqa: S608 see there
        )
        parameters += more
    return conditions, parameters


def _compared(one: Condition) -> tuple[str, list[Any]]:
    """The condition on a field ``e``: operators and question marks, nothing else."""
    sides = one.sides()
    op = "=" if one.op == "!=" else one.op
    compared = [(key, side) for key, side in sides.items() if side is not None]
    met = " OR ".join(f"(e.key = ? AND e.value {op} ?)" for _ in compared) or "0"
    parameters = [value for pair in compared for value in pair]
    if one.op != "!=":  # what is not equal is different, whatever its type
        return met, parameters
    return f"e.key IN (SELECT value FROM json_each(?)) AND NOT ({met})", [json_of(sides), *parameters]  # noqa: S608 see above


def allowed(connection: Any, where: Filter) -> set[int] | None:
    """The rids that a filter admits; None where it admits all."""
    conditions, parameters = narrowed(where)
    if not conditions:
        return None
    query = f"SELECT c.rid FROM chunk c WHERE {' AND '.join(conditions)}"  # noqa: S608 constants of this file
    return {row[0] for row in connection.execute(query, parameters)}


def match(connection: Any, terms: Sequence[str]) -> str:
    """The rarest of these terms as an FTS5 query; "" if none of them occurs."""
    rarity = {
        term: found[0]
        for term in dict.fromkeys(terms)
        if (found := connection.execute("SELECT doc FROM vocab WHERE term = ?", (term,)).fetchone())
    }
    rarest = sorted(rarity, key=lambda term: rarity[term])[:MOST_TERMS]
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in rarest)


def by_words(connection: Any, query: str, view: View, where: Filter, limit: int) -> list[tuple[int, float]]:
    """The best rows for a query, best first."""
    condition, parameters = seen(view, where)
    statement = f"""SELECT c.rid, {_BM25} AS score FROM fts JOIN chunk c ON c.rid = fts.rowid
        WHERE fts MATCH ? AND {condition} ORDER BY score DESC, c.rid LIMIT ?"""  # noqa: S608 constants of this file
    return [(row[0], row[1]) for row in connection.execute(statement, [query, *parameters, limit])]


def score_words(connection: Any, query: str, rids: Sequence[int]) -> dict[int, float]:
    """The word scores of these rows."""
    statement = f"SELECT rowid, {_BM25} FROM fts WHERE fts MATCH ? AND rowid IN (SELECT value FROM json_each(?))"  # noqa: S608 constants of this file
    return dict(connection.execute(statement, (query, json_of(rids))).fetchall())
