"""The chunker contract over every registered chunker."""

from __future__ import annotations

import pytest

from gristmill.chunkers import CHUNKERS
from gristmill.ports.chunker import Chunker
from gristmill.testing.chunkers import ChunkerContract


@pytest.mark.parametrize("name", sorted(CHUNKERS.builtin))
class TestChunkers(ChunkerContract):
    @pytest.fixture
    def chunker(self, name: str) -> Chunker:
        return CHUNKERS.load(name)()
