"""What models read between parsing and chunking: each answer once, what is refused named, the rest by rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.base.errors import EmptyDocument, InputRefused, ModelRefused, ModelUnavailable, UnsupportedDocument
from gristmill.catalogs.cache import SqlCache
from gristmill.pipeline.enrich import MOST_PICTURES, Models, concerns, enrich
from gristmill.ports.cache import StageCache
from gristmill.ports.document import Asset, Block, ParsedDocument, encode_parsed
from gristmill.ports.model import Spoken
from gristmill.testing.models import FakeChat, FakeDescriber, FakeTranscriber

RESUME = "Jane Roe\nCell: +1 (555) 010-2030\nEngineer at Acme Ltd, 2019 - 2024\nUniversity of Leeds"
FIELDS = {
    "name": "jane roe",
    "phone": "+1 555 0102030",
    "company": "Acme Ltd",
    "experience_years": 5.0,
    "skills": ["SQL"],
}


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[StageCache]:
    cache = SqlCache(tmp_path / "cache.db")
    yield cache
    cache.close()


def recording(name: str = "talk.wav", seconds: float = 9.0) -> ParsedDocument:
    asset = Asset(f"id of {name}", "audio/wav", name.encode(), name=name)
    return ParsedDocument(
        "audio", [Block("speech", "", asset=asset.id, time=(0.0, seconds))], assets={asset.id: asset}, name=name
    )


def pictures(*names: str, format_: str = "docx", text: str = "before") -> ParsedDocument:
    blocks = [Block("text", text)] if text else []
    blocks += [Block("figure", "", asset=name, page=n) for n, name in enumerate(names, 1)]
    assets = {name: Asset(name, "image/png", b"x" * len(name)) for name in names}
    return ParsedDocument(format_, blocks, assets=assets, name=f"file.{format_}")


def within(*children: ParsedDocument) -> ParsedDocument:
    return ParsedDocument("archive", [], children=list(children), name="a.zip")


def lost(asset: str) -> bytes:
    raise AssertionError("everything is in the document")


def run(document: ParsedDocument, cache: StageCache, method: str = "naive", **models: Any) -> ParsedDocument:
    before = encode_parsed(document)
    enriched = enrich(document, Models(**models), cache, lost, method=method)
    assert encode_parsed(document) == before, "the parsed document belongs to the cache"
    return enriched


class TestSpeech:
    def test_what_is_said_takes_the_place_of_the_recording(self, cache: StageCache) -> None:
        ear = FakeTranscriber([Spoken(" First. ", 0.0, 1.5), Spoken(" ", 1.5, 2.0), Spoken("Second.", 2.0, 3.0)])
        document = run(recording(), cache, transcriber=ear)
        assert document.blocks == [
            Block("speech", "First.", source="asr", time=(0.0, 1.5)),
            Block("speech", "Second.", source="asr", time=(2.0, 3.0)),
        ]
        [sound] = ear.sounds
        assert (sound.name, sound.mime, sound.data) == ("talk.wav", "audio/wav", b"talk.wav")

    def test_text_without_times_has_the_time_of_the_recording(self, cache: StageCache) -> None:
        [block] = run(recording(), cache, transcriber=FakeTranscriber([Spoken("All of it.", 0.0, 0.0)])).blocks
        assert block.time == (0.0, 9.0)

    def test_bytes_that_were_put_away_are_fetched(self, cache: StageCache) -> None:
        document, ear = recording(), FakeTranscriber()
        document.assets["id of talk.wav"].data = b""
        enrich(document, Models(ear), cache, lambda asset: asset.encode())
        assert ear.sounds[0].data == b"id of talk.wav"

    def test_a_recording_is_heard_once_by_each_model(self, cache: StageCache) -> None:
        ear, other = FakeTranscriber(), FakeTranscriber(id="other@1")
        first = run(recording(), cache, transcriber=ear)
        assert encode_parsed(run(recording(), cache, transcriber=ear)) == encode_parsed(first)
        run(recording(), cache, transcriber=other)
        assert (len(ear.sounds), len(other.sounds)) == (1, 1)

    @pytest.mark.parametrize("words", ["talk.wav", "models.transcription", "gristmill[speech]", "transcript"])
    def test_without_a_model_it_is_refused_and_says_what_to_do(self, cache: StageCache, words: str) -> None:
        with pytest.raises(UnsupportedDocument) as caught:
            run(recording(), cache)
        assert words in str(caught.value)

    def test_silence_is_an_empty_document(self, cache: StageCache) -> None:
        with pytest.raises(EmptyDocument, match=r"talk\.wav holds no speech"):
            run(recording(), cache, transcriber=FakeTranscriber([]))

    def test_a_refusal_names_the_recording(self, cache: StageCache) -> None:
        ear = FakeTranscriber()
        ear.trouble.append(InputRefused("unknown codec"))
        with pytest.raises(InputRefused, match=r"talk\.wav cannot be heard: unknown codec"):
            run(recording(), cache, transcriber=ear)

    def test_one_recording_among_other_documents_costs_itself_only(self, cache: StageCache) -> None:
        ear = FakeTranscriber()
        ear.trouble.append(InputRefused("unknown codec"))
        document = run(within(recording("a.wav"), recording("b.wav"), pictures()), cache, transcriber=ear)
        first, second, third = document.children
        assert (first.blocks, first.warnings) == ([], ["a.wav cannot be heard: unknown codec"])
        assert second.blocks[0].text == "words that were said"
        assert third.blocks[0].text == "before"
        unheard = run(within(recording("a.wav"), pictures()), cache).children[0]
        assert "models.transcription" in unheard.warnings[0]

    def test_where_nothing_else_is_inside_it_is_the_document_that_is_refused(self, cache: StageCache) -> None:
        with pytest.raises(
            EmptyDocument, match=r"a\.zip holds nothing.* the first of 2 reasons: a\.wav .*transcription"
        ):
            run(within(recording("a.wav"), recording("b.wav")), cache)

    def test_a_document_that_is_empty_for_other_reasons_is_left_to_the_end(self, cache: StageCache) -> None:
        assert run(within(), cache).blocks == []

    @pytest.mark.parametrize("trouble", [ModelUnavailable("busy", retry_after=7.0), ModelRefused("check api_key")])
    def test_what_is_no_fault_of_the_recording_ends_the_attempt_and_is_tried_again(
        self, cache: StageCache, trouble: Exception
    ) -> None:
        ear = FakeTranscriber()
        ear.trouble.append(trouble)
        with pytest.raises(type(trouble)) as caught:
            run(within(recording()), cache, transcriber=ear)
        assert caught.value is trouble
        assert run(within(recording()), cache, transcriber=ear).children[0].blocks[0].text == "words that were said"


@pytest.mark.parametrize(
    ("document", "models", "concerned"),
    [
        (pictures(), Models(), False),
        (pictures("a"), Models(), False),
        (pictures("a"), Models(describer=FakeDescriber()), True),
        (pictures("a", format_="image"), Models(), True),
        (recording(), Models(), True),
        (within(recording()), Models(), True),
    ],
)
def test_most_documents_are_none_of_its_business(document: ParsedDocument, models: Models, concerned: bool) -> None:
    assert concerns(document, models) == concerned


class TestPictures:
    def test_a_description_stands_below_the_first_figure_of_its_picture(self, cache: StageCache) -> None:
        document = run(pictures("logo", "chart", "logo"), cache, describer=FakeDescriber())
        assert [(block.kind, block.text, block.page) for block in document.blocks] == [
            ("text", "before", 0),
            ("figure", "", 1),
            ("caption", "a picture of 4 bytes", 1),
            ("figure", "", 2),
            ("caption", "a picture of 5 bytes", 2),
            ("figure", "", 3),
        ]
        assert {block.source for block in document.blocks if block.kind == "caption"} == {"meta"}

    def test_pictures_are_looked_at_in_batches_each_once(self, cache: StageCache) -> None:
        eye, told = FakeDescriber(batch=2), list[tuple[float, str]]()
        paced: list[str] = []
        document = within(pictures("a", "bb", "ccc", "bb"), pictures("ccc", "dddd"))
        for _ in range(2):
            enrich(
                document, Models(describer=eye), cache, lost, pace=paced.append, report=lambda *one: told.append(one)
            )
        assert sorted(eye.pictures) == [b"x", b"xx", b"xxx", b"xxxx"]
        assert eye.calls == 3
        assert paced == ["vision"] * 4
        assert told[1] == (1.0, "described 3 of 3 pictures")

    def test_a_failure_costs_the_batch_that_it_came_in_only(self, cache: StageCache) -> None:
        eye = FakeDescriber(batch=1)
        run(pictures("a"), cache, describer=eye)
        eye.trouble.append(ModelUnavailable("busy"))
        with pytest.raises(ModelUnavailable):
            run(pictures("a", "bb"), cache, describer=eye)
        run(pictures("a", "bb"), cache, describer=eye)
        assert eye.pictures == [b"x", b"xx"]

    def test_a_refused_picture_leaves_a_warning_and_is_tried_another_time(self, cache: StageCache) -> None:
        eye = FakeDescriber()
        eye.refused[b"xx"] = "not decent"
        document = run(pictures("a", "bb"), cache, describer=eye)
        assert document.warnings == ["a picture of file.docx was not described: not decent"]
        assert [block.text for block in document.blocks if block.kind == "caption"] == ["a picture of 1 bytes"]
        eye.refused.clear()
        assert run(pictures("a", "bb"), cache, describer=eye).warnings == []

    def test_more_pictures_than_are_looked_at_are_counted_in_a_warning(
        self, cache: StageCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert MOST_PICTURES >= 100
        monkeypatch.setattr("gristmill.pipeline.enrich.MOST_PICTURES", 2)
        eye = FakeDescriber()
        assert "has 3 pictures; the first 2" in run(pictures("a", "bb", "ccc"), cache, describer=eye).warnings[0]
        assert len(eye.pictures) == 2

    @pytest.mark.parametrize(
        ("text", "looks"),
        [
            ("", 1),
            ("few words", 1),
            ("many words stand on it " * 7, 0),
            ("字" * 33, 0),
            ("字" * 32, 1),
            ("12 - 7 / 3 " * 50, 1),
        ],
    )
    def test_a_picture_full_of_words_is_text_and_not_looked_at(self, cache: StageCache, text: str, looks: int) -> None:
        eye = FakeDescriber()
        run(pictures("scan", format_="image", text=text), cache, describer=eye)
        assert len(eye.pictures) == looks

    def test_in_other_documents_pictures_are_looked_at_whatever_else_there_is(self, cache: StageCache) -> None:
        eye = FakeDescriber()
        run(pictures("scan", text="words " * 99), cache, describer=eye)
        assert len(eye.pictures) == 1

    def test_a_picture_without_words_is_empty_unless_a_model_describes_it(self, cache: StageCache) -> None:
        photo = pictures("photo", format_="image", text="")
        with pytest.raises(EmptyDocument, match=r"file.image.*models.vision"):
            run(photo, cache)
        assert run(photo, cache, "picture").blocks == photo.blocks
        assert run(photo, cache, describer=FakeDescriber()).blocks[-1].text == "a picture of 5 bytes"

    def test_other_attachments_are_no_pictures(self, cache: StageCache) -> None:
        document = pictures("page")
        document.assets["page"].mime = "text/html"
        eye = FakeDescriber()
        run(document, cache, describer=eye)
        assert not eye.pictures


class TestResumes:
    def resume(self) -> ParsedDocument:
        return ParsedDocument(
            "text", [Block("text", line) for line in RESUME.split("\n")], meta={"a": "b"}, name="cv.txt"
        )

    def fields(self, cache: StageCache, *answers: str | Exception) -> tuple[dict[str, str], FakeChat, list[str]]:
        chat = FakeChat(*answers)
        document = run(self.resume(), cache, "resume", chat=chat)
        return document.meta, chat, document.warnings

    def test_fields_are_in_the_meta_and_what_the_text_does_not_hold_is_not(self, cache: StageCache) -> None:
        meta, chat, warnings = self.fields(cache, f"Here it is:\n```json\n{json.dumps(FIELDS)}\n```")
        assert meta == {
            "a": "b",
            "resume:Name": "jane roe",
            "resume:Phone": "+1 555 0102030",
            "resume:Company": "Acme Ltd",
            "resume:Experience": "5 years",
        }
        assert chat.asked[0][1] == RESUME
        assert warnings == []

    def test_the_question_is_asked_once(self, cache: StageCache) -> None:
        self.fields(cache, json.dumps(FIELDS))
        meta, chat, _ = self.fields(cache)
        assert meta["resume:Name"] == "jane roe"
        assert not chat.asked

    @pytest.mark.parametrize(
        "useless", ["no idea", '{"name": ["a"]}', "{broken", json.dumps({"name": "x" * 501}), '{"skills": "SQL"}', "}{"]
    )
    def test_a_useless_answer_is_shown_to_the_model_once(self, cache: StageCache, useless: str) -> None:
        meta, chat, warnings = self.fields(cache, useless, json.dumps(FIELDS))
        assert meta["resume:Company"] == "Acme Ltd"
        assert "could not be used" in chat.asked[1][0]
        assert warnings == []

    @pytest.mark.parametrize("answers", [("no", "no"), ("no", InputRefused("too long")), (InputRefused("too long"),)])
    def test_where_no_answer_is_of_use_the_rules_stay_and_a_warning_says_so(
        self, cache: StageCache, answers: tuple[str | Exception, ...]
    ) -> None:
        meta, _, [warning] = self.fields(cache, *answers)
        assert meta == {"a": "b"}
        assert "cv.txt are those that rules find" in warning

    def test_a_model_that_is_away_is_waited_for(self, cache: StageCache) -> None:
        with pytest.raises(ModelUnavailable):
            self.fields(cache, ModelUnavailable("busy"))

    def test_no_other_method_asks(self, cache: StageCache) -> None:
        run(self.resume(), cache, "naive", chat=FakeChat())

    def test_no_more_than_the_model_takes_is_sent(self, cache: StageCache) -> None:
        chat = FakeChat("{}", max_input=10)
        run(self.resume(), cache, "resume", chat=chat)
        assert chat.asked[0][1] == RESUME[:10]
