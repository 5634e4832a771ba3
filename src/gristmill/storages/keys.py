"""Which keys an object may have."""

from __future__ import annotations

import re

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199})*")


def is_key(text: str) -> bool:
    """Whether this is a key: no empty or hidden words, so nothing climbs and no temporary file is met."""
    return bool(_KEY.fullmatch(text))


def checked(key: str) -> str:
    """The key, if it is one. Raises ValueError."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not a storage key: words of letters, digits, '.', '_' and '-', parted by '/'")
    return key
