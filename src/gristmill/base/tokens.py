"""How many tokens a text has: cl100k_base, the count that the source documents size chunks by."""

from __future__ import annotations

from functools import cache
from typing import Any

import bpe_openai


@cache
def _encoding() -> Any:
    return bpe_openai.get_encoding("cl100k_base")


def count_tokens(text: str) -> int:
    """The exact number of cl100k_base tokens of ``text``."""
    return len(_encoding().encode_ordinary(text))
