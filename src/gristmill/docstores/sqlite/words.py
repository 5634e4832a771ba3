"""Which words a file's index was made of, and the index made anew when words have become others."""

from __future__ import annotations

from typing import Any

from gristmill.docstores.sqlite import layout
from gristmill.search import tokens

_AT_ONCE = 1024  # records in memory


def are_old(connection: Any) -> bool:
    """Whether the index was made by a release that cut texts into other words."""
    kept = connection.execute("SELECT value FROM meta WHERE key = 'words'").fetchone()
    return (kept[0] if kept else 1) < tokens.VERSION


def note(connection: Any) -> None:
    """Write down that the index is of the words of today."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('words', ?)", (tokens.VERSION,))


def renew(connection: Any) -> None:
    """Make the index anew from the texts beside it. Call within a transaction: readers see the old one until the end."""
    connection.execute("INSERT INTO fts(fts) VALUES ('delete-all')")
    last = -1
    while found := layout.shown(connection, "c.rid > ? ORDER BY c.rid LIMIT ?", (last, _AT_ONCE)):
        words = layout.words_of([record for _, record in found])
        rows = [(rid, *columns) for (rid, _), columns in zip(found, words, strict=True)]
        connection.executemany(layout.WORDS, rows)
        last = found[-1][0]
    note(connection)
