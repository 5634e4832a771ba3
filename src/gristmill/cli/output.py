"""What commands print: JSON, tables, and text from documents, which must not drive the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from gristmill.ports.docstore import Record
from gristmill.ports.document import Box

# Control characters (escape sequences begin with one), and marks that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # what JSON itself leaves as it is
_SURROGATES = re.compile("[\ud800-\udfff]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def printable(text: str, *, lines: bool = False) -> str:
    """Text for a terminal: what could move the cursor or change colours is replaced. ``lines`` keeps line ends."""
    text = _SURROGATES.sub("\ufffd", _CONTROL.sub("\ufffd", text))
    return text if lines else " ".join(text.split())


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    text = msgspec.json.encode(value).decode()
    sys.stdout.write(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest value."""
    shown = [[printable(str(value)) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[n]) for row in shown)]) for n, name in enumerate(head)]
    for row in [list(head), *shown]:
        click.echo("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def when(seconds: float | None) -> str:
    """A moment, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def duration(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def positions_of(boxes: Sequence[Box]) -> list[list[float]]:
    """Boxes in the source's order: page, left, right, top, bottom; in points from the top left."""
    return [[box.page, box.x0, box.x1, box.y0, box.y1] for box in boxes]


def own_fields(record: Record) -> dict[str, Any]:
    """What only some chunks have: their parent, a title of their own, the values of a row."""
    return {"parent": record.parent_id, "title": record.title, "fields": record.fields}


def pages_of(pages: Sequence[int]) -> str:
    """Page numbers as ranges: ``p. 3-5, 9``."""
    ranges: list[list[int]] = []
    for page in pages:
        if ranges and page == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], page]
        else:
            ranges.append([page])
    return "p. " + ", ".join("-".join(map(str, one)) for one in ranges) if ranges else ""
