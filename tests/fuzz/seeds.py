"""Where fuzzing begins: small right documents, and the smaller ones of the hostile ones."""

from __future__ import annotations

import io

from fuzz import BEFORE, ENDINGS
from gristmill.base.errors import DocumentError
from gristmill.parsers.detect import detect
from parsers import hostile
from samples import SAMPLES

MOST = 4 * 1024  # bytes of a hostile one: it is to be changed, not to be waited for


def seeds(name: str) -> list[bytes]:
    """The documents to begin with for this parser; for what runs before a parser, some of all."""
    mine = [make() for parser, made in SAMPLES.items() for make in made.values() if name in (parser, *BEFORE)]
    for ending, make in hostile.CASES.items():
        data = make() if name in BEFORE or ending.endswith(ENDINGS.get(name, "?")) else b""
        if 0 < len(data) <= MOST and (name in BEFORE or _read_by(ending, data) == name):
            mine.append(data)
    return mine


def _read_by(name: str, data: bytes) -> str:
    try:
        return detect(name, io.BytesIO(data))
    except DocumentError:
        return ""
