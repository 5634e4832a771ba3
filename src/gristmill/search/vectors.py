"""Vectors as little-endian float32, and the pieces of texts that are too long for one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_DTYPE = np.dtype("<f4")
# Where a text may be cut, best first: a paragraph, a sentence, a clause or word.
_CUTS = tuple(re.compile(pattern) for pattern in (r"\n\s*\n", r"[.!?]\s|[。！？]|\n", r"[\s,;，；、]"))


def pack(vector: npt.ArrayLike) -> bytes:
    """The vector at unit length, as stored. Raises ValueError if it has no direction (zero, or not all finite)."""
    array = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(array))
    if not np.isfinite(length) or length < 1e-12:
        raise ValueError("a vector without direction")
    return (array / length).astype(_DTYPE).tobytes()


def unpack(raw: bytes) -> Floats:
    """The stored vector as an array (not writable)."""
    return np.frombuffer(raw, dtype=_DTYPE)


def average(vectors: Sequence[bytes], weights: Sequence[float]) -> bytes:
    """The weighted mean of stored vectors, at unit length; the heaviest of them where they cancel each other out."""
    if len(vectors) == 1:
        return vectors[0]
    stacked = np.stack([unpack(vector) for vector in vectors]).astype(np.float64)
    try:
        return pack(np.asarray(weights, dtype=np.float64) @ stacked)
    except ValueError:
        return vectors[int(np.argmax(weights))]


def halves(text: str) -> tuple[str, str]:
    """The text in two parts, cut at the best place within its middle half. Nothing is lost; both hold at least 1 character."""
    middle, margin = len(text) // 2, len(text) // 4
    for pattern in _CUTS:
        ends = [match.end() for match in pattern.finditer(text, middle - margin, middle + margin)]
        if ends:
            at = min(ends, key=lambda end: abs(end - middle))
            return text[:at], text[at:]
    return text[:middle], text[middle:]
