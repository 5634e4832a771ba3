"""StageCache: results of stages by digest, so that nothing is computed twice (P13)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence


class StageCache(ABC):
    """Small and large values under digests. Losing it costs time, never truth. Safe for several processes."""

    @abstractmethod
    def get_many(self, kind: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that are known."""

    @abstractmethod
    def put_many(self, kind: str, values: Mapping[str, bytes]) -> None:
        """Keep values; a known key is left alone."""

    @abstractmethod
    def evict(self, *, max_bytes: int) -> int:
        """Forget the least recently written until at most ``max_bytes`` are kept. Returns how many entries went."""

    def close(self) -> None:  # noqa: B027
        """Give up connections."""
