"""Models that read documents behind an OpenAI-compatible server: what is sent, what is made of answers, what goes wrong."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from PIL import Image

from gristmill.base.errors import InputRefused, ModelRefused, ModelUnavailable, SettingsError
from gristmill.base.wavefile import read_wave
from gristmill.ports.model import Answered, Described, Reader, Sound, Spoken
from gristmill.providers.openai import OpenAIChat, OpenAIDescriber, OpenAITranscriber
from gristmill.testing.clock import FakeClock
from gristmill.testing.endpoints import Reply, refusal
from gristmill.testing.models import FakeModelServer, picture_of
from samples import sound

KEY = "sk-very-secret-0123456789"
WAV = sound.tone_wav()
ALL: tuple[type[Reader], ...] = (OpenAITranscriber, OpenAIDescriber, OpenAIChat)

Make = Callable[..., Any]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> Iterator[FakeModelServer]:
    with FakeModelServer(api_key=KEY).running() as server:
        yield server


@pytest.fixture
def make(server: FakeModelServer, clock: FakeClock) -> Iterator[Make]:
    made: list[Reader] = []

    def make(kind: type[Reader], **settings: Any) -> Reader:
        known: dict[str, Any] = {"base_url": server.base_url, "model": "m", "api_key": KEY, "trust_env": False}
        reader: Any = kind
        made.append(reader(**known | {"clock": clock, "pause": clock.pause} | settings))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


def picture(width: int = 100, height: int = 80, mode: str = "RGB", format_: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), **more).save(out, format_)
    return out.getvalue()


def use(reader: Reader) -> Any:
    """One call, whatever it is for."""
    if isinstance(reader, OpenAITranscriber):
        return reader.transcribe(Sound("talk.wav", "audio/wav", WAV))
    if isinstance(reader, OpenAIDescriber):
        return reader.describe([picture()])
    assert isinstance(reader, OpenAIChat)
    return reader.answer("instruction", "text")


class TestAll:
    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize(
        "trouble",
        [Reply(429, headers={"Retry-After": "7"}), Reply(503, headers={"Retry-After": "7"})],
        ids=["throttled", "down"],
    )
    def test_a_request_is_repeated_when_the_server_asks_for_it(
        self, server: FakeModelServer, make: Make, clock: FakeClock, kind: type[Reader], trouble: Reply
    ) -> None:
        server.replies.append(trouble)
        assert use(make(kind))
        assert clock.waits == [7]

    @pytest.mark.parametrize("kind", ALL)
    def test_failures_that_do_not_pass_are_left_to_the_task(
        self, server: FakeModelServer, make: Make, clock: FakeClock, kind: type[Reader]
    ) -> None:
        server.replies += [Reply(0), Reply(500), Reply(200, b"<html>"), Reply(429, headers={"Retry-After": "900"})]
        with pytest.raises(ModelUnavailable) as caught:
            use(make(kind, patience=60))
        assert caught.value.retry_after == 900
        assert len(clock.waits) == 3

    @pytest.mark.parametrize("kind", ALL)
    def test_a_wrong_key_ends_everything_and_is_not_shown(self, make: Make, kind: type[Reader]) -> None:
        reader = make(kind, api_key="sk-wrong")
        with pytest.raises(ModelRefused, match="check api_key") as caught:
            use(reader)
        assert not isinstance(caught.value, InputRefused)
        assert "sk-wrong" not in f"{caught.value} {reader!r}"

    @pytest.mark.parametrize("kind", ALL)
    def test_its_id_is_of_the_model_and_not_of_the_server(self, make: Make, kind: type[Reader]) -> None:
        assert make(kind).id == make(kind, timeout=5.0, concurrency=2).id != make(kind, model="n").id
        assert make(kind).id.startswith("openai:m")

    @pytest.mark.parametrize("kind", ALL)
    def test_an_address_that_is_none_is_named_with_its_use(self, make: Make, kind: type[Reader]) -> None:
        with pytest.raises(SettingsError, match=r"the (transcription|vision|chat) base_url 'file:///etc' is no http"):
            make(kind, base_url="file:///etc")

    @pytest.mark.parametrize("kind", [OpenAITranscriber, OpenAIChat])
    def test_closing_wakes_a_call_that_waits(self, server: FakeModelServer, make: Make, kind: type[Reader]) -> None:
        made: list[Reader] = []
        made.append(make(kind, pause=lambda _: made[0].close()))
        server.replies.append(Reply(500))
        with pytest.raises(ModelUnavailable, match="given up"):
            use(made[0])


class TestTranscriber:
    def test_segments_have_their_times(self, server: FakeModelServer, make: Make) -> None:
        server.said = lambda asked: "Good morning. Good night."
        said = make(OpenAITranscriber, language="en").transcribe(Sound("../talk of J. Roe.WAV", "audio/wav", WAV))
        assert said == [Spoken("Good morning", 0.0, 1.0), Spoken("Good night.", 1.0, 2.0)]
        [asked] = server.seen
        assert asked.path == "/v1/audio/transcriptions"
        assert asked.body == {
            "model": "m",
            "response_format": "verbose_json",
            "timestamp_granularities[]": "segment",
            "language": "en",
        }
        assert (asked.upload, asked.file_name, asked.file_type) == (WAV, "sound.wav", "audio/wav")

    @pytest.mark.parametrize(
        ("name", "mime", "sent"),
        [
            ("a.wav", "audio/mpeg", "sound.mp3"),
            ("a.MKA", "", "sound.mka"),
            ("a.../../x", "", "sound"),
            ("", "", "sound"),
        ],
    )
    def test_the_servers_see_the_kind_and_never_the_name(
        self, server: FakeModelServer, make: Make, name: str, mime: str, sent: str
    ) -> None:
        make(OpenAITranscriber).transcribe(Sound(name, mime, b"\r\n--x\r\n\0\xff"))
        assert (server.seen[0].file_name, server.seen[0].upload) == (sent, b"\r\n--x\r\n\0\xff")

    def test_a_server_that_gives_no_segments_is_asked_for_text_from_then_on(
        self, server: FakeModelServer, make: Make
    ) -> None:
        ear = make(OpenAITranscriber)
        server.replies.append(Reply(400, refusal("response_format 'verbose_json' is not compatible with model 'm'")))
        for _ in range(2):
            assert ear.transcribe(Sound("a", "audio/wav", WAV)) == [Spoken("an answer", 0.0, 0.0)]
        assert [asked.body["response_format"] for asked in server.seen] == ["verbose_json", "json", "json"]

    @pytest.mark.parametrize(
        ("answer", "kind", "said"),
        [
            (b'{"text": " one "}', "application/json", [Spoken("one", 0.0, 0.0)]),
            (b'{"text": "one", "duration": "2.5"}', "application/json", [Spoken("one", 0.0, 2.5)]),
            (b'{"text": "", "segments": []}', "application/json", []),
            (b'{"segments": [{"text": "a", "start": 3, "end": 1}]}', "application/json", [Spoken("a", 3.0, 3.0)]),
            (b'{"segments": [{"text": "a", "start": -1, "end": 1}]}', "application/json", [Spoken("a", 0.0, 1.0)]),
            (b"just text\n", "text/plain; charset=utf-8", [Spoken("just text", 0.0, 0.0)]),
        ],
    )
    def test_answers_of_every_shape(
        self, server: FakeModelServer, make: Make, answer: bytes, kind: str, said: list[Spoken]
    ) -> None:
        server.replies.append(Reply(200, answer, {"Content-Type": kind}))
        assert make(OpenAITranscriber).transcribe(Sound("a", "audio/wav", WAV)) == said

    def test_a_large_wave_file_goes_out_in_pieces_with_their_times(self, server: FakeModelServer, make: Make) -> None:
        data = sound.wav(sound.tone(2.0))
        said = make(OpenAITranscriber, max_bytes=40_000).transcribe(Sound("a", "audio/wav", data))
        pieces = [read_wave(asked.upload) for asked in server.seen]
        assert len(pieces) == len(said) > 1
        assert all(len(asked.upload) <= 40_000 for asked in server.seen)
        assert sum(piece.seconds for piece in pieces if piece) == pytest.approx(2.0)
        assert said[1].start == pytest.approx(pieces[0].seconds if pieces[0] else 0)

    def test_another_format_that_is_too_large_is_not_sent(self, server: FakeModelServer, make: Make) -> None:
        with pytest.raises(InputRefused, match=r"long\.mp3 has 500 bytes.*models\.transcription\.max_bytes"):
            make(OpenAITranscriber, max_bytes=499).transcribe(Sound("long.mp3", "audio/mpeg", bytes(500)))
        assert not server.seen

    @pytest.mark.parametrize("status", [400, 413, 415, 422])
    def test_sound_that_the_server_does_not_take_is_refused(
        self, server: FakeModelServer, make: Make, status: int
    ) -> None:
        server.replies.append(Reply(status, refusal("Invalid file format.")))
        with pytest.raises(InputRefused, match="Invalid file format"):
            use(make(OpenAITranscriber))
        assert len(server.seen) == 1


class TestDescriber:
    def test_pictures_go_out_small_as_jpeg_and_answers_come_back_in_order(
        self, server: FakeModelServer, make: Make
    ) -> None:
        server.said = lambda asked: "{} x {}".format(*Image.open(io.BytesIO(picture_of(asked))).size)
        given = [picture(3000, 1000), picture(300, 100), picture(200, 400, "RGBA"), picture(100, 100, "P", "GIF")]
        found = make(OpenAIDescriber, max_side=600).describe(given)
        assert [one.text for one in found] == ["600 x 200", "300 x 100", "200 x 400", "100 x 100"]
        assert {Image.open(io.BytesIO(picture_of(asked))).format for asked in server.seen} == {"JPEG"}
        [prompt] = {str(asked.body["messages"][0]["content"][0]["text"]) for asked in server.seen}
        assert "Describe this picture" in prompt

    def test_a_transparent_picture_is_on_white(self, server: FakeModelServer, make: Make) -> None:
        make(OpenAIDescriber).describe([picture(mode="RGBA")])
        assert Image.open(io.BytesIO(picture_of(server.seen[0]))).getpixel((5, 5)) == (255, 255, 255)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
    def test_pictures_of_every_kind_are_sent(self, server: FakeModelServer, make: Make, mode: str) -> None:
        [told] = make(OpenAIDescriber, max_side=64).describe([picture(mode=mode, format_="TIFF")])
        assert told == Described("an answer")
        assert Image.open(io.BytesIO(picture_of(server.seen[0]))).mode == "RGB"

    def test_sixteen_bits_of_grey_come_to_eight(self, server: FakeModelServer, make: Make) -> None:
        make(OpenAIDescriber).describe([picture(mode="I;16", color=0x8000)])
        assert Image.open(io.BytesIO(picture_of(server.seen[0]))).getpixel((5, 5)) == (128, 128, 128)

    def test_a_picture_that_lies_on_its_side_is_sent_upright(self, server: FakeModelServer, make: Make) -> None:
        turned = Image.Exif()
        turned[0x0112] = 6
        out = io.BytesIO()
        Image.new("RGB", (3000, 100)).save(out, "JPEG", exif=turned)
        make(OpenAIDescriber, max_side=600, min_side=10).describe([out.getvalue()])
        assert Image.open(io.BytesIO(picture_of(server.seen[0]))).size == (20, 600)

    def test_several_are_in_flight_at_once(self, server: FakeModelServer, make: Make) -> None:
        server.meeting = threading.Barrier(3, timeout=30)  # nobody passes before three are there
        eye = make(OpenAIDescriber, concurrency=3)
        assert eye.batch == 3
        assert len(eye.describe([picture(), picture(), picture()])) == 3

    @pytest.mark.parametrize("size", [(48, 47), (1, 1000)])
    def test_rules_and_bullets_are_not_looked_at(
        self, server: FakeModelServer, make: Make, size: tuple[int, int]
    ) -> None:
        assert make(OpenAIDescriber).describe([picture(*size)]) == [Described("")]
        assert not server.seen

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "cannot be read"),
            (b"GIF89a", "cannot be read"),
            (picture(50, 50)[:60], "cannot be read"),
            (picture(), "pixels"),
        ],
        ids=["nothing", "a head", "cut off", "large"],
    )
    def test_a_picture_that_cannot_be_sent_costs_itself_only(
        self, server: FakeModelServer, make: Make, data: bytes, why: str
    ) -> None:
        refused, fine = make(OpenAIDescriber, max_pixels=7_999).describe([data, picture(80, 80)])
        assert why in refused.refused
        assert fine == Described("an answer")
        assert len(server.seen) == 1

    def test_what_the_model_refuses_is_told_with_its_words(self, server: FakeModelServer, make: Make) -> None:
        server.replies.append(Reply(400, refusal("content policy")))
        first, second = make(OpenAIDescriber, concurrency=1).describe([picture(), picture()])
        assert "content policy" in first.refused
        assert second == Described("an answer")

    def test_another_prompt_is_another_model(self, make: Make) -> None:
        ids = {make(OpenAIDescriber, **more).id for more in ({}, {"language": "German"}, {"max_side": 99})}
        assert len(ids) == 3


class TestChat:
    def test_instruction_and_text_are_sent_and_an_object_asked_for(self, server: FakeModelServer, make: Make) -> None:
        server.said = lambda asked: '{"a": 1}'
        assert make(OpenAIChat, max_input=5).answer("do it", "text and more") == '{"a": 1}'
        [asked] = server.seen
        assert asked.body == {
            "model": "m",
            "messages": [{"role": "system", "content": "do it"}, {"role": "user", "content": "text "}],
            "temperature": 0,
            "max_tokens": 2000,
            "response_format": {"type": "json_object"},
        }

    def test_several_texts_are_in_flight_at_once_and_one_that_is_refused_costs_itself_only(
        self, server: FakeModelServer, make: Make
    ) -> None:
        server.meeting = threading.Barrier(2, timeout=30)  # nobody passes before two are there
        server.said = lambda asked: str(asked.body["messages"][1]["content"]).upper()
        chat = make(OpenAIChat, concurrency=2)
        assert chat.batch == 2
        assert chat.answers("do it", ["a", "b"]) == [Answered("A"), Answered("B")]
        server.meeting = None
        server.replies.append(Reply(400, refusal("content policy")))
        first, second = make(OpenAIChat, concurrency=1).answers("do it", ["a", "b"])
        assert "content policy" in first.refused
        assert second == Answered("B")

    def test_what_a_server_does_not_know_is_left_away_from_then_on(self, server: FakeModelServer, make: Make) -> None:
        chat = make(OpenAIChat)
        server.replies += [
            Reply(400, refusal("Unsupported parameter: 'max_tokens' is not supported with this model.")),
            Reply(400, refusal("Unsupported value: 'temperature' does not support 0 with this model.")),
            Reply(422, refusal("extra fields not permitted: response_format")),
        ]
        for _ in range(2):
            assert chat.answer("do it", "text") == "an answer"
        assert [set(asked.body) - {"model", "messages"} for asked in server.seen[3:]] == [{"max_completion_tokens"}] * 2

    def test_a_text_that_is_too_long_is_refused_and_costs_no_option(self, server: FakeModelServer, make: Make) -> None:
        server.replies.append(Reply(400, refusal("maximum context length is 8192 tokens, max_tokens is 2000")))
        with pytest.raises(InputRefused):
            make(OpenAIChat).answer("do it", "text")
        assert len(server.seen) == 1

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("<think>hm {}</think>\n{}", "{}"),
            (None, ""),
            ([{"type": "text", "text": "one"}, {"type": "other"}, {"type": "text", "text": "two"}], "one\ntwo"),
        ],
    )
    def test_answers_of_every_shape(self, server: FakeModelServer, make: Make, content: Any, said: str) -> None:
        server.replies.append(Reply(200, msgspec.json.encode({"choices": [{"message": {"content": content}}]})))
        assert make(OpenAIChat).answer("do it", "text") == said
