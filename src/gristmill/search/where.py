"""Conditions on the fields of records, as people write them: ``price >= 10 and "Unit name" = kg``. Pure.

Nothing of the text reaches a store but as a value: a condition is a column's name, one of six operators, and a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

from gristmill.base.errors import QueryError
from gristmill.ports.docstore import Condition, Operator

MOST = 32  # conditions of one search
LONGEST = 2_000  # characters of them all

_QUOTED = r'"(?:[^"]|"")*"'
_CONDITION = re.compile(
    rf'\s*(?P<column>{_QUOTED}|[^=<>!"]+)\s*(?P<op>>=|<=|!=|=|<|>)\s*(?P<value>{_QUOTED}|[^=<>!"\s][^"]*?)\s*(?:\band\b|$)',
    re.IGNORECASE,
)
_WHOLE = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(?:\d{1,300}(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?")
_MOMENT = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[ T](\d\d?):(\d\d)(?::(\d\d))?)?)?)?")
_FLAGS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_SHAPE = 'it is COLUMN OP VALUE, where OP is one of = != < <= > >=, several joined by "and"'


def conditions(texts: Iterable[str]) -> tuple[Condition, ...]:
    """All that is asked of a record's fields. Raises QueryError, which says what a condition looks like.

    A name or value that holds one of ``=<>!"`` or the word *and* stands in double quotes, one inside doubled. A value in
    quotes is a text and nothing else; without, it is a number, a date or yes and no, where it looks like one.
    """
    texts = list(texts)
    if sum(map(len, texts)) > LONGEST:
        raise QueryError(f"the conditions have more than {LONGEST:,} characters: ask for less")
    found = tuple(one for text in texts for one in _conditions(text))
    if len(found) > MOST:
        raise QueryError(f"there are {len(found)} conditions; at most {MOST} are possible")
    return found


def _conditions(text: str) -> Iterator[Condition]:
    at = 0
    while True:
        match = _CONDITION.match(text, at)
        if match is None or not match["column"].strip(' "'):
            raise QueryError(f"the condition {text!r} cannot be read: {_SHAPE}")
        yield _condition(_plain(match["column"]), cast("Operator", match["op"]), match["value"])
        if match.end() == len(text) and not match[0].lower().endswith("and"):
            return
        at = match.end()


def _condition(column: str, op: Operator, value: str) -> Condition:
    if value.startswith('"'):
        return Condition(column, op, _plain(value))
    return Condition(column, op, value, _number(value), _moment(value), _FLAGS.get(value.lower()))


def _plain(word: str) -> str:
    word = word.strip()
    return word[1:-1].replace('""', '"') if word.startswith('"') else word


def _number(value: str) -> int | float | None:
    if _WHOLE.fullmatch(value):
        return int(value)
    return float(value) if _NUMBER.fullmatch(value) else None


def _moment(value: str) -> str | None:
    """The beginning of the year, month, day or minute that is meant."""
    match = _MOMENT.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(one) if one else None for one in match.groups())
    try:
        found = datetime(year or 1, month or 1, day or 1, hour or 0, minute or 0, second or 0)
    except ValueError:
        return None
    return f"{found:%Y-%m-%d %H:%M:%S}".zfill(19)
