"""New ids and content digests."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import xxhash

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_id() -> str:
    """A fresh id, 32 hex digits, sortable by the millisecond of its creation (a UUID of version 7, RFC 9562)."""
    millis = time.time_ns() // 1_000_000
    chance = os.urandom(10).hex()
    return f"{millis:012x}7{chance[:3]}{_VARIANT[chance[3]]}{chance[4:19]}"


def digest(*parts: str | bytes) -> str:
    """xxh3-128 over the parts, each preceded by its length, so that ("ab", "c") differs from ("a", "bc")."""
    state = xxhash.xxh3_128()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "little"))
        state.update(raw)
    return state.hexdigest()


def content_digest(data: bytes) -> str:
    """sha256 of a document's bytes: the identity of a blob, safe against made collisions."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
