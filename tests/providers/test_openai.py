"""The OpenAI-compatible client against a server that throttles, breaks and lies."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest

from gristmill.base.errors import ModelRefused, ModelUnavailable, SettingsError
from gristmill.base.logs import setup_logs
from gristmill.providers.lexical import LexicalEmbedder
from gristmill.providers.openai import OpenAIEmbedder
from gristmill.search.vectors import unpack
from gristmill.testing.clock import FakeClock
from gristmill.testing.endpoints import Reply
from gristmill.testing.fakes import FakeOpenAI, as_base64

KEY = "sk-very-secret-0123456789"
TEXTS = [f"text number {number}" for number in range(5)]

Make = Callable[..., OpenAIEmbedder]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(api_key=KEY).running() as server:
        yield server


@pytest.fixture
def make(server: FakeOpenAI, clock: FakeClock) -> Iterator[Make]:
    made: list[OpenAIEmbedder] = []

    def make(**settings: Any) -> OpenAIEmbedder:
        known: dict[str, Any] = {
            "base_url": server.base_url, "model": "words", "api_key": KEY, "dimensions": 384, "trust_env": False,
            "clock": clock, "pause": clock.pause, "concurrency": 2, "batch": 8,
        }  # fmt: skip
        made.append(OpenAIEmbedder(**known | settings))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


def test_texts_go_out_in_batches_and_come_back_in_order(server: FakeOpenAI, make: Make) -> None:
    assert make(batch=2).embed(TEXTS, "passage") == LexicalEmbedder().embed(TEXTS, "passage")
    assert sorted(len(request.texts) for request in server.seen) == [1, 2, 2]
    assert server.seen[0].body["model"] == "words"


def test_several_requests_are_in_flight_at_once(server: FakeOpenAI, make: Make) -> None:
    server.meeting = threading.Barrier(3, timeout=30)  # nobody passes before three are there
    assert len(make(batch=1, concurrency=3).embed(TEXTS[:3], "passage")) == 3


def test_a_throttled_request_is_repeated_when_the_server_asks_for_it(
    server: FakeOpenAI, make: Make, clock: FakeClock
) -> None:
    server.replies += [Reply(429, headers={"Retry-After": "7"})]
    assert len(make().embed(TEXTS, "passage")) == 5
    assert clock.waits == [7]


def test_a_date_in_retry_after_is_understood(server: FakeOpenAI, make: Make, clock: FakeClock) -> None:
    server.replies += [Reply(503, headers={"Retry-After": formatdate(clock.now() + 11, usegmt=True)})]
    make().embed(TEXTS, "passage")
    assert clock.waits == [pytest.approx(11, abs=1)]


@pytest.mark.parametrize("header", ["", "soon", "nan", "-3", "Fri, 99 Foo 2026"])
def test_a_retry_after_that_says_nothing_leaves_the_usual_delay(
    server: FakeOpenAI, make: Make, clock: FakeClock, header: str
) -> None:
    server.replies += [Reply(429, headers={"Retry-After": header})]
    make().embed(TEXTS, "passage")
    assert len(clock.waits) == 1
    assert 0.25 <= clock.waits[0] <= 0.5


def test_a_longer_wait_than_patience_is_left_to_the_task(server: FakeOpenAI, make: Make, clock: FakeClock) -> None:
    server.replies += [Reply(429, headers={"Retry-After": "900"})]
    with pytest.raises(ModelUnavailable, match="429") as caught:
        make(patience=60).embed(TEXTS, "passage")
    assert caught.value.retry_after == 900
    assert caught.value.retryable
    assert clock.waits == []


def test_throttling_halves_the_requests_in_flight_and_success_brings_them_back(server: FakeOpenAI, make: Make) -> None:
    embedder = make(concurrency=8, batch=1)
    server.replies += [Reply(429)]
    embedder.embed(TEXTS[:1], "passage")
    assert 4 <= embedder.throttle.limit < 5
    for _ in range(40):
        embedder.embed(TEXTS[:1], "passage")
    assert embedder.throttle.limit == 8


def test_requests_throttled_together_lower_the_limit_once(make: Make, clock: FakeClock) -> None:
    throttle = make(concurrency=8).throttle
    began = clock.monotonic()
    clock.move(1)
    throttle.throttled(began=began, asked=None)
    throttle.throttled(began=began, asked=None)
    assert throttle.limit == 4
    throttle.throttled(began=clock.monotonic(), asked=None)
    assert throttle.limit == 2


def test_a_pause_that_the_server_asked_for_holds_for_the_next_call_too(
    server: FakeOpenAI, make: Make, clock: FakeClock
) -> None:
    embedder = make(patience=5)
    server.replies += [Reply(429, headers={"Retry-After": "20"})]
    with pytest.raises(ModelUnavailable):
        embedder.embed(TEXTS, "passage")
    with pytest.raises(ModelUnavailable, match="pause") as caught:
        embedder.embed(TEXTS, "passage")
    assert caught.value.retry_after == pytest.approx(20)
    assert len(server.seen) == 1
    clock.move(20)
    assert len(embedder.embed(TEXTS, "passage")) == 5


@pytest.mark.parametrize(
    "trouble",
    [Reply(500), Reply(503), Reply(408), Reply(0), Reply(200, b"<html>wait"), Reply(200, b'{"error":"busy"}')],
    ids=["500", "503", "408", "dropped connection", "a web page", "an error with status 200"],
)
def test_a_failure_that_may_pass_is_repeated(server: FakeOpenAI, make: Make, clock: FakeClock, trouble: Reply) -> None:
    server.replies += [trouble, trouble]
    assert len(make().embed(TEXTS, "passage")) == 5
    assert len(clock.waits) == 2
    assert clock.waits[1] > clock.waits[0] / 2


def test_failures_that_do_not_pass_end_when_patience_is_used_up(
    server: FakeOpenAI, make: Make, clock: FakeClock
) -> None:
    server.replies += [Reply(500)] * 100
    with pytest.raises(ModelUnavailable, match="500") as caught:
        make(patience=20, breaker_failures=1000).embed(TEXTS, "passage")
    assert sum(clock.waits) <= 20
    assert caught.value.retry_after is not None


def test_a_question_is_given_up_sooner_than_a_passage(server: FakeOpenAI, make: Make, clock: FakeClock) -> None:
    server.replies += [Reply(500)] * 100
    with pytest.raises(ModelUnavailable):
        make(patience=60, query_patience=3, breaker_failures=1000).embed(["why?"], "query")
    assert sum(clock.waits) <= 3


def test_a_server_that_is_not_there_is_unavailable(make: Make) -> None:
    embedder = make(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ModelUnavailable, match=r"127\.0\.0\.1:9/v1/embeddings cannot be reached"):
        embedder.embed(TEXTS, "passage")


def test_an_endpoint_that_keeps_failing_is_left_alone_for_a_while(
    server: FakeOpenAI, make: Make, clock: FakeClock
) -> None:
    embedder = make(breaker_failures=3, breaker_rest=30)
    server.replies += [Reply(500)] * 4
    with pytest.raises(ModelUnavailable, match="left alone"):
        embedder.embed(TEXTS, "passage")
    with pytest.raises(ModelUnavailable, match="left alone") as caught:
        embedder.embed(TEXTS, "passage")
    assert len(server.seen) == 3
    assert 0 < (caught.value.retry_after or 0) <= 30
    clock.move(30)
    with pytest.raises(ModelUnavailable):  # the one that tries finds it as it was
        embedder.embed(TEXTS, "passage")
    assert len(server.seen) == 4
    clock.move(30)
    assert len(embedder.embed(TEXTS, "passage")) == 5
    assert len(embedder.embed(TEXTS, "passage")) == 5


def test_a_refusal_shows_that_the_endpoint_lives(server: FakeOpenAI, make: Make) -> None:
    embedder = make(breaker_failures=2)
    for _ in range(4):
        server.replies += [Reply(500), Reply(400, b'{"error":{"message":"no"}}')]
        with pytest.raises(ModelRefused):
            embedder.embed(TEXTS, "passage")


@pytest.mark.parametrize(
    ("status", "advice"), [(400, "dimensions"), (401, "api_key"), (403, "api_key"), (404, "/v1"), (308, "base_url")]
)
def test_a_refusal_is_not_repeated_and_says_what_to_do(
    server: FakeOpenAI, make: Make, status: int, advice: str
) -> None:
    server.replies += [Reply(status, b'{"error":{"message":"not today"}}')]
    with pytest.raises(ModelRefused, match=f"answered {status}: not today.*{advice}") as caught:
        make().embed(TEXTS, "passage")
    assert len(server.seen) == 1
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "refusal",
    [
        Reply(413),
        Reply(400, b'{"error":{"message":"This model\'s maximum context length is 8192 tokens"}}'),
        Reply(422, b'{"error":"Input validation error: `inputs` must have less than 512 tokens: too many tokens"}'),
        Reply(500, b'{"error":"the input length exceeds the context length"}'),
    ],
    ids=["413", "400", "422", "500"],
)
def test_a_text_that_is_too_long_is_embedded_in_pieces(server: FakeOpenAI, make: Make, refusal: Reply) -> None:
    server.limit, server.refuse_long = 100, refusal
    short, long = "harbour storm", "lease " * 60
    alone = unpack(LexicalEmbedder().embed(["lease"], "passage")[0])
    first, second = (unpack(raw) for raw in make().embed([short, long], "passage"))
    assert float(first @ alone) < 0.5
    assert float(second @ alone) == pytest.approx(1, abs=1e-3)
    assert np.linalg.norm(second) == pytest.approx(1, abs=1e-5)


def test_a_refusal_that_only_sounds_like_too_long_costs_a_few_requests(server: FakeOpenAI, make: Make) -> None:
    server.limit = 0
    with pytest.raises(ModelRefused, match="context length"):
        make().embed(["word " * 400] * 8, "passage")
    assert len(server.seen) < 15


def test_a_text_over_max_tokens_is_cut_before_it_is_sent(server: FakeOpenAI, make: Make) -> None:
    make(max_tokens=50, batch=100).embed(["lease " * 200, "harbour"], "passage")
    sent = [text for request in server.seen for text in request.texts]
    assert len(sent) > 4
    assert max(len(text.split()) for text in sent) <= 50
    assert "".join(sent) == "lease " * 200 + "harbour"


def test_vectors_may_come_as_base64(server: FakeOpenAI, make: Make) -> None:
    embedder = make(encoding_format="base64")
    assert embedder.embed(TEXTS, "passage") == LexicalEmbedder().embed(TEXTS, "passage")
    assert server.seen[0].body["encoding_format"] == "base64"


def test_the_index_decides_the_order(server: FakeOpenAI, make: Make) -> None:
    server.replies += [Reply(edit=lambda answer: answer | {"data": answer["data"][::-1]})]
    assert make().embed(TEXTS, "passage") == LexicalEmbedder().embed(TEXTS, "passage")


def test_a_server_without_index_is_taken_at_its_order(server: FakeOpenAI, make: Make) -> None:
    server.replies += [Reply(edit=lambda answer: {"data": [{"embedding": one["embedding"]} for one in answer["data"]]})]
    assert make().embed(TEXTS, "passage") == LexicalEmbedder().embed(TEXTS, "passage")


def _edit(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda answer: answer | {"data": [one | changes for one in answer["data"]]}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda answer: answer | {"data": answer["data"][1:]}, "4 vectors for 5 texts"),
        (_edit(index=0), "index"),
        (_edit(embedding=[1.0, 2.0]), "2 dimensions where 384"),
        (_edit(embedding=[0.0] * 384), "without direction"),
        (_edit(embedding=as_base64([math.nan] * 384)), "without direction"),
        (_edit(embedding="not base64!"), "base64"),
    ],
    ids=["too few", "doubled index", "wrong dimension", "zero", "NaN", "no base64"],
)
def test_an_answer_that_cannot_be_right_is_refused(
    server: FakeOpenAI, make: Make, edit: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:
    server.replies += [Reply(edit=edit)]
    with pytest.raises(ModelRefused, match=says):
        make().embed(TEXTS, "passage")


def test_the_dimension_is_sent_when_set_and_asked_for_when_not(server: FakeOpenAI, make: Make) -> None:
    assert make(dimensions=64).dim == 64
    assert len(make(dimensions=64).embed(["a b c"], "passage")[0]) == 64 * 4
    assert server.seen[-1].body["dimensions"] == 64
    unset = make(dimensions=None)
    assert unset.dim == 384
    assert "dimensions" not in server.seen[-1].body


def test_prefixes_are_sent_and_are_part_of_the_id(server: FakeOpenAI, make: Make) -> None:
    embedder = make(query_prefix="query: ", passage_prefix="passage: ")
    embedder.embed(["why?"], "query")
    embedder.embed(["because"], "passage")
    assert [request.texts for request in server.seen] == [["query: why?"], ["passage: because"]]
    ids = {embedder.id, make().id, make(dimensions=64).id, make(model="other").id, make(query_prefix="q").id}
    assert len(ids) == 5
    assert make().id == "openai:words/384@1"


def test_one_batch_that_fails_ends_the_call(server: FakeOpenAI, make: Make) -> None:
    server.replies += [Reply(401, b'{"error":"no"}')]
    with pytest.raises(ModelRefused):
        make(batch=1).embed(TEXTS, "passage")


def test_closing_wakes_a_call_that_waits(server: FakeOpenAI, make: Make) -> None:
    made: list[OpenAIEmbedder] = []
    embedder = make(pause=lambda _: made[0].close())
    made.append(embedder)
    server.replies += [Reply(500)]
    with pytest.raises(ModelUnavailable, match="given up"):
        embedder.embed(TEXTS, "passage")


@pytest.mark.parametrize(
    "url", ["", "api.example/v1", "ftp://example/v1", "http://", "http://x:y/v1", "http://[::1/v1"]
)
def test_a_base_url_that_is_no_http_address_is_a_settings_error(make: Make, url: str) -> None:
    with pytest.raises(SettingsError, match="base_url"):
        make(base_url=url)


def test_a_password_in_base_url_is_refused_without_showing_it(make: Make) -> None:
    with pytest.raises(SettingsError, match="api_key") as caught:
        make(base_url="https://me:hunter2@example/v1")
    assert "hunter2" not in str(caught.value)


def test_a_query_in_base_url_is_kept_but_not_shown(server: FakeOpenAI, make: Make) -> None:
    embedder = make(base_url=server.base_url + "/?api-version=hunter2")
    assert "hunter2" not in repr(embedder)
    with pytest.raises(ModelRefused, match="404") as caught:
        embedder.embed(TEXTS, "passage")
    assert "/v1/embeddings?api-version=hunter2" in str(caught.value)  # the server's words, which say what it was asked


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "nön-ascii"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(make: Make, key: str) -> None:
    with pytest.raises(SettingsError, match="api_key") as caught:
        make(api_key=key)
    assert key not in str(caught.value)


def test_white_space_around_a_copied_key_does_not_matter(make: Make) -> None:
    assert len(make(api_key=f" {KEY}\n").embed(TEXTS, "passage")) == 5


def test_the_key_is_never_shown(
    server: FakeOpenAI, make: Make, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """P11: not in errors (the server repeats it in its own words), logs, repr or attributes that get printed."""
    caplog.set_level(logging.DEBUG)
    embedder = make(api_key=KEY)
    server.api_key = "another"
    setup_logs("debug")
    try:
        with pytest.raises(ModelRefused, match="Incorrect API key") as refused:
            embedder.embed(TEXTS, "passage")
        server.replies += [Reply(500, f"key {KEY} overloads me".encode())] * 50
        with pytest.raises(ModelUnavailable) as unavailable:
            embedder.embed(TEXTS, "passage")
    finally:
        setup_logs("warning")
    lines = capsys.readouterr().err
    assert lines
    shown = " ".join([repr(refused.value), repr(unavailable.value), repr(embedder), lines, caplog.text])
    assert "overloads me" in shown
    assert KEY not in shown
