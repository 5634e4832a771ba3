"""What must never be shown (P11): values under secret names, credentials inside of texts, and every known secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

MASK = "***"
SHORTEST = 6  # characters of a secret that is looked for in texts; shorter ones are parts of ordinary words

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z0-9]+")
_SECRET_WORDS = frozenset(
    "password passwords passwd pwd passphrase secret secrets credential credentials authorization headers cookie bearer sas"
    " apikey accesskey secretkey privatekey".split()
)
_KEYS = frozenset("access account api app encryption master private secret shared signing".split())  # kinds of keys
_PLACES = frozenset("url uri endpoint type algorithm".split())  # say where or how, not what

_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]*(?::[^/\s@]*)?@", re.I)
_IN_TEXT = re.compile(
    r"""((?:password|passwd|pwd|passphrase|secret|api_?key|access_?key|secret_?key|private_?key|[a-z]_token)["']?\s*[:=]\s*["']?)"""
    r"""[^\s"',;&}\])]+""",
    re.I,
)
_IN_QUERY = re.compile(r"([?&](?:sig|signature|token|key|secret|password)=)[^&\s\"'#]+", re.I)
_BEARER = re.compile(r"\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}", re.I)

_known: tuple[str, ...] = ()


def remember(secrets: Iterable[str]) -> None:
    """Have these values masked in every text from now on, longest first."""
    global _known
    found = {secret for secret in secrets if len(secret) >= SHORTEST}
    _known = tuple(sorted({*_known, *found}, key=len, reverse=True))


def is_secret(key: str) -> bool:
    """Whether a value under this name is nobody's business."""
    words = _WORD.findall(_CAMEL.sub("_", key).lower())
    if not words or words[-1] in _PLACES:
        return False
    return (
        words[-1] == "token"
        or any(word in _SECRET_WORDS for word in words)
        or any(word == "key" and before in _KEYS for before, word in pairwise(words))
    )


def masked(value: Any, key: str = "") -> Any:
    """The value as plain data, with everything secret in it made unreadable."""
    secret = bool(key) and is_secret(key)
    if isinstance(value, dict):
        return {name: masked(item, key if secret else str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [masked(item, key) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if secret:
        return MASK if value or value == 0 else ""
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        return masked_text(value)
    return masked_text(repr(value) if isinstance(value, BaseException) else str(value))


def masked_text(text: str) -> str:
    """The text with known secrets, and what looks like credentials, made unreadable."""
    for secret in _known:
        text = text.replace(secret, MASK)
    text = _BEARER.sub(rf"\1 {MASK}", _IN_URL.sub(rf"\1{MASK}@", text))
    return _IN_QUERY.sub(rf"\1{MASK}", _IN_TEXT.sub(rf"\1{MASK}", text))
