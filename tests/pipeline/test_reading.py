"""Models that read documents in the pipeline: what becomes of their answers, what they cost, what goes wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile

import pytest
from PIL import Image

from gristmill.base.errors import ModelUnavailable, SettingsError
from gristmill.base.settings import Settings
from gristmill.engine.task import App
from gristmill.pipeline.enrich import Models
from gristmill.pipeline.settings import IngestSettings, ModelIds
from gristmill.pipeline.tasks import TaskLimits, Upkeep, register
from gristmill.ports.catalog import Document
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.model import Spoken
from gristmill.testing.models import FakeChat, FakeDescriber, FakeModelServer, FakeTranscriber
from gristmill.testing.parsers import FakeOcr
from gristmill.wiring import model_ids, models_by_ids
from pipeline.home import Home
from samples import sound

pytestmark = pytest.mark.anyio

WAV = sound.tone_wav()
CV = "Jane Roe\nEngineer at Acme Ltd\nEducation\nUniversity of Leeds, 2012 - 2015\n"


def give(home: Home, **models: object) -> IngestSettings:
    """Have these models read; the settings say so."""
    made = Models(**models)  # type: ignore[arg-type]
    home.ports = dataclasses.replace(home.ports, models=lambda ids: made if ids != ModelIds() else Models())
    home.lose_broker()
    ids = ModelIds(*(model.id if model else "" for model in (made.transcriber, made.describer, made.chat)))
    return IngestSettings(method="auto", embedder="lexical", models=ids)


def texts(home: Home, document: Document) -> list[str]:
    return [chunk.content for chunk in home.chunks(document)]


def why(home: Home, document: Document) -> str:
    failure = home.document(document.id).failure
    assert failure is not None
    return failure.message


async def test_a_recording_becomes_chunks_with_their_times(home: Home) -> None:
    ear = FakeTranscriber([Spoken("The harbour was closed.", 61.0, 63.5), Spoken("It was the storm.", 64.0, 66.0)])
    document = await home.ingest(home.write("talk.wav", WAV), give(home, transcriber=ear))
    [chunk] = home.chunks(document)
    assert chunk.content == "The harbour was closed.\nIt was the storm."
    assert chunk.path == ["00:01:01 - 00:01:06"]
    assert (ear.sounds[0].name, ear.sounds[0].data) == ("talk.wav", WAV)


async def test_who_comes_again_is_told_what_was_heard_before(home: Home) -> None:
    ear, path = FakeTranscriber(), home.write("talk.wav", WAV)
    settings = give(home, transcriber=ear)
    document = await home.ingest(path, settings)
    again = await home.ingest(path, settings, again=True)
    assert texts(home, again) == texts(home, document) == ["words that were said"]
    assert len(ear.sounds) == 1


async def test_a_recording_in_an_archive_is_heard_beside_the_rest_of_it(home: Home) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("notes.txt", "The mill grinds slowly.")
        archive.writestr("talk.wav", WAV)
    path, ear = home.write("all.zip", out.getvalue()), FakeTranscriber()
    unheard = await home.ingest(path, IngestSettings(embedder="lexical"))
    assert texts(home, unheard) == ["The mill grinds slowly."]
    said = [line.message for line in home.ports.catalog.logs(unheard.run_id)]
    assert any("talk.wav is sound" in message for message in said)
    heard = await home.ingest(path, give(home, transcriber=ear))
    assert texts(home, heard) == ["The mill grinds slowly.", "words that were said"]
    assert ear.sounds[0].data == WAV


async def test_another_model_is_another_outcome(home: Home) -> None:
    path = home.write("talk.wav", WAV)
    await home.ingest(path, give(home, transcriber=FakeTranscriber()))
    other = FakeTranscriber([Spoken("other words", 0.0, 1.0)], id="other@1")
    assert texts(home, await home.ingest(path, give(home, transcriber=other))) == ["other words"]


async def test_without_a_model_the_document_fails_and_says_what_to_set(home: Home) -> None:
    document = await home.ingest(home.write("talk.wav", WAV), IngestSettings(embedder="lexical"))
    assert home.chunks(document) == []
    assert "models.transcription" in why(home, document)
    heard = await home.ingest(home.files / "talk.wav", give(home, transcriber=FakeTranscriber()))
    assert texts(home, heard) == ["words that were said"]


async def test_a_model_that_is_away_makes_the_task_wait_and_not_fail(home: Home) -> None:
    ear = FakeTranscriber()
    ear.trouble += [ModelUnavailable("busy"), ModelUnavailable("busy")]
    document = await home.ingest(home.write("talk.wav", WAV), give(home, transcriber=ear))
    assert texts(home, document) == ["words that were said"]


async def test_a_photograph_is_found_by_its_description(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.parsers.ocr.engine", FakeOcr)
    out = io.BytesIO()
    Image.new("RGB", (200, 100), "white").save(out, "PNG")
    path = home.write("photo.png", out.getvalue())
    unseen = await home.ingest(path, IngestSettings(embedder="lexical"))
    assert "models.vision" in why(home, unseen)
    document = await home.ingest(path, give(home, describer=FakeDescriber()))
    [chunk] = home.chunks(document)
    assert chunk.content == f"a picture of {len(out.getvalue())} bytes"
    assert chunk.kind == "figure"


async def test_fields_of_a_resume_go_before_those_of_rules(home: Home) -> None:
    chat = FakeChat(
        json.dumps({"name": "Jane Roe", "company": "Acme Ltd", "skills": ["COBOL"], "position": "Engineer"})
    )
    wanted = give(home, chat=chat)
    document = await home.ingest(
        home.write("cv.txt", CV), IngestSettings("resume", embedder="lexical", models=wanted.models)
    )
    first, *others = texts(home, document)
    assert "Position: Engineer" in first
    assert "COBOL" not in first
    assert all("[Name: Jane Roe | Company: Acme Ltd" in text for text in others)


async def test_chunks_are_found_by_questions_that_a_model_asks_of_them(home: Home) -> None:
    chat = FakeChat(json.dumps({"keywords": ["mill"], "questions": ["Who grinds slowly?"]}))
    wanted = give(home, chat=chat)
    chunk = ChunkSettings(auto_keywords=1, auto_questions=1)
    settings = IngestSettings(embedder="lexical", models=wanted.models, chunk=chunk)
    path = home.write("a.txt", "The mill grinds slowly.")
    for again in (False, True):
        document = await home.ingest(path, settings, again=again)
        [found] = home.chunks(document)
        assert (found.content, found.keywords, found.questions) == (
            "The mill grinds slowly.",
            ["mill"],
            ["Who grinds slowly?"],
        )
    assert home.embedder.texts == ["Who grinds slowly?"]
    assert len(chat.asked) == 1


async def test_requests_keep_the_rate_of_their_use(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    booked: list[tuple[str, float]] = []
    monkeypatch.setattr(
        "gristmill.engine.context.TaskContext.throttle", lambda self, name, rate, **more: booked.append((name, rate))
    )
    home.app = App("pipeline")
    limits = TaskLimits(reading_rates={"transcription": 0.5})
    register(home.app, lambda: home.ports, limits=limits, upkeep=Upkeep())
    await home.ingest(home.write("talk.wav", WAV), give(home, transcriber=FakeTranscriber()))
    assert booked == [("model:transcription", 0.5)]


class TestSettings:
    def settings(self, home: Home, **models: object) -> Settings:
        return Settings.model_validate({"home": home.root / "home", "models": models})

    def test_nothing_is_set_to_begin_with(self, home: Home) -> None:
        assert model_ids(self.settings(home)) == ModelIds()
        assert models_by_ids(self.settings(home), ModelIds()) == Models()

    def test_an_endpoint_is_enough(self, home: Home) -> None:
        where = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key": "sk-1"}
        settings = self.settings(home, transcription=where, vision=where, chat=where)
        ids = model_ids(settings)
        assert all(one.startswith("openai:m") for one in (ids.transcriber, ids.describer, ids.chat))
        models = models_by_ids(settings, ids)
        for model, one in (
            (models.transcriber, ids.transcriber),
            (models.describer, ids.describer),
            (models.chat, ids.chat),
        ):
            assert model is not None
            assert model.id == one
            model.close()

    def test_the_default_model_of_the_source_is_taken_when_it_is_asked_for(self, home: Home) -> None:
        source = {"api_key": "sk-1", "base_url": "http://127.0.0.1:9/v1", "default_models": {"asr_model": "w@OpenAI"}}
        raw = {"home": home.root / "home", "user_default_llm": source}
        assert model_ids(Settings.model_validate(raw)) == ModelIds(), (
            "documents leave the house for nobody who is not asked"
        )
        asked = Settings.model_validate(raw | {"models": {"transcription": {"provider": "openai"}}})
        assert model_ids(asked).transcriber == "openai:w@1"

    @pytest.mark.parametrize("given", [{"provider": "openai"}, {"base_url": "http://127.0.0.1:9/v1"}])
    def test_half_an_endpoint_is_named(self, home: Home, given: dict[str, str]) -> None:
        with pytest.raises(SettingsError, match=r"models\.vision.*base_url and model"):
            model_ids(self.settings(home, vision=given))

    def test_a_worker_with_other_settings_says_so(self, home: Home) -> None:
        where = {"base_url": "http://127.0.0.1:9/v1", "model": "other"}
        for settings, found in (
            (self.settings(home), "none"),
            (self.settings(home, transcription=where), "openai:other@1"),
        ):
            said = rf"by openai:m@1 \(models\.transcription\), but {found} is what is set here"
            with pytest.raises(SettingsError, match=said):
                models_by_ids(settings, ModelIds("openai:m@1"))

    async def test_all_together_against_a_server(self, home: Home) -> None:
        with FakeModelServer(said=lambda asked: "Good morning.", api_key="sk-1").running() as server:
            where = {"base_url": server.base_url, "model": "m", "api_key": "sk-1"}
            settings = self.settings(home, transcription=where)
            ids = model_ids(settings)
            models = models_by_ids(settings, ids)
            home.ports = dataclasses.replace(home.ports, models=lambda wanted: models)
            home.lose_broker()
            wanted = IngestSettings(method="auto", embedder="lexical", models=ids)
            document = await home.ingest(home.write("talk.wav", WAV), wanted)
            assert models.transcriber is not None
            models.transcriber.close()
        assert texts(home, document) == ["Good morning."]
        assert "sk-1" not in json.dumps(home.ports.catalog.run(document.run_id).settings)
