"""Settings to opened objects; the only file that knows everybody."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from gristmill.base import traces
from gristmill.base.clock import SystemClock
from gristmill.base.errors import EmbedderChanged, NotFound, SettingsError
from gristmill.base.registry import Registry, imported
from gristmill.base.settings import Settings
from gristmill.base.tokens import count_tokens
from gristmill.brokers import open_broker
from gristmill.catalogs import CACHES, CATALOGS
from gristmill.chunkers import CHUNKERS
from gristmill.docstores import DOCSTORES
from gristmill.engine.broker import Broker
from gristmill.engine.isolate import RunnerLimits
from gristmill.engine.schedule import due
from gristmill.engine.task import App
from gristmill.engine.worker import Worker
from gristmill.parsers import PARSERS, splits
from gristmill.pipeline.enrich import Models
from gristmill.pipeline.parser_config import chunk_settings, read_settings
from gristmill.pipeline.plan import QUEUE
from gristmill.pipeline.service import IngestService
from gristmill.pipeline.settings import IngestSettings, ModelIds, load_settings
from gristmill.pipeline.tasks import TaskLimits, Upkeep, register
from gristmill.pipeline.work import Ports
from gristmill.ports.cache import StageCache
from gristmill.ports.catalog import Catalog, Dataset, Run
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.docstore import DocStore
from gristmill.ports.model import Embedder
from gristmill.ports.parser import ParseLimits, ReadSettings
from gristmill.providers import CHATS, DESCRIBERS, EMBEDDERS, TRANSCRIBERS, default_embedder
from gristmill.storages import STORAGES

Use = Literal["transcription", "vision", "chat"]
READERS: dict[Use, Registry[Any]] = {"transcription": TRANSCRIBERS, "vision": DESCRIBERS, "chat": CHATS}
TENANT = "default"
MOST_NAME = 128  # characters of a dataset's name
CHUNKS_PER_PART = 32  # of an embedder that computes for a third of a second on each


@dataclass(frozen=True)
class Services:
    """Everything open, for one face."""

    settings: Settings
    ports: Ports
    broker: Broker
    service: IngestService


def open_catalog(settings: Settings, *, patience: float | None = None) -> Catalog:
    """The catalog alone: enough to say what is there, and cheap to open.

    ``patience``: seconds for which a server that is gone is waited for, also in opening.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        origin = settings.origin("home")
        raise SettingsError(
            f"the home {settings.home} ({origin}) cannot be made or is no folder: {exc.strerror}; choose another with"
            " --home or GRISTMILL_HOME"
        ) from exc
    kind = settings.catalog_url.partition(":")[0].partition("+")[0]
    made: Any = CATALOGS.load(kind)
    own = {"patience": patience} if patience is not None and kind in CATALOGS.builtin else {}
    catalog: Catalog = made(settings.catalog_url, **own)
    return catalog


def open_ports(settings: Settings, catalog: Catalog | None = None) -> Ports:
    """The pipeline's world. Give it back with ``close_ports``."""
    home = settings.home
    return Ports(
        catalog=catalog or open_catalog(settings),
        storage=_open_storage(settings),
        docstore=cast("DocStore", _Later(DOCSTORES, settings.stores.docstore, home / "kb")),
        cache=cast("StageCache", _Later(CACHES, "sqlite", home / "cache.db")),
        parser=cache(lambda name: PARSERS.load(name)()),
        chunker=cache(lambda name: CHUNKERS.load(name)()),
        embedder=cache(lambda embedder_id: embedder_by_id(settings, embedder_id)),
        models=cache(lambda ids: models_by_ids(settings, ids)),
        count=count_tokens,
        limits=ParseLimits(max_bytes=settings.pipeline.doc_maximum_size),
        clock=SystemClock(),
    )


class _Later:
    """A port that is opened when it is first asked for something: most processes ask few of them."""

    def __init__(self, registry: Registry[Any], name: str, path: Path) -> None:
        if name not in registry.names():
            registry.load(name)  # raises, and names what there is: a wrong name is not to be found out by every task
        self._registry, self._name, self._path = registry, name, path
        self._opened: Any = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._opened is None:
                make: Any = self._registry.load(self._name)
                self._opened = make(self._path)
        return getattr(self._opened, name)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()


def close_ports(ports: Ports) -> None:
    """Give up all connections."""
    for port in (ports.cache, ports.docstore, ports.storage, ports.catalog):
        port.close()


@contextmanager
def opened_ports(settings: Settings) -> Iterator[Ports]:
    """The ports within this block."""
    ports = open_ports(settings)
    try:
        yield ports
    finally:
        close_ports(ports)


@contextmanager
def traced(settings: Settings) -> Iterator[None]:
    """Traces of what happens within this block are sent, if that is configured."""
    own = settings.telemetry
    if not own.endpoint or own.disabled:
        yield
        return
    traces.start(traces.Export(own.endpoint, own.header_pairs(), own.service_name, own.sample, own.timeout))
    try:
        yield
    finally:
        traces.stop()


@asynccontextmanager
async def open_services(settings: Settings, ports: Ports) -> AsyncIterator[Services]:
    """Ports, broker and the service over them. The ports are the caller's to close."""
    with traced(settings):
        async with open_broker(settings.broker_url) as broker:
            grace = settings.pipeline.retired_grace_seconds
            service = IngestService(ports, broker, detect=_detect, splits=splits, grace=grace)
            yield Services(settings, ports, broker, service)


def make_worker(services: Services, *, slots: int | None = None, name: str = "") -> Worker:
    """A worker for the pipeline's queue. Its runners open their own ports from the same settings."""
    return Worker(
        services.broker,
        "gristmill.wiring:pipeline_app",
        config=services.settings.plain(),
        queues=[QUEUE],
        **worker_options(services.settings, slots=slots, name=name),
    )


def worker_options(settings: Settings, *, slots: int | None = None, name: str = "") -> dict[str, Any]:
    """What the settings say about any worker."""
    own = settings.worker
    return {
        "slots": slots or own.slots,
        "async_slots": own.async_slots,
        "lane_limit": settings.engine.lane_limit,
        "lease": settings.engine.lease_seconds,
        "heartbeat_timeout": own.heartbeat_timeout,
        "limits": RunnerLimits(own.max_jobs, own.max_age_seconds, own.max_rss, own.memory_limit, own.idle_seconds),
        "name": name or None,
    }


def pipeline_app(config: dict[str, Any]) -> App:
    """The pipeline's tasks, as runners load them."""
    settings = Settings.model_validate(config)
    own, pipeline = settings.worker, settings.pipeline
    app = App("pipeline")
    register(
        app,
        cache(lambda: open_ports(settings, open_catalog(settings, patience=settings.stores.catalog_patience))),
        limits=TaskLimits(
            own.soft_time_limit,
            own.time_limit,
            own.memory_limit,
            embedding_rate=_embedding_rate(settings),
            reading_rates=_reading_rates(settings),
        ),
        upkeep=Upkeep(
            pipeline.sweep_seconds,
            pipeline.retired_grace_seconds,
            pipeline.keep_dead_seconds,
            pipeline.cache_max_bytes,
        ),
    )
    return app


def sweep_keys(settings: Settings, now: float) -> list[str]:
    """The keys under which the broker knows the latest sweeps, the one of this period first."""
    [sweep] = pipeline_app(settings.plain()).periodics
    every = settings.pipeline.sweep_seconds
    messages = [due(sweep, now - back * every)[0] for back in range(3)]
    return [message.key for message in messages if message is not None and message.key]


def _embedding_rate(settings: Settings) -> float | None:
    """Requests a second to the embedding model."""
    per_minute = settings.embedding_endpoint.requests_per_minute
    return None if per_minute is None else per_minute / 60


def search_service(settings: Settings, ports: Ports) -> Any:
    """Search over these ports."""
    service = imported("gristmill.search.service").SearchService
    return service(ports.catalog, ports.docstore, lambda dataset: ports.embedder(dataset.embedder))


def ingest_settings(
    settings: Settings, dataset: Dataset, method: str | None = None, parser_config: Mapping[str, Any] | None = None
) -> IngestSettings:
    """What decides the outcome of an ingestion into this dataset. ``parser_config`` goes before the settings."""
    own = settings.pipeline
    base = ChunkSettings(**{name: getattr(own, name) for name in ChunkSettings.__struct_fields__})
    chunk = chunk_settings(parser_config or {}, base)
    if (chunk.auto_keywords or chunk.auto_questions) and not settings.reading_model("chat")[0]:
        raise SettingsError(
            "auto_keywords and auto_questions are asked of a language model: set models.chat, or leave them 0"
        )
    return IngestSettings(
        method=chunk_method(method or own.method),
        chunk=chunk,
        read=read_settings(parser_config or {}, ReadSettings(picture_text=own.picture_text, tables=own.tables)),
        embedder=dataset.embedder,
        models=model_ids(settings),
        pages_per_part=own.pages_per_part,
    )


def again_settings(
    settings: Settings, run: Run, method: str | None = None, parser_config: Mapping[str, Any] | None = None
) -> IngestSettings:
    """What a document was ingested with, and what goes before it; the models that read it are those that are set now."""
    kept = load_settings(run.settings)
    return msgspec.structs.replace(
        kept,
        method=chunk_method(method or kept.method),
        chunk=chunk_settings(parser_config or {}, kept.chunk),
        read=read_settings(parser_config or {}, kept.read),
        models=model_ids(settings),
    )


def chunk_method(name: str) -> str:
    """The chunker of that name. Raises SettingsError where there is none."""
    if name not in CHUNKERS.names():
        raise SettingsError(f"there is no chunk method {name!r} in this release; known: {', '.join(CHUNKERS.names())}")
    return name


def shared_out(settings: Settings, ports: Ports, wanted: IngestSettings) -> IngestSettings:
    """The same, with its embedding shared out over runners where that pays. Asks the embedder, so not for nothing."""
    size = settings.pipeline.chunks_per_part
    if size is None:
        embedder = ports.embedder(wanted.embedder)
        size = CHUNKS_PER_PART if embedder.local and embedder.semantic else 0
    return msgspec.structs.replace(wanted, chunks_per_part=size)


def ensure_dataset(settings: Settings, catalog: Catalog, name: str, embedder: str | None = None) -> Dataset:
    """The dataset of this name, made with the chosen embedder if there is none.

    Raises EmbedderChanged where it was built with another embedder than the one that is asked for.
    """
    wanted = embedder or settings.pipeline.embedder
    if wanted != "auto" and wanted not in EMBEDDERS.names():
        raise SettingsError(f"there is no embedder {wanted!r}; known: auto, {', '.join(sorted(EMBEDDERS.names()))}")
    try:
        found = catalog.dataset(TENANT, name)
    except NotFound:
        _check_name(name)
        made = make_embedder(settings, default_embedder() if wanted == "auto" else wanted)
        return catalog.create_dataset(TENANT, name, embedder=made.id, dim=made.dim, settings={})
    if wanted != "auto" and provider_of(found.embedder) != wanted:
        raise EmbedderChanged(
            f"dataset {name!r} was built with embedder {found.embedder} and cannot take vectors of {wanted!r}: leave"
            " --embedder and pipeline.embedder away, or ingest into a new dataset (--dataset NEW --embedder"
            f" {wanted}), which embeds every document again"
        )
    return found


def _check_name(name: str) -> None:
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > MOST_NAME:
        raise SettingsError(
            f"{name[:MOST_NAME]!r} cannot be a dataset's name: 1 to {MOST_NAME} printable characters, no space around them"
        )


def embedder_by_id(settings: Settings, embedder_id: str) -> Embedder:
    """The embedder that a dataset was built with. Raises EmbedderChanged where the configured one differs by now."""
    made = make_embedder(settings, provider_of(embedder_id))
    if made.id != embedder_id:
        raise EmbedderChanged(
            f"the dataset was built with embedder {embedder_id}, but {made.id} is what is configured or installed: bring"
            " the first back, or ingest the documents into a new dataset"
        )
    return made


def provider_of(embedder_id: str) -> str:
    """The provider's name: an embedder's id begins with it."""
    for name in EMBEDDERS.names():
        if embedder_id == name or embedder_id.startswith((f"{name}-", f"{name}:", f"{name}@")):
            return name
    raise SettingsError(
        f"no provider of the embedder {embedder_id} is installed; known: {', '.join(EMBEDDERS.names())}"
    )


def make_embedder(settings: Settings, name: str) -> Embedder:
    """An embedder by the name of its provider."""
    made: Any = EMBEDDERS.load(name)
    options: dict[str, Any] = {}
    if settings.pipeline.embedding_batch_size:
        options["batch"] = settings.pipeline.embedding_batch_size
    if name == "openai":
        endpoint = settings.embedding_endpoint
        if not endpoint.base_url or not endpoint.model:
            raise SettingsError("embedder openai: models.embedding needs base_url and model")
        options |= endpoint.model_dump(exclude={"requests_per_minute"}) | {
            "api_key": endpoint.api_key.get_secret_value()
        }
    embedder: Embedder = made(**options)
    return embedder


def make_reader(settings: Settings, use: Use) -> Any:
    """The model that is set for this use, or None."""
    provider, endpoint = settings.reading_model(use)
    if not provider:
        return None
    made: Any = READERS[use].load(provider)
    if provider != "openai":
        return made()
    if not endpoint.base_url or not endpoint.model:
        raise SettingsError(f"models.{use}: the provider openai needs base_url and model")
    options = endpoint.model_dump(exclude={"provider", "requests_per_minute"})
    return made(**options | {"api_key": endpoint.api_key.get_secret_value()})


def model_ids(settings: Settings) -> ModelIds:
    """The models that read documents, as they are set. Raises SettingsError or PluginError where one cannot be had."""
    made = {use: make_reader(settings, use) for use in READERS}
    ids = {use: model.id if model else "" for use, model in made.items()}
    for model in filter(None, made.values()):
        model.close()
    return ModelIds(ids["transcription"], ids["vision"], ids["chat"])


def models_by_ids(settings: Settings, ids: ModelIds) -> Models:
    """The models that a run was submitted with. Raises SettingsError where others are set by now."""

    def of(use: Use, wanted: str) -> Any:
        model = make_reader(settings, use) if wanted else None
        if wanted and (model is None or model.id != wanted):
            found = model.id if model else "none"
            if model:
                model.close()
            raise SettingsError(
                f"the document was submitted to be read by {wanted} (models.{use}), but {found} is what is set here: give"
                " every worker the same settings, or ingest the document again"
            )
        return model

    return Models(of("transcription", ids.transcriber), of("vision", ids.describer), of("chat", ids.chat))


def _reading_rates(settings: Settings) -> dict[str, float]:
    """Requests a second to the models that read documents."""
    per_minute = {use: settings.reading_model(use)[1].requests_per_minute for use in READERS}
    return {use: rate / 60 for use, rate in per_minute.items() if rate}


def _open_storage(settings: Settings) -> Any:
    made: Any = STORAGES.load(settings.stores.storage)
    if settings.stores.storage == "files":
        return made(settings.home / "blobs", durable=settings.stores.durable)
    return made()


def _detect(path: Path) -> str:
    """Which parser reads this file. Imported late: who has nothing new to ingest needs no detection."""
    detect: Callable[[str, io.BufferedReader], str] = imported("gristmill.parsers.detect").detect
    with path.open("rb") as stream:
        return detect(path.name, stream)
