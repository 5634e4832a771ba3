"""What must never be shown."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"

_SECRET_KEY = re.compile(
    r"password|passwd|secret|token(?!s|_num|izer)|api_?key|access_?key|private_?key|credential|authorization|sas", re.I
)
_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]*(?::[^/\s@]*)?@", re.I)


def is_secret(key: str) -> bool:
    """Whether a value under this name is nobody's business."""
    return bool(_SECRET_KEY.search(key))


def masked(value: Any, key: str = "") -> Any:
    """The value with secrets, and credentials inside of URLs, made unreadable."""
    if isinstance(value, dict):
        return {name: masked(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, key) for item in value]
    if key and is_secret(key) and isinstance(value, (str, bytes)):
        return MASK if value else ""
    return _IN_URL.sub(rf"\1{MASK}@", value) if isinstance(value, str) else value
