"""Which keys an object may have."""

from __future__ import annotations

import re

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199})*")


def checked(key: str) -> str:
    """The key, if it is one: no empty or hidden words, so nothing climbs and no temporary file is met."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a storage key: words of letters, digits, '.', '_' and '-', parted by '/'")
    return key
