"""JSON and JSON lines: records as lines of ``path: value``."""

from __future__ import annotations

import io
import json
from collections.abc import Generator, Iterable, Iterator
from typing import Any, ClassVar

from gristmill.base.errors import DamagedDocument, EmptyDocument
from gristmill.parsers.bounds import Blocks, check_size, too_large
from gristmill.parsers.charset import decode
from gristmill.ports.document import Block, ParsedDocument
from gristmill.ports.parser import WINDOW_CELLS, WINDOW_ROWS, ParseLimits, RowParser, Source

_LINES_OF_A_RECORD = 100  # a larger object is cut at its own members
# Numbers as they are written: 1.10 is a version to somebody, and 64-bit ids do not fit a float.
_BLANK = " \t\r\n"
_MOST_WARNINGS = 20


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys keep all the values that they are given."""
    found = dict(pairs)
    if len(found) < len(pairs):
        values: dict[str, list[Any]] = {}
        for key, value in pairs:
            values.setdefault(key, []).append(value)
        found = {key: several if len(several) > 1 else several[0] for key, several in values.items()}
    return found


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_object)


class JsonParser(RowParser):
    """One value, a list of them, one a line, or several one after the other. Numbers stay as they are written, a key that
    an object has twice has both values. Values are read one by one, and cut into windows between each other."""

    name: ClassVar[str] = "json"
    version: ClassVar[int] = 4

    def windows(self, source: Source, limits: ParseLimits) -> Iterator[ParsedDocument]:
        check_size(source, limits)
        text, _ = decode(source.data)
        warnings: list[str] = []
        found = False
        try:
            for records in _windows(_read(text, source.name, warnings), source.name, limits):
                blocks = Blocks(source.name, limits)
                blocks.add_all(records)
                if blocks:
                    found = True
                    yield ParsedDocument(
                        "json", blocks, parser=f"json/{self.version}", name=source.name, warnings=warnings
                    )
                    warnings = []
        except RecursionError as exc:
            raise DamagedDocument(f"{source.name} is nested too deep to be read.") from exc
        if not found:
            raise EmptyDocument(f"{source.name} holds no values")


def _windows(values: Iterable[Any], name: str, limits: ParseLimits) -> Iterator[list[Block]]:
    """The records of some values after each other, within the size of a window where one value is not larger."""
    window: list[Block] = []
    lines = 0
    for rows, value in enumerate(values, 1):
        records = list(_blocks(value, "", 1))
        size = sum(1 + record.text.count("\n") for record in records)
        if window and (len(window) + len(records) > WINDOW_ROWS or lines + size > WINDOW_CELLS):
            yield window
            window, lines = [], 0
        window += records
        lines += size
        if rows > limits.max_rows:
            raise too_large(name, "records", f"more than {limits.max_rows}", limits.max_rows, "max_rows")
    yield window


def _read(text: str, name: str, warnings: list[str]) -> Iterator[Any]:
    """All values; where they are not all JSON, the lines that are, if most of them are. The text is read twice for it."""
    try:
        for _ in _values(text):
            pass
    except json.JSONDecodeError as exc:
        if not _mostly_json(text, warnings):
            raise DamagedDocument(f"{name} is not JSON: {exc.msg} in line {exc.lineno}.") from exc
        return (value for _, value in _lines_of(text) if not isinstance(value, json.JSONDecodeError))
    return _values(text)


def _mostly_json(text: str, warnings: list[str]) -> bool:
    good = bad = 0
    records = False
    for number, value in _lines_of(text):
        if isinstance(value, json.JSONDecodeError):
            bad += 1
            if bad <= _MOST_WARNINGS:
                warnings.append(f"line {number} is not JSON and was left out: {value.msg}")
        else:
            good += 1
            records = records or isinstance(value, (dict, list))
    if bad > _MOST_WARNINGS:
        warnings.append(f"{bad - _MOST_WARNINGS} more lines are not JSON and were left out")
    return records and good > bad


def _lines_of(text: str) -> Iterator[tuple[int, Any]]:
    """Each line with its number, from 1: its value, or why it is none."""
    for number, line in enumerate(io.StringIO(text), 1):
        if line.strip():
            try:
                yield number, _DECODER.decode(line.strip().removeprefix("\ufeff"))
            except json.JSONDecodeError as wrong:
                yield number, wrong


def _values(text: str) -> Iterator[Any]:
    """The values that follow each other; of a list of objects or lists its items."""
    at = _skip(text, 0, " \t\r\n,\ufeff")
    while at < len(text):
        inside = _skip(text, at + 1, _BLANK)
        if text[at] == "[" and text[inside : inside + 1] in ("{", "["):
            at = yield from _items(text, inside)
        else:
            value, at = _DECODER.raw_decode(text, at)
            yield value
        at = _skip(text, at, " \t\r\n,\ufeff")


def _items(text: str, at: int) -> Generator[Any, None, int]:
    """The items of a list, from the first on; where the list ends."""
    while True:
        value, at = _DECODER.raw_decode(text, at)
        yield value
        at = _skip(text, at, _BLANK)
        if text[at : at + 1] == "]":
            return at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1, _BLANK)


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _blocks(value: Any, name: str, level: int) -> Iterator[Block]:
    """A record for each object; an object too large for one becomes a heading and its members."""
    if isinstance(value, list):
        yield from _of_list(value, name, level)
        return
    lines = list(_lines(value, ""))
    if not isinstance(value, dict) or len(lines) <= _LINES_OF_A_RECORD:
        yield Block("record", "\n".join(lines), attrs={"path": name} if name else {})
        return
    plain = {key: item for key, item in value.items() if not isinstance(item, (dict, list))}
    if plain:
        yield Block("record", "\n".join(_lines(plain, "")))
    for key, item in value.items():
        if isinstance(item, (dict, list)):
            yield Block("heading", key, level=level)
            yield from _blocks(item, f"{name}.{key}" if name else key, level + 1)


def _of_list(value: list[Any], name: str, level: int) -> Iterator[Block]:
    if any(isinstance(item, (dict, list)) for item in value):
        for item in value:
            yield from _blocks(item, name, level)
    else:
        yield Block("record", "\n".join(_lines(value, "")), attrs={"path": name} if name else {})


def _lines(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _lines(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        if any(isinstance(item, (dict, list)) for item in value):
            for number, item in enumerate(value):
                yield from _lines(item, f"{path}[{number}]")
        elif value:
            shown = ", ".join(_shown(item) for item in value)
            yield f"{path}: {shown}" if path else shown
    else:
        yield f"{path}: {_shown(value)}" if path else _shown(value)


def _shown(value: Any) -> str:
    return {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else value
