"""How many tokens a text has: cl100k_base, the count that the source documents size chunks by.

The tables are loaded at the first count: they take half a second and 70 MB.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from gristmill.base.registry import imported


@cache
def _encoding() -> Any:
    return imported("bpe_openai").get_encoding("cl100k_base")


def count_tokens(text: str) -> int:
    """The exact number of cl100k_base tokens of ``text``."""
    return len(_encoding().encode_ordinary(text))
