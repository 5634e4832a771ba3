"""Keywords and questions by a language model: each chunk once, bounded, and the rest goes on where one is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gristmill.base.errors import InputRefused, ModelUnavailable, SettingsError
from gristmill.catalogs.cache import SqlCache
from gristmill.pipeline.ask import ask
from gristmill.pipeline.parser_config import chunk_settings
from gristmill.ports.cache import StageCache
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.document import Chunk
from gristmill.testing.models import FakeChat

WANTED = ChunkSettings(auto_keywords=2, auto_questions=1)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[StageCache]:
    cache = SqlCache(tmp_path / "cache.db")
    yield cache
    cache.close()


def made(keywords: Sequence[str] = ("lease", "task"), questions: Sequence[str] = ("What is a lease?",)) -> str:
    return json.dumps({"keywords": keywords, "questions": questions})


def run(chunks: list[Chunk], cache: StageCache, *answers: str | Exception, **more: Any) -> tuple[FakeChat, list[str]]:
    chat = FakeChat(*answers, **more)
    return chat, ask(chunks, WANTED, chat, cache, pace=lambda use: None, report=lambda share, message: None)


def test_keywords_and_questions_are_added_to_those_that_are_there(cache: StageCache) -> None:
    chunk = Chunk("A lease is a right.", 5, keywords=["own", "task"])
    chat, warnings = run([chunk], cache, "```json\n" + made(["lease", "task", "right", "more"]) + "\n```")
    assert chunk.keywords == ["own", "task", "lease", "right"]
    assert chunk.questions == ["What is a lease?"]
    [(instruction, text)] = chat.asked
    assert "the 2 words" in instruction
    assert "1 questions" in instruction
    assert text == "A lease is a right."
    assert warnings == []


def test_what_is_not_wanted_is_not_asked_for(cache: StageCache) -> None:
    chunk, chat = Chunk("text", 1), FakeChat(made())
    ask([chunk], ChunkSettings(auto_questions=3), chat, cache, pace=print, report=print)
    assert '"keywords"' not in chat.asked[0][0]
    assert chunk.keywords == []


def test_each_text_is_asked_about_once(cache: StageCache) -> None:
    chunks = [Chunk("one", 1), Chunk("two", 1), Chunk("one", 1), Chunk("parent", 1, searched=False)]
    chat, _ = run(chunks, cache, made(["a"]), made(["b"]))
    assert [text for _, text in chat.asked] == ["one", "two"]
    assert [chunk.keywords for chunk in chunks] == [["a"], ["b"], ["a"], []]
    again = [Chunk("two", 1), Chunk("three", 1)]
    chat, _ = run(again, cache, made(["c"]))
    assert [text for _, text in chat.asked] == ["three"]
    assert [chunk.keywords for chunk in again] == [["b"], ["c"]]


@pytest.mark.parametrize("useless", ["no idea", '{"keywords": "a"}', '{"questions": [1]}', ""])
def test_a_useless_answer_is_asked_for_once_more(cache: StageCache, useless: str) -> None:
    chunks = [Chunk("one", 1), Chunk("two", 1)]
    _, warnings = run(chunks, cache, useless, made(["b"]), made(["a"]))
    assert [chunk.keywords for chunk in chunks] == [["a"], ["b"]]
    assert warnings == []


def test_a_chunk_that_is_refused_costs_itself_only_and_is_tried_another_time(cache: StageCache) -> None:
    chunks = [Chunk("one", 1), Chunk("two", 1)]
    _, [warning] = run(chunks, cache, InputRefused("not decent"), made(["b"]), InputRefused("not decent"))
    assert [chunk.keywords for chunk in chunks] == [[], ["b"]]
    assert "nothing for 1 chunks; the first reason: not decent" in warning
    again = [Chunk("one", 1)]
    run(again, cache, made(["a"]))
    assert again[0].keywords == ["a"]


def test_a_model_that_is_away_costs_the_batch_only(cache: StageCache) -> None:
    chunks = [Chunk(str(n), 1) for n in range(6)]
    with pytest.raises(ModelUnavailable):
        run(chunks, cache, *[made()] * 4, ModelUnavailable("busy"))
    chat, _ = run(chunks, cache, *[made()] * 2)
    assert [text for _, text in chat.asked] == ["4", "5"]


def test_answers_are_bounded(cache: StageCache) -> None:
    chunk = Chunk("x" * 99, 1)
    chat, _ = run([chunk], cache, made([" ", "a\n b", "k" * 999], ["q" * 999] * 50), max_input=10)
    assert chat.asked[0][1] == "x" * 10
    assert [len(one) for one in chunk.keywords] == [3, 100]
    assert [len(one) for one in chunk.questions] == [400]


@pytest.mark.parametrize(("key", "most"), [("auto_keywords", 32), ("auto_questions", 10)])
def test_how_many_may_be_asked_for_is_bounded(key: str, most: int) -> None:
    assert getattr(chunk_settings({key: most}, ChunkSettings()), key) == most
    with pytest.raises(SettingsError, match=key):
        chunk_settings({key: most + 1}, ChunkSettings())
