"""The tables of a dataset's file, and how records go in and out of them.

Thin rows apart from fat ones: filters, counts and joins stay in the pages of ``chunk``. A ``rid`` is given once and never
again, so what a reader has seen under a rid never changes. ``fts`` keeps no text of its own; its tokens are ours, parted at
spaces (every other character is declared part of a word), for they may hold points and combining marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gristmill.base.errors import Conflict
from gristmill.ports.docstore import Record, Space
from gristmill.ports.document import Box
from gristmill.search.tokens import tokenize

VERSION = 2  # PRAGMA user_version
_AT_ONCE = 4096

# What version 2 added, apart from columns of ``chunk``.
ADDED = (
    """CREATE TABLE field(rid INTEGER PRIMARY KEY, fields TEXT NOT NULL)""",
    # However a chunk goes, nothing of it stays, and readers that keep vectors in memory are told.
    """CREATE TRIGGER chunk_gone AFTER DELETE ON chunk BEGIN
        DELETE FROM fts WHERE rowid = OLD.rid; DELETE FROM vec WHERE rid = OLD.rid; DELETE FROM body WHERE rid = OLD.rid;
        DELETE FROM field WHERE rid = OLD.rid; UPDATE meta SET value = value + 1 WHERE key = 'removed'; END""",
)
TABLES = (
    """CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE chunk(
        rid INTEGER PRIMARY KEY AUTOINCREMENT, gen INTEGER NOT NULL, part INTEGER NOT NULL, ord INTEGER NOT NULL,
        base_id TEXT NOT NULL, chunk_id TEXT NOT NULL, document_id TEXT NOT NULL, kind TEXT NOT NULL,
        tags TEXT NOT NULL, available INTEGER NOT NULL, tokens INTEGER NOT NULL, created REAL NOT NULL,
        parent INTEGER NOT NULL DEFAULT -1, pages TEXT NOT NULL DEFAULT '[]', UNIQUE(gen, part, ord))""",
    """CREATE INDEX chunk_document ON chunk(document_id, gen, part, ord)""",
    """CREATE INDEX chunk_unavailable ON chunk(rid) WHERE available = 0""",
    """CREATE TABLE body(rid INTEGER PRIMARY KEY, content TEXT NOT NULL, rest BLOB NOT NULL)""",
    """CREATE TABLE vec(rid INTEGER PRIMARY KEY, v BLOB NOT NULL)""",
    """CREATE VIRTUAL TABLE fts USING fts5(title, toks, important, questions, content='', contentless_delete=1,
        tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* P* S* Co Cs Cn Cf'")""",
    """CREATE VIRTUAL TABLE vocab USING fts5vocab(fts, 'row')""",
    """INSERT INTO meta VALUES ('removed', 0)""",
    *ADDED,
)

WORDS = "INSERT INTO fts(rowid, title, toks, important, questions) VALUES (?,?,?,?,?)"
_INSERTS = (
    """INSERT INTO chunk(rid, gen, part, ord, base_id, chunk_id, document_id, kind, tags, available, tokens, created,
        parent, pages) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)""",
    "INSERT INTO body VALUES (?,?,?)",
    "INSERT INTO vec VALUES (?,?)",
    WORDS,
)
_FIELDS = "INSERT INTO field VALUES (?,?)"
_SHOWN = """SELECT c.rid, c.gen, c.part, c.ord, c.chunk_id, c.document_id, c.kind, c.tags, c.available, c.tokens, c.created,
    b.content, b.rest, c.parent, p.chunk_id, f.fields FROM chunk c JOIN body b ON b.rid = c.rid
    LEFT JOIN chunk p ON c.parent >= 0 AND p.gen = c.gen AND p.part = c.part AND p.ord = c.parent
    LEFT JOIN field f ON f.rid = c.rid"""


class Rest(msgspec.Struct, array_like=True):
    """What no filter asks for, in one value."""

    document: str
    pages: list[int]
    boxes: list[Box]
    path: list[str]
    asset: str
    keywords: list[str]
    questions: list[str]
    title: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Rest).decode


def create(connection: Any) -> None:
    """Make the tables. Call within a transaction."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={VERSION}")


def upgrade(connection: Any) -> None:
    """Bring a file of version 1 to this one, with all that is in it. Call within a transaction."""
    connection.execute("ALTER TABLE chunk ADD COLUMN parent INTEGER NOT NULL DEFAULT -1")
    connection.execute("ALTER TABLE chunk ADD COLUMN pages TEXT NOT NULL DEFAULT '[]'")
    connection.execute("DROP TRIGGER chunk_gone")
    for statement in ADDED:
        connection.execute(statement)
    rows = connection.execute("SELECT rid, rest FROM body")
    while batch := rows.fetchmany(_AT_ONCE):
        paged = [(_text(pages), rid) for rid, raw in batch if (pages := _decode(raw).pages)]
        connection.executemany("UPDATE chunk SET pages = ? WHERE rid = ?", paged)
    connection.execute(f"PRAGMA user_version={VERSION}")


def latest(records: Sequence[Record]) -> list[Record]:
    """Of records with one place, the last."""
    return list({(one.gen, one.part, one.ord): one for one in records}.values())


def words_of(records: Sequence[Record]) -> list[tuple[str, str, str, str]]:
    """The columns of ``fts``. It costs, so it is done before the write lock is taken."""
    return [
        (
            _joined([one.title or one.document.rsplit(".", 1)[0], *one.path]),
            _joined([one.content]),
            _joined([*one.keywords, *one.tags]),
            _joined(one.questions),
        )
        for one in records
    ]


def insert(
    connection: Any, space: Space, records: Sequence[Record], words: Sequence[tuple[str, str, str, str]]
) -> None:
    """Add records in the place of those with the same (gen, part, ord)."""
    _check_dim(connection, space, records)
    remove(connection, _same_places(connection, records))
    [(last,)] = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'chunk'").fetchall()
    rows = [_rows(last + n, record, word) for n, (record, word) in enumerate(zip(records, words, strict=True), 1)]
    for number, statement in enumerate(_INSERTS):
        connection.executemany(statement, [row[number] for row in rows])
    fields = [(last + n, _text(one.fields)) for n, one in enumerate(records, 1) if one.fields]
    connection.executemany(_FIELDS, fields)


def remove(connection: Any, rids: Sequence[int]) -> None:
    """Delete records with all that hangs on them."""
    connection.executemany("DELETE FROM chunk WHERE rid = ?", [(rid,) for rid in rids])


def shown(connection: Any, where: str, parameters: Sequence[Any]) -> list[tuple[int, Record]]:
    """Records without their vectors. ``where`` may continue with an order and a limit."""
    return [(row[0], _record(row)) for row in connection.execute(f"{_SHOWN} WHERE {where}", parameters)]


def _rows(rid: int, one: Record, words: tuple[str, str, str, str]) -> tuple[tuple[Any, ...], ...]:
    rest = Rest(one.document, one.pages, one.boxes, one.path, one.asset, one.keywords, one.questions, one.title)
    place = (rid, one.gen, one.part, one.ord, one.chunk_id, one.chunk_id, one.document_id, one.kind)
    return (
        (*place, _text(one.tags), int(one.available), one.tokens, one.created, one.parent, _text(one.pages)),
        (rid, one.content, _encode(rest)),
        (rid, one.vector),
        (rid, *words),
    )


def _record(row: tuple[Any, ...]) -> Record:
    rest = _decode(row[12])
    return Record(
        gen=row[1],
        part=row[2],
        ord=row[3],
        chunk_id=row[4],
        document_id=row[5],
        document=rest.document,
        content=row[11],
        vector=b"",
        tokens=row[9],
        kind=row[6],
        pages=rest.pages,
        boxes=rest.boxes,
        path=rest.path,
        asset=rest.asset,
        keywords=rest.keywords,
        questions=rest.questions,
        tags=msgspec.json.decode(row[7], type=list[str]),
        available=bool(row[8]),
        created=row[10],
        parent=row[13],
        parent_id=row[14] or "",
        title=rest.title,
        fields=msgspec.json.decode(row[15], type=dict[str, int | float | str]) if row[15] else {},
    )


def _same_places(connection: Any, records: Sequence[Record]) -> list[int]:
    found: list[int] = []
    for gen, part in dict.fromkeys((one.gen, one.part) for one in records):
        ords = [one.ord for one in records if (one.gen, one.part) == (gen, part)]
        found += [
            row[0]
            for row in connection.execute(
                "SELECT rid FROM chunk WHERE gen = ? AND part = ? AND ord IN (SELECT value FROM json_each(?))",
                (gen, part, _text(ords)),
            )
        ]
    return found


def _check_dim(connection: Any, space: Space, records: Sequence[Record]) -> None:
    """One file, one dimension: vectors of different lengths cannot be compared."""
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('dim', ?)", (space.dim,))
    [(dim,)] = connection.execute("SELECT value FROM meta WHERE key = 'dim'").fetchall()
    for one in records:
        if len(one.vector) != dim * 4:
            raise Conflict(
                f"{one.document}: a vector of {len(one.vector) // 4} numbers, but the dataset's vectors have {dim}"
            )


def _joined(texts: Sequence[str]) -> str:
    return " ".join(token for text in texts for token in tokenize(text))


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
