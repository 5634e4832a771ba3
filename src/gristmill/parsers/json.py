"""JSON and JSON lines: records as lines of ``path: value``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from gristmill.base.errors import DamagedDocument
from gristmill.parsers.bounds import Blocks, check_size
from gristmill.parsers.charset import decode
from gristmill.ports.document import Block, ParsedDocument, Range
from gristmill.ports.parser import ParseLimits, Parser, Source

_LINES_OF_A_RECORD = 100  # a larger object is cut at its own members
# Numbers as they are written: 1.10 is a version to somebody, and 64-bit ids do not fit a float.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)


class JsonParser(Parser):
    """One value, one value a line, or several values one after the other. Numbers stay as they are written."""

    name: ClassVar[str] = "json"
    version: ClassVar[int] = 3

    def parse(self, source: Source, limits: ParseLimits, part: Range | None = None) -> ParsedDocument:
        check_size(source, limits)
        text, _ = decode(source.data)
        warnings: list[str] = []
        blocks = Blocks(source.name, limits)
        try:
            for value in _read(text, source.name, warnings):
                blocks.add_all(_blocks(value, "", 1))
        except RecursionError as exc:
            raise DamagedDocument(f"{source.name} is nested too deep to be read.") from exc
        blocks.require_text("holds no values")
        return ParsedDocument("json", blocks, warnings=warnings, parser=f"json/{self.version}", name=source.name)


def _read(text: str, name: str, warnings: list[str]) -> list[Any]:
    """All values; where they are not all JSON, the lines that are, if most of them are."""
    try:
        return list(_values(text))
    except json.JSONDecodeError as exc:
        values = []
        lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        for number, line in lines:
            try:
                values.append(_DECODER.decode(line))
            except json.JSONDecodeError as wrong:
                warnings.append(f"line {number} is not JSON and was left out: {wrong.msg}")
        if not any(isinstance(value, (dict, list)) for value in values) or 2 * len(values) <= len(lines):
            raise DamagedDocument(f"{name} is not JSON: {exc.msg} in line {exc.lineno}.") from exc
        return values


def _values(text: str) -> Iterator[Any]:
    at, size = 0, len(text)
    while True:
        while at < size and text[at] in " \t\r\n,\ufeff":
            at += 1
        if at == size:
            return
        value, at = _DECODER.raw_decode(text, at)
        yield value


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
