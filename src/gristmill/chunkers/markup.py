"""Tables as HTML."""

from __future__ import annotations

from collections.abc import Sequence


def html_of(caption: str, head: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> str:
    """Rows as an HTML table, each row on a line."""
    lines = [f"<caption>{_escaped(caption)}</caption>"] if caption else []
    lines += [_row(row, "th") for row in head]
    lines += [_row(row, "td") for row in rows]
    return "\n".join(["<table>", *lines, "</table>"])


def _row(values: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_escaped(value)}</{tag}>" for value in values) + "</tr>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
