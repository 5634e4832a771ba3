"""Reading the sheets of Excel workbooks: the values that are stored, as a reader would write them."""

from __future__ import annotations

import datetime
import io
import re
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import openpyxl
import python_calamine as calamine
from openpyxl.utils.exceptions import InvalidFileException

from gristmill.base.errors import DamagedDocument, EncryptedDocument
from gristmill.parsers.bounds import check_size, open_zip, too_large
from gristmill.parsers.ole import ERRORS as OLE_ERRORS
from gristmill.parsers.ole import Container
from gristmill.parsers.sheets import Merged, Row
from gristmill.ports.parser import ParseLimits, Source

_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_PLACE = re.compile(rb'\br="([A-Z]{0,4})(\d{1,9})"')  # of a row or cell
_POINT = re.compile(rb"<v>-?\d+\.0</v>")
_LONGEST_PLACE = 32
_OLE = b"\xd0\xcf\x11\xe0"
_FILE_PASS, _FIRST_RECORDS = 0x2F, 16
_PIECE = 1 << 20
_MOST_DENSE = 20_000_000  # cells of the grid that calamine would make, empty ones included
_ERRORS = (
    calamine.CalamineError, calamine.XmlError, calamine.ZipError, InvalidFileException, KeyError, ValueError, OSError,
    zipfile.BadZipFile, TypeError, IndexError, OverflowError,
)  # fmt: skip


class Workbook:
    """The sheets of a workbook, through calamine, or cell by cell where its dense grid would not fit into memory."""

    def __init__(self, source: Source, limits: ParseLimits) -> None:
        self._source, self._limits = source, limits
        self._sparse: Any = None
        self._dense: Any = None
        self._held: tuple[str, Any] | None = None
        self._cells = 0
        self._point = False

    def __enter__(self) -> Workbook:
        data = self._source.data
        check_size(self._source, self._limits)
        if _is_locked(data):
            raise self._locked()
        try:
            extent = _extent(open_zip(self._source, self._limits)) if data.startswith(b"PK") else _Extent()
            self._point = extent.point
            if extent.cells > min(_MOST_DENSE, 4 * self._limits.max_cells):
                self._sparse = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
                self.names = list(self._sparse.sheetnames)
            else:
                self._dense = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
                self.names = list(self._dense.sheet_names)
        except calamine.PasswordError as exc:
            raise self._locked() from exc
        except _ERRORS as exc:
            raise self._damaged(exc) from exc
        if len(self.names) > self._limits.max_pages:
            raise too_large(self._source.name, "sheets", len(self.names), self._limits.max_pages, "max_pages")
        return self

    def __exit__(self, *_: object) -> None:
        for book in (self._sparse, self._dense):
            if book is not None:
                book.close()

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a sheet that hold a value."""
        try:
            for number, values in self._raw(name):
                shown = [_shown(value, point=self._point) for value in values]
                while shown and not shown[-1]:
                    shown.pop()
                if shown:
                    self._count(shown)
                    yield number, shown
        except _ERRORS as exc:
            raise self._damaged(exc) from exc

    def merged(self, name: str) -> Merged:
        """The merged ranges of a sheet: first and last cell, rows and columns from 0."""
        try:
            sheet = self._sheet(name) if self._dense is not None else None
            return list(sheet.merged_cell_ranges or []) if sheet is not None else []
        except _ERRORS:  # old workbooks have none to tell; the values are complete without
            return []

    def _raw(self, name: str) -> Iterator[tuple[int, Sequence[Any]]]:
        if self._sparse is not None:
            yield from _sparse_rows(self._sparse[name])
            return
        sheet = self._sheet(name)
        _, left = sheet.start or (0, 0)
        for number, row in enumerate(sheet.iter_rows()):  # row by row: all of them as Python's objects are too many
            yield number, [""] * left + row

    def _sheet(self, name: str) -> Any:
        """A sheet of the dense reader, which takes long to read: once, and no other is held beside it."""
        if self._held is None or self._held[0] != name:
            self._held = None
            self._held = name, self._dense.get_sheet_by_name(name)
        return self._held[1]

    def _count(self, row: Sequence[str]) -> None:
        self._cells += sum(1 for value in row if value)
        if self._cells > self._limits.max_cells:
            found = f"more than {self._limits.max_cells}"
            raise too_large(self._source.name, "cells", found, self._limits.max_cells, "max_cells")

    def _locked(self) -> EncryptedDocument:
        return EncryptedDocument(
            f"{self._source.name} is protected by a password. Remove the password and submit it again."
        )

    def _damaged(self, exc: BaseException) -> DamagedDocument:
        return DamagedDocument(
            f"{self._source.name} is a damaged workbook ({type(exc).__name__}: {exc}). Open it and save it again."
        )


def _is_locked(data: bytes) -> bool:
    """Whether an old workbook is encrypted: one of its first records says how."""
    if not data.startswith(_OLE):
        return False
    try:
        container = Container(data)
        try:
            stream = container.stream("Workbook") or container.stream("Book")
        finally:
            container.close()
        at = 0
        for _ in range(_FIRST_RECORDS):
            kind, size = struct.unpack_from("<HH", stream, at)
            if kind == _FILE_PASS:
                return True
            at += 4 + size
    except OLE_ERRORS:
        return False  # whoever reads it says what is wrong
    return False


def _sparse_rows(sheet: Any) -> Iterator[tuple[int, Sequence[Any]]]:
    """The rows of a sheet read cell by cell. The empty ones, millions perhaps, are one and the same object."""
    if not hasattr(sheet, "iter_rows"):  # a sheet that is only a chart
        return
    sheet.reset_dimensions()  # what the file says of its size may be a lie
    empty: Sequence[Any] = ()
    for number, values in enumerate(sheet.iter_rows(values_only=True)):
        if values is empty:
            continue
        if any(value is not None for value in values):
            yield number, values
        else:
            empty = values


def _shown(value: Any, *, point: bool) -> str:
    """A value as a reader would write it. ``point``: whole numbers are written as 1.0."""
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if not point and value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        hours, rest = divmod(int(value.total_seconds()), 3600)
        return f"{hours}:{rest // 60:02}:{rest % 60:02}"
    return str(value)


@dataclass
class _Extent:
    """How far the largest sheet reaches, as a dense reader would hold it, and how its whole numbers are written."""

    cells: int = 0
    point: bool = False  # 1.0 and not 1, as some programs write it


def _extent(archive: zipfile.ZipFile) -> _Extent:
    found = _Extent()
    with archive:
        for member in archive.infolist():
            if _SHEET.fullmatch(member.filename):
                with archive.open(member) as stream:
                    _measure(stream, found)
    return found


def _measure(stream: IO[bytes], found: _Extent) -> None:
    rows = columns = 0
    tail = b""
    while piece := stream.read(_PIECE):
        data = tail + piece
        if places := _PLACE.findall(data):
            rows = max(rows, max(map(int, {digits for _, digits in places})))
            columns = max(columns, max(map(_column_number, {letters for letters, _ in places})))
        found.point = found.point or _POINT.search(data) is not None
        tail = data[-_LONGEST_PLACE:]
    found.cells = max(found.cells, rows * max(columns, 1))


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
