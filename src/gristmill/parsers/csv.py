"""CSV and its relatives: rows of values parted by a comma, semicolon, tab or bar."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import ClassVar

from gristmill.base.errors import DamagedDocument
from gristmill.parsers.bounds import Blocks, check_size, clean, too_large
from gristmill.parsers.charset import decode
from gristmill.ports.document import Block, Cell, ParsedDocument, Table
from gristmill.ports.parser import WINDOW_CELLS, WINDOW_ROWS, ParseLimits, RowParser, Source

_SAMPLE = 64 * 1024
_PIECE = 1 << 20  # characters
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"[-+]?[\d.,]+%?")
_LONGEST_NAME = 60


class CsvParser(RowParser):
    """One table. The delimiter is found by trying; the first row is a header when it looks like one."""

    name: ClassVar[str] = "csv"
    version: ClassVar[int] = 3

    def windows(self, source: Source, limits: ParseLimits) -> Iterator[ParsedDocument]:
        rows = _rows(source, limits)
        first = next(rows, [])
        heads = 1 if is_header(first) else 0
        for number, taken in enumerate(in_windows(rows, [first][heads:])):
            blocks = Blocks(source.name, limits)
            blocks.add(as_block([first][:heads] + taken, heads))
            if number == 0:
                blocks.require_text("holds no values")
            yield ParsedDocument("csv", blocks, parser=f"csv/{self.version}", name=source.name)


def in_windows(rows: Iterable[list[str]], begun: list[list[str]]) -> Iterator[list[list[str]]]:
    """Rows in windows; the first holds what is ``begun``."""
    taken, cells = [*begun], sum(map(len, begun))
    for row in rows:
        if len(taken) >= WINDOW_ROWS or (taken and cells + len(row) > WINDOW_CELLS):
            yield taken
            taken, cells = [], 0
        taken.append(row)
        cells += len(row)
    yield taken


def as_block(rows: Sequence[Sequence[str]], heads: int) -> Block:
    """Rows as a table block; empty cells are left out."""
    cells = [
        Cell(value, r, c, header=r < heads)
        for r, row in enumerate(rows)
        for c, value in enumerate(row)
        if value.strip()
    ]
    return Block("table", "", table=Table(len(rows), max(map(len, rows), default=0), cells, heads))


def is_header(row: Sequence[str]) -> bool:
    """Whether a first row names its columns: short, different, none empty, none a number."""
    names = [value.strip() for value in row]
    if len(names) < 2 or len(set(names)) < len(names):
        return False
    return all(name and len(name) <= _LONGEST_NAME and not _NUMBER.fullmatch(name) for name in names)


def _rows(source: Source, limits: ParseLimits) -> Iterator[list[str]]:
    check_size(source, limits)
    text = decode(source.data)[0]
    csv.field_size_limit(limits.max_text)
    reader = csv.reader(_lines(text), delimiter=_delimiter(clean(text[:_SAMPLE]), source.name))
    rows = cells = 0
    try:
        for row in reader:
            if not any(row):
                continue
            rows += 1
            cells += len(row)
            if rows > limits.max_rows:
                raise too_large(source.name, "rows", f"more than {limits.max_rows}", limits.max_rows, "max_rows")
            if cells > limits.max_cells:
                raise too_large(source.name, "cells", f"more than {limits.max_cells}", limits.max_cells, "max_cells")
            yield row
    except csv.Error as exc:
        if "field larger" in str(exc):
            found = f"more than {limits.max_text}"
            raise too_large(source.name, "characters in one cell", found, limits.max_text, "max_text") from exc
        raise DamagedDocument(
            f"{source.name} is not a CSV file that can be read: {exc} (line {reader.line_num})."
        ) from exc


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, cleaned a piece at a time: nothing as large as the text is made of it."""
    at = 0
    while at < len(text):
        end = text.find("\n", at + _PIECE)
        end = len(text) if end < 0 else end + 1
        yield from io.StringIO(clean(text[at:end]))
        at = end


def _delimiter(sample: str, name: str) -> str:
    """The character that gives most rows one and the same number of cells, above one."""
    if name.lower().endswith(".tsv"):
        return "\t"
    return max(_DELIMITERS, key=lambda delimiter: _evenness(sample, delimiter))


def _evenness(sample: str, delimiter: str) -> float:
    try:
        widths = [
            len(row) for row in islice(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), 200) if row
        ]
    except csv.Error:
        return 0.0
    wide = Counter(width for width in widths if width > 1)
    return wide.most_common(1)[0][1] / len(widths) if wide else 0.0
