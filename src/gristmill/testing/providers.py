"""The contract of embedders: subclass it in a test module, give it an ``embedder`` fixture."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest

from gristmill.ports.model import Embedder
from gristmill.search.vectors import Floats, unpack

TEXTS = (
    "A lease is the right to run a task now.",
    "The harbour was closed because of the storm.",
    "著作权法保护文学、艺术和科学作品。",
    "v1.2 costs 3.14 €",
)
WEIRD = {
    "empty": "",
    "white space": " \n\t\u3000",
    "NUL": "\0",
    "NUL inside": "nul\0inside",
    "half a surrogate pair": "half a pair \ud83d",
    "emoji": "😀👩‍👩‍👧‍👦",
    "one character that normalisation makes eighteen of": "\ufdfa" * 200,
    "combining and right to left": "e\u0301" * 50 + "\u202eright to left",
    "control characters": "\x01\x1f\x7f\ufeff\ufffe",
    "no spaces": "A" * 300,
    "punctuation": "。" * 50,
}


class EmbedderContract:
    """What every embedder guarantees."""

    huge: ClassVar[int] = 100_000  # characters of the over-long text; less where the model is slow

    @pytest.fixture
    def embedder(self) -> Embedder:
        raise NotImplementedError("override this fixture: it gives the embedder under test")

    def test_it_says_who_it_is(self, embedder: Embedder) -> None:
        assert embedder.id
        assert embedder.name
        assert embedder.dim > 0
        assert embedder.batch > 0

    def test_vectors_have_unit_length_and_its_dimension(self, embedder: Embedder) -> None:
        for vector in _vectors(embedder, TEXTS):
            assert vector.shape == (embedder.dim,)
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)

    def test_the_same_text_gives_the_same_vector(self, embedder: Embedder) -> None:
        np.testing.assert_allclose(_vectors(embedder, TEXTS[:2]), _vectors(embedder, TEXTS[:2]), atol=1e-6)

    def test_a_batch_gives_what_single_texts_give_in_their_order(self, embedder: Embedder) -> None:
        together = _vectors(embedder, TEXTS)
        alone = [_vectors(embedder, [text])[0] for text in TEXTS]
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_allclose(_vectors(embedder, TEXTS[::-1]), alone[::-1], atol=1e-5)

    def test_more_texts_than_its_batch_are_all_embedded(self, embedder: Embedder) -> None:
        texts = [f"number {number}" for number in range(embedder.batch + 1)]
        vectors = _vectors(embedder, texts)
        assert len(vectors) == len(texts)
        np.testing.assert_allclose(vectors[-1], _vectors(embedder, texts[-1:])[0], atol=1e-5)

    def test_no_texts_give_no_vectors(self, embedder: Embedder) -> None:
        assert embedder.embed([], "passage") == []

    @pytest.mark.parametrize("text", WEIRD.values(), ids=WEIRD)
    def test_a_weird_text_has_a_vector_like_any_other(self, embedder: Embedder, text: str) -> None:
        (vector,) = _vectors(embedder, [text])
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)

    def test_a_text_longer_than_the_model_reads_has_one_vector_of_all_of_it(self, embedder: Embedder) -> None:
        half = self.huge // 2
        first, second = ("harbour storm " * half)[:half], ("lease task " * half)[:half]
        long, harbour, lease = _vectors(embedder, [f"{first}\n\n{second}", first[:200], second[:200]])
        assert np.linalg.norm(long) == pytest.approx(1, abs=1e-5)
        assert min(long @ harbour, long @ lease) > harbour @ lease

    def test_a_question_is_nearest_to_the_text_that_answers_it(self, embedder: Embedder) -> None:
        (question,) = (unpack(raw) for raw in embedder.embed(["Why was the harbour closed?"], "query"))
        nearness = [float(vector @ question) for vector in _vectors(embedder, TEXTS)]
        assert max(nearness) == nearness[1]

    def test_several_threads_may_use_it_at_once(self, embedder: Embedder) -> None:
        expected = _vectors(embedder, TEXTS[:2])
        with ThreadPoolExecutor(3) as pool:
            for vectors in pool.map(lambda _: _vectors(embedder, TEXTS[:2]), range(3)):
                np.testing.assert_allclose(vectors, expected, atol=1e-5)

    def test_closing_twice_is_closing(self, embedder: Embedder) -> None:
        embedder.close()
        embedder.close()


def _vectors(embedder: Embedder, texts: Sequence[str]) -> list[Floats]:
    return [unpack(raw) for raw in embedder.embed(texts, "passage")]
