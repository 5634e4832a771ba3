"""Tokens are counted exactly, by the native part of the package alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gristmill.base import tokens
from gristmill.base.registry import imported

TEXTS = (
    "",
    "lease",
    "It’s 3.14 €, naïve",
    "租约到期后任务回到队列",
    "<|endoftext|>",
    "\0\n\n  \t",
    "🦆" * 20,
    "a\ud800b",
    "x" * 300,
)


@pytest.mark.parametrize("text", [*TEXTS, "The queue gives a lease.\n" * 9_000], ids=lambda text: repr(text[:8]))
def test_the_count_is_that_of_the_encoding(text: str) -> None:
    """However long the text is, and whatever is in it."""
    encode = imported("bpe_openai").get_encoding("cl100k_base").encode_ordinary
    assert tokens.count_tokens(text) == sum(len(encode(part)) for part in _split(text))


def _split(text: str) -> list[str]:
    """In sentences where it is long: the package refuses more."""
    return [text] if len(text) < 1_000 else [text[n : n + 25] for n in range(0, len(text), 25)]


def test_without_the_native_part_the_package_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is built otherwise gives the same counts."""
    native = [tokens.count_tokens(text) for text in TEXTS]
    monkeypatch.setattr(tokens, "_native", lambda: None)
    tokens._counter.cache_clear()
    assert [tokens.count_tokens(text) for text in TEXTS] == native
    tokens._counter.cache_clear()


def test_counting_loads_no_tables_for_decoding() -> None:
    """And the package works all the same when somebody imports it afterwards."""
    code = """
import sys
from gristmill.base.tokens import count_tokens
assert count_tokens("a lease") == 2
assert "bpe_openai" not in sys.modules
import bpe_openai
assert len(bpe_openai.get_encoding("cl100k_base").encode_ordinary("a lease")) == 2
"""
    subprocess.run([sys.executable, "-c", code], check=True)
