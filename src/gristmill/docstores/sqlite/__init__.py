"""The embedded doc store: one SQLite file for each dataset, words in FTS5, vectors scanned exactly in numpy."""

from __future__ import annotations

from gristmill.docstores.sqlite.store import SqliteDocStore

__all__ = ["SqliteDocStore"]
