"""Sound: known by content under any name, with its length; what is said in it is left to a model."""

from __future__ import annotations

import io
import random

import pytest

from gristmill.base.errors import DamagedDocument, DocumentError, EmptyDocument, UnsupportedDocument
from gristmill.base.ids import content_digest
from gristmill.base.wavefile import read_wave
from gristmill.parsers.audio import AudioParser
from gristmill.parsers.detect import detect
from gristmill.parsers.sound import sound_kind
from gristmill.ports.parser import ParseLimits, Source
from gristmill.testing.parsers import check
from samples import sound

LIMITS = ParseLimits()
KINDS = {
    "wav": (sound.tone_wav(), "audio/wav", 0.25),
    "flac": (sound.flac_head(88_200), "audio/flac", 2.0),
    "flac behind a tag": (b"ID3\4\0\0\0\0\0\5hello" + sound.flac_head(88_200), "audio/flac", 2.0),
    "opus": (sound.opus_head(96_000), "audio/ogg", 2.0),
    "vorbis": (sound.vorbis_head(22_050, 22_050), "audio/ogg", 1.0),
    "ogg of something else": (b"OggS" + bytes(40), "audio/ogg", 0.0),
    "mp3": (sound.mp3_frames(100), "audio/mpeg", 2.606),
    "mp3 behind a tag": (sound.mp3_frames(100, tag=b"x" * 300), "audio/mpeg", 2.606),
    "mp3 that counts its frames": (sound.mp3_frames(2, counted=383), "audio/mpeg", 10.005),
    "m4a": (sound.m4a_head(90_000, 30_000), "audio/mp4", 3.0),
    "m4a of long": (sound.m4a_head(90_000, 30_000, wide=True), "audio/mp4", 3.0),
    "aac": (b"\xff\xf1\x50\x80" + bytes(60), "audio/aac", 0.0),
    "webm": (b"\x1aE\xdf\xa3" + bytes(60), "audio/webm", 0.0),
    "aiff": (b"FORM\0\0\0\x20AIFF" + bytes(60), "audio/aiff", 0.0),
    "au": (b".snd" + bytes(60), "audio/basic", 0.0),
    "amr": (b"#!AMR\n" + bytes(60), "audio/amr", 0.0),
    "wma": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(60), "audio/x-ms-wma", 0.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_sound_is_a_recording_with_its_kind_and_length(kind: str) -> None:
    data, mime, seconds = KINDS[kind]
    name = "file.txt"
    assert detect(name, io.BytesIO(data)) == "audio"
    document = AudioParser().parse(Source(name, data), LIMITS)
    (block,) = document.blocks
    assert (block.kind, block.text, block.asset) == ("speech", "", content_digest(data))
    asset = document.assets[block.asset]
    assert (asset.mime, asset.data) == (mime, data)
    assert (block.time or (0, 0))[1] == pytest.approx(seconds, abs=0.01)
    assert document.meta == ({"seconds": f"{block.time[1]:.2f}"} if block.time else {})


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyDocument),
        (sound.wav([]), EmptyDocument),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", DamagedDocument),
        (sound.tone_wav()[:30], DamagedDocument),
        (sound.tone_wav().replace(b"data", b"atad"), DamagedDocument),
        (b"fLaC\x84" + bytes(60), DamagedDocument),
        (sound.flac_head(5)[:30], DamagedDocument),
        (b"OggS", DamagedDocument),
        (b"ID3" + bytes(99), DamagedDocument),
        (sound.m4a_head(1, 0), DamagedDocument),
        (sound.m4a_head(1, 1)[:-120], DamagedDocument),
        (b"\0\0\0\x18ftypmp42" + bytes(99), DamagedDocument),
        (b"words", UnsupportedDocument),
    ],
)
def test_damaged_sound_is_named_as_such(data: bytes, error: type[DocumentError]) -> None:
    with pytest.raises(error, match="the name"):
        AudioParser().parse(Source("the name", data), LIMITS)


@pytest.mark.parametrize("kind", KINDS)
def test_sound_that_is_cut_off_or_changed_anywhere_is_a_recording_or_an_error(kind: str) -> None:
    data, dice = KINDS[kind][0], random.Random(0)
    changed = [data[:cut] for cut in range(1, min(len(data), 700), 3)]
    for _ in range(200):
        broken = bytearray(data[:4_000])
        for _ in range(dice.randint(1, 6)):
            broken[dice.randrange(min(200, len(broken)))] = dice.choice((0, 1, 0x7F, 0xFF, dice.randrange(256)))
        changed.append(bytes(broken))
    for one in changed:
        check(AudioParser(), Source("the name", one))


@pytest.mark.parametrize("text", ["\ufeffwide", "\ufffe"])
def test_text_that_begins_like_a_frame_is_no_sound(text: str) -> None:
    assert sound_kind(text.encode("utf-16-le")) == ""


def test_a_head_that_lies_about_its_length_is_not_believed() -> None:
    data = bytearray(sound.tone_wav())
    data[28:32] = b"\1\0\0\0"  # one byte a second
    data[40:44] = b"\xff\xff\xff\x7f"  # two gigabytes of samples
    wave = read_wave(bytes(data))
    assert wave is not None
    assert wave.seconds == 0.25


def test_pieces_of_a_wave_file_are_cut_where_it_is_quiet_and_hold_all_of_it() -> None:
    loud, quiet = sound.tone(1.0), [0] * (sound.RATE // 10)
    samples = [*loud, *quiet, *loud, *loud]
    data = sound.wav(samples)
    wave = read_wave(data)
    assert wave is not None
    pieces = list(wave.pieces(data, 2 * 20_000 + 44))
    assert all(len(piece) <= 2 * 20_000 + 44 for _, piece in pieces)
    read = [read_wave(piece) for _, piece in pieces]
    assert (
        b"".join(piece[one.first : one.last] for (_, piece), one in zip(pieces, read, strict=True) if one) == data[44:]
    )
    assert [begin for begin, _ in pieces] == pytest.approx(
        [sum(one.seconds for one in read[:n] if one) for n in range(len(read))]
    )
    assert 1.0 <= pieces[1][0] <= 1.12


@pytest.mark.parametrize("most", [0, 10, 100])
def test_pieces_are_finite_however_small_they_are_to_be(most: int) -> None:
    data = sound.wav(sound.tone(0.01), channels=2)
    wave = read_wave(data)
    assert wave is not None
    assert sum(len(piece) - 44 for _, piece in wave.pieces(data, most)) == len(data) - 44
