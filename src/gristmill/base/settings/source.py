"""The sections of the source's ``service_conf.yaml``, typed, so that an existing file is read and checked.

Sections of parts that this release does not have yet are checked all the same and used once those parts arrive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from gristmill.base.settings.mask import masked

_NONE = SecretStr("")

# Sections that belong to other programs which read the same file.
FOREIGN = frozenset(
    ("general", "nats", "clickhouse", "otel", "ingestor", "file_syncer", "tcadp_config", "oceanbase", "seekdb", "serenedb",
     "gaussdb", "deepdoc", "mcp")
)  # fmt: skip


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change, secrets are never in its repr.

    A key without a value (``bucket:``) means its default, and so does an empty text where no text can be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if not (_is_empty(value) and cls._refuses(name, value))}

    @classmethod
    def _refuses(cls, name: Any, value: Any) -> bool:
        field = cls.model_fields.get(str(name))
        if field is None:
            return False
        annotation: Any = field.annotation
        try:
            TypeAdapter(annotation).validate_python(value)
        except ValidationError:
            return True
        return False

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, value if isinstance(value, BaseModel) else masked(value, name or "")


class Address(Section):
    """Where a server of ours listens."""

    host: str = "127.0.0.1"
    http_port: int = Field(9380, ge=1, le=65535)
    secret_key: SecretStr = _NONE


class Database(Section):
    """A SQL database."""

    name: str = "rag_flow"
    user: str = ""
    password: SecretStr = _NONE
    host: str = "localhost"
    port: int = Field(3306, ge=1, le=65535)
    max_connections: int = Field(900, ge=1)
    stale_timeout: int = Field(300, ge=1)
    max_allowed_packet: int = Field(1024**3, ge=1)


class Postgres(Database):
    """PostgreSQL."""

    port: int = Field(5432, ge=1, le=65535)
    max_connections: int = Field(100, ge=1)


class Minio(Section):
    """MinIO."""

    user: str = ""
    password: SecretStr = _NONE
    host: str = "localhost:9000"
    bucket: str = ""
    import_bucket: str = ""
    prefix_path: str = ""
    secure: bool = False
    verify: bool = True
    region: str = ""


class S3(Section):
    """S3 and what speaks like it. ``region`` and ``endpoint`` are older names of ``region_name`` and ``endpoint_url``."""

    access_key: SecretStr = _NONE
    secret_key: SecretStr = _NONE
    session_token: SecretStr = _NONE
    region_name: str = ""
    region: str = ""
    endpoint_url: str = ""
    endpoint: str = ""
    signature_version: str = ""
    addressing_style: str = ""
    bucket: str = ""
    prefix_path: str = ""


class Gcs(Section):
    """Google Cloud Storage."""

    bucket: str = ""
    prefix_path: str = ""
    endpoint_url: str = ""


class Azure(Section):
    """Azure blob storage, by SAS or by service principal."""

    auth_type: Literal["sas", "spn"] = "sas"
    container_url: str = ""
    sas_token: SecretStr = _NONE
    account_url: str = ""
    client_id: str = ""
    secret: SecretStr = _NONE
    tenant_id: str = ""
    container_name: str = ""
    cloud: str = ""


class OpenDal(Section):
    """Any storage that OpenDAL knows."""

    scheme: str = "mysql"
    config: dict[str, Any] = {}


class Elasticsearch(Section):
    """Elasticsearch, OpenSearch."""

    hosts: str = "http://localhost:9200"
    username: str = ""
    password: SecretStr = _NONE
    api_key: SecretStr = _NONE
    verify_certs: bool = True
    hybrid_search_pipeline: str = ""
    hybrid_search_weights: str = ""


class Infinity(Section):
    """Infinity."""

    uri: str = "localhost:23817"
    postgres_port: int = Field(5432, ge=1, le=65535)
    db_name: str = "default_db"


class Redis(Section):
    """Redis or Valkey. The port may stand in ``host``, or in ``port``, which counts more."""

    db: int = Field(1, ge=0)
    username: str = ""
    password: SecretStr = _NONE
    host: str = "localhost:6379"
    port: int | None = Field(None, ge=1, le=65535)
    ssl: bool = False
    ssl_ca_certs: str = ""


class TaskExecutor(Section):
    """How tasks get to the source's executors."""

    message_queue_type: str = "redis"


class DefaultModel(Section):
    """One default model: its name, or a name with an endpoint of its own. ``model`` is another word for ``name``."""

    name: str = ""
    model: str = ""
    factory: str = ""
    api_key: SecretStr = _NONE
    base_url: str = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


class DefaultModels(Section):
    """Default models by use."""

    chat_model: DefaultModel = DefaultModel()
    embedding_model: DefaultModel = DefaultModel()
    rerank_model: DefaultModel = DefaultModel()
    asr_model: DefaultModel = DefaultModel()
    vision_model: DefaultModel = DefaultModel()
    image2text_model: DefaultModel = DefaultModel()


class UserDefaultLlm(Section):
    """The models that datasets begin with."""

    factory: str = ""
    api_key: SecretStr = _NONE
    base_url: str = ""
    allowed_factories: list[str] | None = None
    parsers: str = ""
    default_models: DefaultModels = DefaultModels()


class Smtp(Section):
    """Outgoing mail."""

    mail_server: str = ""
    mail_port: int = Field(465, ge=1, le=65535)
    mail_use_ssl: bool = True
    mail_use_tls: bool = False
    mail_username: str = ""
    mail_password: SecretStr = _NONE
    mail_default_sender: list[str] = []
    mail_frontend_url: str = ""

    @field_validator("mail_default_sender", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given


class SourceSections(Section):
    """The sections together."""

    ragflow: Address = Address()
    admin: Address = Address(http_port=9381)
    mysql: Database = Database()
    postgres: Postgres = Postgres()
    minio: Minio = Minio()
    s3: S3 = S3()
    oss: S3 = S3()
    gcs: Gcs = Gcs()
    azure: Azure = Azure()
    opendal: OpenDal = OpenDal()
    es: Elasticsearch = Elasticsearch()
    os: Elasticsearch = Elasticsearch(hosts="http://localhost:1201")
    infinity: Infinity = Infinity()
    redis: Redis = Redis()
    task_executor: TaskExecutor = TaskExecutor()
    user_default_llm: UserDefaultLlm = UserDefaultLlm()
    smtp: Smtp = Smtp()
    oauth: dict[str, Any] = {}
    authentication: dict[str, Any] = {}
    permission: dict[str, Any] = {}
    encrypt_password: bool = False
    encrypt_module: str = ""
    private_key: SecretStr = _NONE
