"""How many tokens a text has: cl100k_base, the count that the source documents size chunks by.

The tables are loaded at the first count: they take half a second and 70 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from gristmill.base.registry import imported

_LONGEST = 100_000  # characters given to the encoder at once: it refuses what makes more than 200,000 tokens
_SEAMS = re.compile(r"\n(?=\S)|(?<=[^\W\d_])(?= [^\W\d_])")  # no token reaches over these


@cache
def _encoding() -> Any:
    return imported("bpe_openai").get_encoding("cl100k_base")


def count_tokens(text: str) -> int:
    """The number of cl100k_base tokens of ``text``: exact, but for a text of more than 100,000 characters that has a
    stretch as long without any blank or line end; then at most a token too many for each such stretch."""
    if len(text) <= _LONGEST:
        return len(_encoding().encode_ordinary(text))
    return sum(len(_encoding().encode_ordinary(piece)) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    first = 0
    while len(text) - first > _LONGEST:
        last = first + _LONGEST
        seams: list[int] = []
        for back in (1_000, _LONGEST - 1):  # near the end as a rule; anywhere if it must be
            seams = seams or [seam.end() for seam in _SEAMS.finditer(text, last - back, last)]
        cut = seams[-1] if seams else last
        yield text[first:cut]
        first = cut
    yield text[first:]
