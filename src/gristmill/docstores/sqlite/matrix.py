"""A dataset's vectors in memory, kept in step with the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.ports.docstore import View

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
_READ_AT_ONCE = 4096
_WORTH_PACKING = 0.5  # when less than this share of the rows is alive


class Matrix:
    """The rows of ``vec`` as one array. What is read is never read again: a rid never changes its vector."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._rids = np.empty(0, dtype=np.int64)
        self._gens = np.empty(0, dtype=np.int64)
        self._rows: Floats = np.empty((0, dim), dtype=np.float32)
        self._alive: Bools = np.empty(0, dtype=np.bool_)
        self._count = 0
        self._version = -1
        self._removed = -1

    @property
    def size(self) -> int:
        """Bytes held."""
        return int(self._rows.nbytes + self._rids.nbytes + self._gens.nbytes + self._alive.nbytes)

    def catch_up(self, connection: Any) -> None:
        """Read what is new, forget what is gone. Call within a read transaction."""
        [(version,)] = connection.execute("PRAGMA data_version").fetchall()
        if version == self._version:
            return
        [(removed,)] = connection.execute("SELECT value FROM meta WHERE key = 'removed'").fetchall()
        last = int(self._rids[self._count - 1]) if self._count else 0
        self._read(connection, last)
        if removed != self._removed:
            self._forget(connection)
        self._version, self._removed = version, removed

    def best(
        self, vector: bytes, view: View, limit: int, *, only: set[int] | None, never: set[int]
    ) -> list[tuple[int, float]]:
        """The nearest rows that the view and the sets of rids admit, best first."""
        seen = self._seen(view, only, never)
        if not len(seen):
            return []
        scores = self._rows[: self._count] @ np.frombuffer(vector, dtype="<f4")
        mine = scores[seen]
        if len(seen) > limit:
            picked = np.argpartition(-mine, limit - 1)[:limit]
            seen, mine = seen[picked], mine[picked]
        order = np.lexsort((self._rids[seen], -mine))
        return [(int(self._rids[seen[n]]), float(mine[n])) for n in order]

    def _seen(self, view: View, only: set[int] | None, never: set[int]) -> npt.NDArray[np.int64]:
        gens, rids = self._gens[: self._count], self._rids[: self._count]
        mask = self._alive[: self._count] & (gens <= view.hi)
        if view.hidden:
            mask &= ~np.isin(gens, np.fromiter(view.hidden, dtype=np.int64))
        if never:
            mask &= ~np.isin(rids, np.fromiter(never, dtype=np.int64))
        if only is not None:
            mask &= np.isin(rids, np.fromiter(only, dtype=np.int64, count=len(only)))
        return np.flatnonzero(mask).astype(np.int64)

    def _read(self, connection: Any, last: int) -> None:
        rows = connection.execute(  # one damaged vector should not keep the others from being found
            """SELECT v.rid, c.gen, v.v FROM vec v JOIN chunk c ON c.rid = v.rid
                WHERE v.rid > ? AND length(v.v) = ? ORDER BY v.rid""",
            (last, self.dim * 4),
        )
        while batch := rows.fetchmany(_READ_AT_ONCE):
            first, count = self._count, self._count + len(batch)
            self._grow(count)
            self._rids[first:count] = [row[0] for row in batch]
            self._gens[first:count] = [row[1] for row in batch]
            self._rows[first:count] = np.frombuffer(b"".join(row[2] for row in batch), "<f4").reshape(-1, self.dim)
            self._alive[first:count] = True
            self._count = count

    def _grow(self, count: int) -> None:
        if count <= len(self._rids):
            return
        room = max(count, len(self._rids) * 3 // 2)
        for name in ("_rids", "_gens", "_rows", "_alive"):
            old = getattr(self, name)
            new = np.empty((room, *old.shape[1:]), dtype=old.dtype)
            new[: self._count] = old[: self._count]
            setattr(self, name, new)

    def _forget(self, connection: Any) -> None:
        living = np.fromiter((row[0] for row in connection.execute("SELECT rid FROM chunk")), dtype=np.int64)
        self._alive[: self._count] = np.isin(self._rids[: self._count], living)
        alive = np.flatnonzero(self._alive[: self._count])
        if len(alive) < self._count * _WORTH_PACKING:
            for name in ("_rids", "_gens", "_rows", "_alive"):
                setattr(self, name, getattr(self, name)[alive].copy())
            self._count = len(alive)
