"""What can be wrong inside a dataset's file."""

from __future__ import annotations

from typing import Any

_LISTED = 5  # examples in one sentence


def check(connection: Any) -> list[str]:
    """Damage, a sentence each."""
    [(state,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    found = [] if state == "ok" else [f"the file is damaged: {state}"]
    dim = connection.execute("SELECT value FROM meta WHERE key = 'dim'").fetchone()
    for what, query in (
        ("chunks without a text", "SELECT rid FROM chunk EXCEPT SELECT rid FROM body"),
        ("texts without a chunk", "SELECT rid FROM body EXCEPT SELECT rid FROM chunk"),
        ("chunks without a vector", "SELECT rid FROM chunk EXCEPT SELECT rid FROM vec"),
        ("vectors without a chunk", "SELECT rid FROM vec EXCEPT SELECT rid FROM chunk"),
        ("chunks without an entry in the word index", "SELECT rid FROM chunk EXCEPT SELECT id FROM fts_docsize"),
        ("entries in the word index without a chunk", "SELECT id FROM fts_docsize EXCEPT SELECT rid FROM chunk"),
        ("vectors of a wrong length", f"SELECT rid FROM vec WHERE length(v) <> {dim[0] * 4 if dim else 0}"),  # noqa: S608 a number
        (
            "chunk ids that occur twice in one generation",
            "SELECT chunk_id FROM chunk GROUP BY gen, document_id, chunk_id HAVING count(*) > 1",
        ),
    ):
        rows = [str(row[0]) for row in connection.execute(query)]
        if rows:
            found.append(f"{len(rows)} {what}: {', '.join(rows[:_LISTED])}")
    return found
