"""SqliteDocStore: rooms by dataset, opened when needed."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from gristmill.base.ids import digest
from gristmill.base.logs import get_logger
from gristmill.docstores.sqlite import check, layout, legs
from gristmill.docstores.sqlite.room import Room
from gristmill.ports.docstore import DocStore, Filter, Flaw, Hit, Record, Space, View
from gristmill.search.vectors import unpack

log = get_logger(__name__)

MOST_ROOMS = 64  # open at once
MOST_BYTES = 1024**3  # of vectors in memory
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LAST = "\U0010ffff"  # after any other character
_MERGE = 500  # pages that one upkeep merges in the word index


class SqliteDocStore(DocStore):
    """A file for each dataset: ``<root>/<tenant>/<dataset id>.db``. Several processes may read and write at once."""

    def __init__(self, root: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._root = root
        self._most_bytes = most_bytes
        self._rooms: OrderedDict[tuple[str, str], Room] = OrderedDict()
        self._lock = threading.Lock()

    def write(self, space: Space, records: Sequence[Record]) -> None:
        records = layout.latest(records)
        words = layout.words_of(records)  # before the lock is taken
        if not records:
            return
        with self._room(space).writing() as connection:
            layout.insert(connection, space, records, words)

    def trim(self, space: Space, gen: int, part: int, count: int) -> None:
        room = self._room(space)
        if not room.exists:
            return
        with room.reading() as connection:
            more = connection.execute(
                "SELECT 1 FROM chunk WHERE gen = ? AND part = ? AND ord >= ? LIMIT 1", (gen, part, count)
            ).fetchone()
        if more is None:
            return
        with room.writing() as connection:
            rows = connection.execute(
                "SELECT rid FROM chunk WHERE gen = ? AND part = ? AND ord >= ?", (gen, part, count)
            )
            layout.remove(connection, [row[0] for row in rows.fetchall()])

    def seal(self, space: Space, gen: int) -> int:
        room = self._room(space)
        if not room.exists:
            return 0
        with room.writing() as connection:
            connection.execute("UPDATE chunk SET chunk_id = base_id WHERE gen = ? AND chunk_id <> base_id", (gen,))
            repeats = connection.execute(
                """SELECT rid, base_id, n FROM (SELECT rid, base_id,
                    row_number() OVER (PARTITION BY document_id, base_id ORDER BY part, ord) AS n
                    FROM chunk WHERE gen = ?) WHERE n > 1""",
                (gen,),
            ).fetchall()
            named = [(digest(base_id, str(n)), rid) for rid, base_id, n in repeats]
            connection.executemany("UPDATE chunk SET chunk_id = ? WHERE rid = ?", named)
            [(count,)] = connection.execute("SELECT count(*) FROM chunk WHERE gen = ?", (gen,)).fetchall()
        return int(count)

    def find_terms(self, space: Space, view: View, terms: Sequence[str], limit: int, where: Filter) -> list[Hit]:
        room = self._room(space)
        if not room.exists:
            return []
        with room.reading() as connection:
            query = legs.match(connection, terms)
            found = legs.by_words(connection, query, view, where, limit) if query else []
        return [Hit(rid, score) for rid, score in found]

    def find_vector(self, space: Space, view: View, vector: bytes, limit: int, where: Filter) -> list[Hit]:
        room = self._room(space)
        if not room.exists or limit <= 0:
            return []
        with room.reading() as connection:
            only = legs.allowed(connection, where)
            never = {row[0] for row in connection.execute("SELECT rid FROM chunk WHERE available = 0")}
            matrix = room.matrix(connection, len(vector) // 4)
            found = matrix.best(vector, view, limit, only=only, never=never)
        self._keep_budget(room)
        return [Hit(rid, score) for rid, score in found]

    def score_terms(self, space: Space, terms: Sequence[str], rids: Sequence[int]) -> dict[int, float]:
        room = self._room(space)
        if not rids or not room.exists:
            return {}
        with room.reading() as connection:
            query = legs.match(connection, terms)
            return legs.score_words(connection, query, rids) if query else {}

    def score_vector(self, space: Space, vector: bytes, rids: Sequence[int]) -> dict[int, float]:
        room = self._room(space)
        if not rids or not room.exists:
            return {}
        question = unpack(vector)
        with room.reading() as connection:
            rows = connection.execute(
                "SELECT rid, v FROM vec WHERE rid IN (SELECT value FROM json_each(?)) AND length(v) = ?",
                (legs.json_of(rids), len(vector)),
            )
            return {rid: float(unpack(raw) @ question) for rid, raw in rows}

    def get(self, space: Space, rids: Sequence[int]) -> dict[int, Record]:
        room = self._room(space)
        if not rids or not room.exists:
            return {}
        with room.reading() as connection:
            return dict(layout.shown(connection, "c.rid IN (SELECT value FROM json_each(?))", (legs.json_of(rids),)))

    def parents(self, space: Space, rids: Sequence[int]) -> dict[int, int]:
        room = self._room(space)
        if not rids or not room.exists:
            return {}
        with room.reading() as connection:
            return dict(
                connection.execute(
                    """SELECT c.rid, p.rid FROM chunk c JOIN chunk p ON p.gen = c.gen AND p.part = c.part AND p.ord = c.parent
                    WHERE c.parent >= 0 AND c.rid IN (SELECT value FROM json_each(?))""",
                    (legs.json_of(rids),),
                ).fetchall()
            )

    def named(self, space: Space, view: View, beginning: str, limit: int = 2) -> list[Record]:
        room = self._room(space)
        if not room.exists:
            return []
        # No index: ids are scattered, so keeping one costs writers a third more. Rows of chunk are thin, and this is rare.
        condition, parameters = legs.visible(view)
        mine = f"{condition} AND c.chunk_id >= ? AND c.chunk_id < ? ORDER BY c.chunk_id LIMIT ?"
        with room.reading() as connection:
            rows = layout.shown(connection, mine, [*parameters, beginning, beginning + _LAST, limit])
        return [record for _, record in rows]

    def chunks(
        self, space: Space, view: View, document_id: str, offset: int = 0, limit: int | None = None
    ) -> list[Record]:
        room = self._room(space)
        if not room.exists:
            return []
        condition, parameters = legs.seen(view, Filter(documents=(document_id,)))
        paged = f"{condition} ORDER BY c.gen, c.part, c.ord LIMIT ? OFFSET ?"
        with room.reading() as connection:
            rows = layout.shown(connection, paged, [*parameters, -1 if limit is None else limit, offset])
        return [record for _, record in rows]

    def generations(self, space: Space) -> dict[int, int]:
        room = self._room(space)
        if not room.exists:
            return {}
        with room.reading() as connection:
            return dict(connection.execute("SELECT gen, count(*) FROM chunk GROUP BY gen").fetchall())

    def sweep(self, space: Space, gens: Iterable[int], limit: int = 1000) -> int:
        room = self._room(space)
        if not room.exists:
            return 0
        query = "SELECT rid FROM chunk WHERE gen IN (SELECT value FROM json_each(?)) LIMIT ?"
        wanted = (legs.json_of(gens), limit)
        with room.reading() as connection:  # most sweeps find nothing, and should not stop writers for it
            if not connection.execute(query, wanted).fetchone():
                return 0
        with room.writing() as connection:
            rows = connection.execute(query, wanted).fetchall()
            layout.remove(connection, [row[0] for row in rows])
        return len(rows)

    def check(self, space: Space) -> list[Flaw]:
        room = self._room(space)
        if not room.exists:
            return []
        with room.inspecting() as connection:
            return list(check.check(connection))

    def drop(self, space: Space) -> None:
        self._room(space).delete()
        with self._lock:
            self._rooms.pop((space.tenant, space.dataset_id), None)

    def spaces(self) -> list[tuple[str, str]]:
        found = ((path.parent.name, path.stem) for path in self._root.glob("*/*.db"))
        return sorted(pair for pair in found if all(map(_NAME.fullmatch, pair)))

    def maintain(self, space: Space) -> None:
        room = self._room(space)
        if not room.exists:
            return
        with room.alone() as connection:
            connection.execute("INSERT INTO fts(fts, rank) VALUES ('merge', ?)", (_MERGE,))
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        with self._lock:
            rooms = list(self._rooms.values())
            self._rooms.clear()
        for room in rooms:
            room.close()

    def _room(self, space: Space) -> Room:
        key = (space.tenant, space.dataset_id)
        for name in key:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not an id: letters, digits, '_' and '-'")
        with self._lock:
            room = self._rooms.get(key)
            if room is None:
                room = self._rooms[key] = Room(self._root / space.tenant / f"{space.dataset_id}.db")
            self._rooms.move_to_end(key)
            surplus = self._rooms.popitem(last=False)[1] if len(self._rooms) > MOST_ROOMS else None
        if surplus:
            surplus.close()
        return room

    def _keep_budget(self, used: Room) -> None:
        """Forget the vectors of the rooms that were asked longest ago."""
        with self._lock:
            rooms = list(self._rooms.values())
        held = sum(room.held for room in rooms)
        for room in rooms:
            if held <= self._most_bytes or room is used:
                break
            held -= room.held
            room.forget_vectors()
