"""Configuration: files and environment to typed settings; every mistake is named with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.base.errors import SettingsError
from gristmill.base.settings import Settings, load_settings

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings from the text of a main file and of a local one."""

    def load(main: str = "", local: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        (tmp_path / "service_conf.yaml").write_text(main, encoding="utf-8")
        if local is not None:
            (tmp_path / "local.service_conf.yaml").write_text(local, encoding="utf-8")
        return load_settings(tmp_path, home=tmp_path / "home", environ=environ or {})

    return load


def read(settings: Settings, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


# Where values come from


def test_without_any_file_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={})
    assert settings.stores.docstore == "sqlite"
    assert settings.broker_url == f"sqlite:///{settings.home}/broker.db"
    assert settings.catalog_url == f"sqlite:///{settings.home}/catalog.db"
    assert settings.origin("worker.slots") == "default"
    assert not settings.home.exists() or not list(tmp_path.iterdir())  # nothing is made by reading


def test_a_local_file_replaces_only_the_keys_that_it_gives(load: Load, tmp_path: Path) -> None:
    settings = load(
        "mysql:\n  host: one\n  port: 5455\npipeline:\n  delimiter: '#'\n  chunk_token_num: 64\n",
        "mysql:\n  host: two\npipeline:\n  chunk_token_num: 32\n",
    )
    assert (settings.mysql.host, settings.mysql.port) == ("two", 5455)
    assert (settings.pipeline.delimiter, settings.pipeline.chunk_token_num) == ("#", 32)
    assert settings.origin("mysql.host") == f"{tmp_path / 'local.service_conf.yaml'}:2"
    assert settings.origin("mysql.port") == f"{tmp_path / 'service_conf.yaml'}:3"


def test_the_environment_wins_over_files(load: Load) -> None:
    environ = {"GRISTMILL_WORKER__SLOTS": "7", "GRISTMILL_MODELS__EMBEDDING__MODEL": "bge-m3"}
    settings = load("worker:\n  slots: 2\n", "worker:\n  slots: 3\n", environ)
    assert settings.worker.slots == 7
    assert settings.models.embedding.model == "bge-m3"
    assert settings.origin("worker.slots") == "environment GRISTMILL_WORKER__SLOTS"


@pytest.mark.parametrize(
    ("name", "given", "key", "expected"),
    [
        ("MAX_CONCURRENT_TASKS", "3", "worker.slots", 3),
        ("EMBEDDING_BATCH_SIZE", "16", "pipeline.embedding_batch_size", 16),
        ("DOC_MAXIMUM_SIZE", "1048576", "pipeline.doc_maximum_size", 1048576),
        ("MAX_CONTENT_LENGTH", "1048576", "pipeline.doc_maximum_size", 1048576),
        ("DOC_ENGINE", "Elasticsearch", "stores.docstore", "elasticsearch"),
        ("STORAGE_IMPL", "MINIO", "stores.storage", "minio"),
        ("DB_TYPE", "mysql", "stores.catalog", "mysql"),
    ],
)
def test_old_names_of_environment_variables_work(load: Load, name: str, given: str, key: str, expected: object) -> None:
    settings = load(environ={name: given})
    assert read(settings, key) == expected
    assert settings.origin(key) == f"environment {name}"


@pytest.mark.parametrize("section", ["mysql", "postgres", "redis"])
def test_a_password_may_be_in_a_file_that_the_environment_names(load: Load, tmp_path: Path, section: str) -> None:
    (tmp_path / "secret").write_text("p ss\n", encoding="utf-8")
    name = f"{section.upper()}_PASSWORD"
    settings = load(environ={f"{name}_FILE": str(tmp_path / "secret")})
    assert read(settings, f"{section}.password") == "p ss"
    assert settings.origin(f"{section}.password") == f"environment {name}_FILE"
    nearer = load(environ={f"{name}_FILE": str(tmp_path / "secret"), name: "other"})
    assert read(nearer, f"{section}.password") == "other"


def test_a_file_with_a_password_that_cannot_be_read_is_a_mistake_that_names_the_variable(
    load: Load, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"environment REDIS_PASSWORD_FILE: the file .*nowhere cannot be read"):
        load(environ={"REDIS_PASSWORD_FILE": str(tmp_path / "nowhere")})


def test_only_passwords_are_read_from_files(load: Load, tmp_path: Path) -> None:
    settings = load(environ={"REDIS_HOST_FILE": str(tmp_path), "GRISTMILL_SUPERVISOR__LOG_FILE": "log"})
    assert (settings.redis.host, settings.supervisor.log_file) == ("localhost:6379", "log")


def test_a_new_name_wins_over_an_old_one(load: Load) -> None:
    assert load(environ={"MAX_CONCURRENT_TASKS": "3", "GRISTMILL_WORKER__SLOTS": "5"}).worker.slots == 5


@pytest.mark.parametrize("given", ["option", "environment", "file"])
def test_the_home_is_the_nearest_that_is_named(tmp_path: Path, given: str) -> None:
    config = tmp_path / "service_conf.yaml"
    config.write_text("home: /from/file\n")
    environ = {} if given == "file" else {"GRISTMILL_HOME": "/from/environment"}
    home = Path("/from/option") if given == "option" else None
    settings = load_settings(config, home=home, environ=environ)
    assert settings.home == Path(f"/from/{given}")
    origins = {"option": "--home", "environment": "environment GRISTMILL_HOME", "file": f"{config}:1"}
    assert settings.origin("home") == origins[given]


def test_the_file_is_found_by_option_variable_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "service_conf.yaml"
    file.write_text("worker:\n  slots: 4\n")
    assert load_settings(file, environ={}).worker.slots == 4
    assert load_settings(tmp_path / "conf", environ={}).worker.slots == 4
    assert load_settings(environ={"GRISTMILL_CONFIG": str(file)}).worker.slots == 4
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}).worker.slots == 4
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: there is no such file"):
        load_settings(Path("nowhere.yaml"), environ={})


# What values mean


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("${SLOTS:-2}", {}, 2),
        ("${SLOTS:-2}", {"SLOTS": "9"}, 9),
        ("${SLOTS:-2}", {"SLOTS": ""}, 2),
        ("'${SLOTS:-2}'", {}, 2),
        ("${ONE:-1}${TWO:-2}", {}, 12),
    ],
)
def test_variables_in_values_are_replaced(load: Load, text: str, environ: dict[str, str], expected: int) -> None:
    assert load(f"worker:\n  slots: {text}\n", environ=environ).worker.slots == expected


def test_a_variable_that_is_not_set_is_a_mistake_here_and_empty_in_the_sections_of_the_source(load: Load) -> None:
    assert load("minio:\n  host: '${MINIO_HOST}:9000'\n  region: ${REGION}\n").minio.host == ":9000"
    with pytest.raises(SettingsError, match=r"service_conf\.yaml:2: environment variable SLOTS is not set"):
        load("worker:\n  slots: ${SLOTS}\n")


@pytest.mark.parametrize("written", ["0123", "12345", "1e5", "0x10", "1_000", "true", "null", "a: b", "[x]"])
def test_a_password_is_what_was_written_whatever_yaml_would_make_of_it(load: Load, written: str) -> None:
    given = load("mysql:\n  password: ${PASSWORD:-x}\n", environ={"PASSWORD": written})
    assert given.mysql.password.get_secret_value() == written
    if written[0].isdigit():
        assert load(f"mysql:\n  password: {written}\n").mysql.password.get_secret_value() == written


def test_a_key_or_a_section_without_a_value_means_the_default(load: Load) -> None:
    settings = load("minio:\nworker:\n  grace_seconds:\n  memory_limit:\nsmtp:\n  mail_username:\n")
    assert settings.minio.host == "localhost:9000"
    assert settings.worker.grace_seconds == 30
    assert settings.worker.memory_limit is None  # where nothing is a value, it is one
    assert settings.smtp.mail_username == ""


def test_settings_never_change(load: Load) -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.worker.slots = 3  # type: ignore[misc]


# Mistakes


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("worker:\n  slotz: 3\n", "there is no setting 'worker.slotz'; did you mean 'slots'?"),
        ("wroker:\n  slots: 3\n", "there is no setting 'wroker'; did you mean 'worker'?"),
        ("worker:\n  qqq: 3\n", "there is no setting 'worker.qqq'; known here: async_slots, grace_seconds,"),
        ("\nworker:\n\n  slots: many\n", "worker.slots: Input should be a valid integer"),
        ("worker:\n  slots: 0\n", "worker.slots: Input should be greater than or equal to 1 (given: 0)"),
        ("models:\n  embedding:\n    timeout: -1\n", "models.embedding.timeout: Input should be greater than 0"),
        ("mysql:\n  port: 99999\n", "mysql.port: Input should be less than or equal to 65535 (given: 99999)"),
        ("azure:\n  auth_type: password\n", "azure.auth_type: Input should be 'sas' or 'spn' (given: 'password')"),
        (
            "user_default_llm:\n  default_models:\n    chat_model:\n      nme: x\n",
            "there is no setting 'user_default_llm.default_models.chat_model.nme'; did you mean 'name'?",
        ),
        ("log:\n  level: loud\n", "log.level: Input should be 'debug', 'info', 'warning' or 'error' (given: 'loud')"),
        ("worker: 3\n", "worker: Input should be"),
        ("worker:\n  slots: 1\n  slots: 2\n", "'slots' is given twice"),
        ("worker:\n  slots: [1\n", "cannot be read as YAML"),
        ("worker:\n  slots: !!python/name:os.system\n", "cannot be read as YAML"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_line(load: Load, tmp_path: Path, main: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(main)
    line = re.match(rf"{re.escape(str(tmp_path / 'service_conf.yaml'))}:(\d+): ", str(caught.value))
    assert line, str(caught.value)
    assert said in str(caught.value)
    last = len(main.rstrip("\n").splitlines())
    assert int(line[1]) in (last, last + 1)  # where YAML ends too early, it is the line after


def test_mistakes_in_the_local_file_are_its_own(load: Load, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"local\.service_conf\.yaml:2: worker\.slots"):
        load("worker:\n  slots: 2\n", "worker:\n  slots: x\n")


def test_a_mistake_in_the_environment_names_the_variable(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"environment MAX_CONCURRENT_TASKS: worker\.slots: .*'lots'"):
        load(environ={"MAX_CONCURRENT_TASKS": "lots"})
    with pytest.raises(SettingsError, match="environment GRISTMILL_WORKER__SLOTZ: there is no setting"):
        load(environ={"GRISTMILL_WORKER__SLOTZ": "3"})


def test_all_mistakes_are_told_at_once(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load("worker:\n  slots: x\nmysql:\n  port: y\n", environ={"GRISTMILL_LOG__LEVEL": "loud", "GRISTMILL_A__B": ""})
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(any(name in line for line in lines) for name in ("slots", "mysql.port", "log.level", "'a'"))


@pytest.mark.parametrize("main", ["- a\n- b\n", "just words\n"])
def test_a_file_that_holds_no_sections_is_refused(load: Load, main: str) -> None:
    with pytest.raises(SettingsError, match="must hold sections"):
        load(main)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "service_conf.yaml"
    path.write_bytes(b"\xff\xfe\x00worker")
    with pytest.raises(SettingsError, match=r"service_conf\.yaml: cannot be read"):
        load_settings(path, environ={})


# The source's own file

SOURCE = """\
ragflow:
  host: ${RAGFLOW_HOST:-0.0.0.0}
  http_port: 9380
admin:
  host: 0.0.0.0
  http_port: 9381
general:
  heartbeat_interval: 3s
mysql:
  name: '${MYSQL_DBNAME:-rag_flow}'
  user: root
  password: '${MYSQL_PASSWORD:-mysql-S3cret}'
  host: '${MYSQL_HOST:-mysql}'
  port: 3306
  max_connections: 900
  stale_timeout: 300
  max_allowed_packet: ${MYSQL_MAX_PACKET:-1073741824}
postgres:
  name: rag_flow
  user: rag_flow
  password: postgres-S3cret
  host: postgres
  port: 5432
  max_connections: 100
  stale_timeout: 30
minio:
  user: rag_flow
  password: minio-S3cret
  host: '${MINIO_HOST:-minio}:9000'
  bucket: ''
  prefix_path: ''
  secure: ${MINIO_SECURE:-}
es:
  hosts: 'http://${ES_HOST:-es01}:9200'
  username: elastic
  password: es-S3cret
  api_key: '${ES_APIKEY}'
os:
  hosts: http://admin:hosts-S3cret@os01:9201
  username: admin
  password: os-S3cret
infinity:
  uri: infinity:23817
  postgres_port: 5432
  db_name: default_db
oceanbase:
  scheme: oceanbase
  config:
    password: ob-S3cret
redis:
  db: 1
  username: ''
  password: redis-S3cret
  host: redis:6379
task_executor:
  message_queue_type: redis
s3:
  access_key: s3-access-S3cret
  secret_key: s3-S3cret
  region: us-east-1
  endpoint: https://s3.example.org
oss:
  access_key: oss-access-S3cret
  secret_key: oss-S3cret
  endpoint_url: http://oss.example.org
  region: cn-hangzhou
  bucket: documents
  signature_version: s3
  addressing_style: virtual
gcs:
  bucket: documents
azure:
  auth_type: sas
  container_url: https://account.example.org/container?sv=2024&sig=azure-url-S3cret
  sas_token: azure-S3cret
opendal:
  scheme: mysql
  config:
    oss_table: opendal_storage
    password: opendal-S3cret
user_default_llm:
  factory: Tongyi-Qianwen
  api_key: llm-S3cret
  base_url: http://models.example.org/v1
  allowed_factories: [Tongyi-Qianwen, BAAI]
  default_models:
    chat_model:
      name: qwen2.5-7b-instruct
      factory: Tongyi-Qianwen
      api_key: chat-S3cret
      base_url: https://chat.example.org
    embedding_model: bge-m3@BAAI
    rerank_model: bge-reranker-v2
    asr_model:
      model: whisper-large-v3
    image2text_model: ''
oauth:
  github:
    type: github
    client_id: us
    client_secret: oauth-S3cret
    redirect_uri: https://example.org/callback
authentication:
  client:
    switch: false
    http_app_key: app-S3cret
    http_secret_key:
  site:
    switch: false
permission:
  switch: false
  component: false
  dataset: false
smtp:
  mail_server: mail.example.org
  mail_port: 465
  mail_use_ssl: true
  mail_use_tls: false
  mail_username: us
  mail_password: mail-S3cret
  mail_default_sender:
    - RAGFlow
    - us@example.org
  mail_frontend_url: https://example.org
tcadp_config:
  secret_key: tcadp-S3cret
log:
  level: WARN
  format: text
  path: logs/server.log
  max_size: 100
  compress: true
encrypt_password: false
encrypt_module: seal#decrypt
private_key: private-S3cret
"""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("ragflow.host", "0.0.0.0"),
        ("mysql.password", "mysql-S3cret"),
        ("mysql.max_allowed_packet", 2**30),
        ("postgres.port", 5432),
        ("minio.host", "minio:9000"),
        ("minio.secure", False),
        ("es.hosts", "http://es01:9200"),
        ("redis.db", 1),
        ("s3.endpoint", "https://s3.example.org"),
        ("opendal.config.oss_table", "opendal_storage"),
        ("user_default_llm.allowed_factories", ["Tongyi-Qianwen", "BAAI"]),
        ("user_default_llm.default_models.chat_model.name", "qwen2.5-7b-instruct"),
        ("user_default_llm.default_models.embedding_model.name", "bge-m3@BAAI"),
        ("oauth.github.client_id", "us"),
        ("smtp.mail_default_sender", ["RAGFlow", "us@example.org"]),
        ("log.level", "warning"),
        ("log.format", "console"),
    ],
)
def test_the_sources_file_is_read_and_typed(load: Load, key: str, expected: object) -> None:
    assert read(load(SOURCE), key) == expected


def test_sections_of_other_programs_are_named_and_left_alone(load: Load) -> None:
    assert load(SOURCE).ignored == ["general", "oceanbase", "tcadp_config"]


def test_the_sources_default_model_is_the_embedding_endpoint_unless_ours_is_set(load: Load) -> None:
    endpoint = load(SOURCE).embedding_endpoint
    assert (endpoint.base_url, endpoint.model) == ("http://models.example.org/v1", "bge-m3")
    assert endpoint.api_key.get_secret_value() == "llm-S3cret"
    own = load(SOURCE, "models:\n  embedding:\n    base_url: http://own/v1\n    model: e5\n").embedding_endpoint
    assert (own.base_url, own.model, own.api_key.get_secret_value()) == ("http://own/v1", "e5", "")


# Secrets (P11)


def test_no_secret_is_shown(load: Load) -> None:
    settings = load(SOURCE)
    for shown in (repr(settings), str(settings), str(settings.shown()), repr(settings.oauth), repr(settings.os)):
        assert "S3cret" not in shown or shown == repr(settings.oauth)  # a plain dict cannot mask itself
    assert settings.shown()["oauth"]["github"] == {
        "type": "github", "client_id": "us", "client_secret": "***", "redirect_uri": "https://example.org/callback",
    }  # fmt: skip
    assert settings.shown()["azure"]["container_url"].endswith("?sv=2024&sig=***")
    assert settings.shown()["encrypt_password"] is False


def test_a_child_process_gets_settings_with_their_secrets(load: Load) -> None:
    settings = load(SOURCE)
    copy = Settings.model_validate(settings.plain())
    assert copy.plain() == settings.plain()
    assert copy.mysql.password.get_secret_value() == "mysql-S3cret"


@pytest.mark.parametrize(
    "main",
    [
        "mysql:\n  password: 'S3cret\n",  # YAML's own message quotes the line
        "mysql:\n  password: [S3cret]\n",
        "mysql: {password: {a: S3cret}}\n",
        "mysql:\n  port: mysql://root:S3cret@host/db\n",
        "ragflow:\n  secret_key: [S3cret, S3cret]\n",
    ],
)
def test_no_mistake_quotes_a_secret(load: Load, main: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(main)
    assert "S3cret" not in str(caught.value)
    assert "S3cret" not in repr(caught.value.__context__)


def test_an_object_is_json_in_the_environment(load: Load) -> None:
    name = "GRISTMILL_PIPELINE__TABLE_COLUMN_ROLES"
    assert load(environ={name: '{"unit": "metadata"}'}).pipeline.table_column_roles == {"unit": "metadata"}
    for wrong in ('{"unit": "x"}', '{"unit"', "unit"):
        with pytest.raises(SettingsError, match=rf"environment {name}: pipeline\.table_column_roles"):
            load(environ={name: wrong})
