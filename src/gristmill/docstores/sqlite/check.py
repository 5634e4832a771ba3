"""What can be wrong inside a dataset's file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gristmill.ports.docstore import Flaw

# What is missing at a chunk: each query gives the chunk's document and generation, and how many there are of them.
_OF_CHUNKS = (
    (
        "{n} chunks without their parent",
        """SELECT c.rid FROM chunk c LEFT JOIN chunk p ON p.gen = c.gen AND p.part = c.part AND p.ord = c.parent
            WHERE c.parent >= 0 AND p.rid IS NULL""",
    ),
    ("{n} chunks without a text", "SELECT rid FROM chunk EXCEPT SELECT rid FROM body"),
    ("{n} chunks without a vector", "SELECT rid FROM chunk EXCEPT SELECT rid FROM vec"),
    ("{n} chunks without an entry in the word index", "SELECT rid FROM chunk EXCEPT SELECT id FROM fts_docsize"),
    (
        "{n} vectors of a wrong length",
        "SELECT rid FROM vec WHERE length(v) <> (SELECT value*4 FROM meta WHERE key='dim')",
    ),
)
# What belongs to no chunk.
_STRAYS = (
    ("{n} texts without a chunk", "SELECT rid FROM body EXCEPT SELECT rid FROM chunk"),
    ("{n} vectors without a chunk", "SELECT rid FROM vec EXCEPT SELECT rid FROM chunk"),
    ("{n} rows of fields without a chunk", "SELECT rid FROM field EXCEPT SELECT rid FROM chunk"),
    ("{n} entries in the word index without a chunk", "SELECT id FROM fts_docsize EXCEPT SELECT rid FROM chunk"),
)
_OF_GENERATIONS = (
    (
        "{n} chunk ids that occur more than once",
        """SELECT document_id, gen, count(*) FROM (
            SELECT document_id, gen FROM chunk GROUP BY gen, document_id, chunk_id HAVING count(*) > 1)
            GROUP BY gen, document_id""",
    ),
    (
        "chunks of {n} documents in one generation",
        """SELECT min(document_id), gen, count(DISTINCT document_id) FROM chunk
            GROUP BY gen HAVING count(DISTINCT document_id) > 1""",
    ),
)


def check(connection: Any) -> Iterator[Flaw]:
    """Every damage that the file shows."""
    [(state,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    if state != "ok":
        words = state.replace("*** in database main ***", "").split()
        yield Flaw(f"the file is damaged: {' '.join(words)}")
        return  # what else such a file says is worth nothing
    for sentence, query in _OF_CHUNKS:
        grouped = f"SELECT document_id, gen, count(*) FROM chunk WHERE rid IN ({query}) GROUP BY document_id, gen"  # noqa: S608 constants
        yield from _flaws(connection, sentence, grouped)
    for sentence, query in _STRAYS:
        yield from _flaws(connection, sentence, f"SELECT '', 0, count(*) FROM ({query}) HAVING count(*) > 0")  # noqa: S608 constants
    for sentence, query in _OF_GENERATIONS:
        yield from _flaws(connection, sentence, query)


def _flaws(connection: Any, sentence: str, query: str) -> Iterator[Flaw]:
    for document_id, gen, count in connection.execute(query).fetchall():
        yield Flaw(sentence.format(n=count), document_id, gen)
