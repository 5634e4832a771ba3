"""The packaged speech model: which sound it unpacks, what it does with silence and noise. How well it hears is no promise."""

from __future__ import annotations

import random
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import pytest

from gristmill.base.errors import InputRefused
from gristmill.ports.model import Sound
from gristmill.providers import TRANSCRIBERS
from samples import sound


@pytest.fixture
def ear() -> Any:
    return TRANSCRIBERS.load("pocketsphinx")()


class Decoder:
    """Stands in for the model, which takes half a second to load: writes down how much it is given."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.heard = 0

    def start_utt(self) -> None:
        self.heard = 0

    def process_raw(self, pcm: bytes, *, full_utt: bool) -> None:
        self.heard += len(pcm)

    def end_utt(self) -> None:
        self.hypstr = f"{self.heard / 32_000:.1f} seconds"

    def hyp(self) -> Decoder | None:
        return self if self.heard else None


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.providers.pocketsphinx._sphinx.Decoder", Decoder)


def babble(seconds: float, rate: int = sound.RATE) -> list[int]:
    """Something with the loudness and the pitch of a voice."""
    return [
        a + b for a, b in zip(sound.tone(seconds, 180, rate=rate), sound.tone(seconds, 900, rate=rate), strict=True)
    ]


def recording(samples: list[int], **more: int) -> Sound:
    return Sound("talk.wav", "audio/wav", sound.wav(samples, **more))


def test_its_id_names_the_package_that_has_the_model(ear: Any) -> None:
    assert ear.id == f"pocketsphinx-{version('pocketsphinx')}"


def test_the_real_model_says_nothing_about_silence_and_does_not_fall_over_noise(ear: Any) -> None:
    dice = random.Random(0)
    assert ear.transcribe(recording([0] * sound.RATE)) == []
    noise = [dice.randrange(-9_000, 9_000) for _ in range(sound.RATE // 2)]
    assert all(0 <= one.start < one.end <= 0.6 for one in ear.transcribe(recording(noise)))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("more", [{}, {"rate": 8_000}, {"rate": 44_100, "channels": 2}])
def test_stretches_of_speech_are_told_apart_with_their_times(ear: Any, more: dict[str, int]) -> None:
    rate, channels = more.get("rate", sound.RATE), more.get("channels", 1)
    one = babble(1.0, rate)
    samples = [n for n in [0] * rate + one + [0] * rate + one + [0] * (rate // 2) for _ in range(channels)]
    first, second = ear.transcribe(recording(samples, **more))
    assert (first.start, first.end) == (pytest.approx(1.0, abs=0.35), pytest.approx(2.0, abs=0.5))
    assert (second.start, second.end) == (pytest.approx(3.0, abs=0.35), pytest.approx(4.0, abs=0.55))


@pytest.mark.usefixtures("fake")
def test_who_never_pauses_is_heard_in_pieces_with_nothing_left_out(ear: Any) -> None:
    said = ear.transcribe(recording(babble(1.0) * 70))
    assert len(said) == 3
    assert all(one.end - one.start <= 31 for one in said)
    assert said[-1].end == pytest.approx(70, abs=0.5)
    assert [second.start - first.end for first, second in pairwise(said)] == pytest.approx([0, 0], abs=0.1)


@pytest.mark.usefixtures("fake")
def test_speech_up_to_the_very_end_is_heard(ear: Any) -> None:
    [one] = ear.transcribe(recording([0] * (sound.RATE // 2) + babble(0.99)))
    assert one.end == pytest.approx(1.49, abs=0.05)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"OggS" + bytes(99), sound.m4a_head(1, 1)])
def test_what_it_cannot_unpack_is_refused_with_what_to_do(ear: Any, data: bytes) -> None:
    with pytest.raises(InputRefused, match=r"talk\.xyz cannot be unpacked.*models\.transcription"):
        ear.transcribe(Sound("talk.xyz", "", data))


@pytest.mark.usefixtures("fake")
def test_a_small_file_that_plays_for_days_is_refused_before_it_is_unpacked_in_full() -> None:
    ear: Any = TRANSCRIBERS.load("pocketsphinx")
    slow = bytearray(sound.wav([0] * 8_000))
    slow[24:28] = (20).to_bytes(4, "little")  # samples a second
    with pytest.raises(InputRefused, match="plays for more than 30 seconds"):
        ear(max_seconds=30.0).transcribe(Sound("talk.wav", "audio/wav", bytes(slow)))
