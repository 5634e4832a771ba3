"""Where catalog and broker are: from sections and words of the configuration to URLs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from gristmill.base.errors import SettingsError
from gristmill.base.settings import Settings, load_settings
from gristmill.base.settings.mask import masked_text

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings from the text of a file and an environment."""

    def load(main: str = "", environ: Mapping[str, str] | None = None) -> Settings:
        (tmp_path / "service_conf.yaml").write_text(main, encoding="utf-8")
        return load_settings(tmp_path, home=tmp_path / "home", environ=environ or {})

    return load


POSTGRES = {
    "DB_TYPE": "postgres",
    "POSTGRES_HOST": "db",
    "POSTGRES_PORT": "5433",
    "POSTGRES_USER": "us",
    "POSTGRES_PASSWORD": "p@ss/w:rd",
    "POSTGRES_DBNAME": "docs",
}
MYSQL = {
    "DB_TYPE": "MySQL",
    "MYSQL_HOST": "db",
    "MYSQL_USER": "us",
    "MYSQL_DBNAME": "docs",
    "MYSQL_PASSWORD": "hunter2",
}
SECTION = "mysql:\n  host: db\n  user: us\n  password: hunter2\n  name: docs\n  port: 3307\n"


@pytest.mark.parametrize(
    ("main", "environ", "url"),
    [
        ("", POSTGRES, "postgresql://us:p%40ss%2Fw%3Ard@db:5433/docs"),
        ("", MYSQL, "mysql://us:hunter2@db:3306/docs"),
        (SECTION, {"DB_TYPE": "mariadb"}, "mariadb://us:hunter2@db:3307/docs"),
        (SECTION, {"DB_TYPE": "mysql", "MYSQL_HOST": "::1"}, "mysql://us:hunter2@[::1]:3307/docs"),
        (SECTION + "stores:\n  catalog: postgresql\n", {}, "postgresql://localhost:5432/rag_flow"),
        ("stores:\n  catalog: postgresql://a:b@c/d\n", {}, "postgresql://a:b@c/d"),
    ],
)
def test_the_catalog_is_where_the_section_of_its_kind_says(
    load: Load, main: str, environ: dict[str, str], url: str
) -> None:
    settings = load(main, environ)
    pool = "" if "//a:b@" in url else f"?max_connections={100 if 'postgres' in url else 900}&stale_timeout=300"
    assert settings.catalog_url == url + pool
    assert Settings.model_validate(settings.plain()).catalog_url == url + pool


@pytest.mark.parametrize(
    ("main", "environ", "url"),
    [
        ("redis:\n  host: cache:6380\n  password: hunter2\n", {}, "redis://:hunter2@cache:6380/1"),
        ("redis:\n  host: cache:6380\n  port: 7000\n  db: 3\n", {}, "redis://cache:7000/3"),
        ("redis:\n  host: '[::1]:6380'\n", {}, "redis://[::1]:6380/1"),
        ("redis:\n  host: '::1'\n", {}, "redis://[::1]:6379/1"),
        ("redis:\n  host: h\n  ssl: true\n  ssl_ca_certs: /ca.pem\n", {}, "rediss://h:6379/1?ssl_ca_certs=%2Fca.pem"),
        ("", {"REDIS_HOST": "h", "REDIS_PORT": "7", "REDIS_USERNAME": "u", "REDIS_PASSWORD": "p:@"}, "redis://u:p%3A%40@h:7/1"),
        ("", {"REDIS_HOST": "h", "REDIS_PORT": "tcp://10.0.0.1:6379", "REDIS_DB": "0"}, "redis://h:6379/0"),
        ("engine:\n  broker: redis\n", {}, "redis://localhost:6379/1"),
        ("engine:\n  broker: memory://\nredis:\n  host: h\n", {}, "memory://"),
        ("redis:\n  host: h\n", {"GRISTMILL_ENGINE__BROKER": "rediss://other"}, "rediss://other"),
        ("engine:\n  broker: database\nredis:\n  host: h\n", POSTGRES, "postgresql://us:p%40ss%2Fw%3Ard@db:5433/docs"),
    ],
)  # fmt: skip
def test_the_broker_is_a_redis_where_one_is_configured_and_no_other_is_named(
    load: Load, main: str, environ: dict[str, str], url: str
) -> None:
    settings = load(main, environ)
    assert settings.broker_url == url
    assert Settings.model_validate(settings.plain()).broker_url == url


@pytest.mark.parametrize("main", ["", "engine:\n  broker: database\n", "redis:\n  db: 2\n", "redis:\n  host:\n"])
def test_the_broker_is_a_file_of_its_own_where_there_is_no_server(load: Load, main: str) -> None:
    settings = load(main, {"REDIS_PORT": "6379"})
    assert settings.broker_url == f"sqlite:///{settings.home}/broker.db"


def test_a_chosen_broker_says_what_chose_it(load: Load, tmp_path: Path) -> None:
    settings = load("redis:\n  host: cache\n")
    assert settings.engine.broker == "redis"
    assert settings.origin("engine.broker") == f"{tmp_path / 'service_conf.yaml'}:2"
    assert load(environ={"REDIS_HOST": "h"}).origin("engine.broker") == "environment REDIS_HOST"


@pytest.mark.parametrize(
    ("main", "environ", "said"),
    [
        ("stores:\n  catalog: oracle\n", {}, r"service_conf\.yaml:2: stores\.catalog: must be a URL .* mysql, mariadb"),
        ("", {"DB_TYPE": "oracle"}, r"environment DB_TYPE: stores\.catalog: must be a URL .*'oracle'"),
        ("engine:\n  broker: rabbit\n", {}, r"service_conf\.yaml:2: engine\.broker: must be a URL .*: redis, valkey, "),
        ("redis:\n  port: many\n", {}, r"service_conf\.yaml:2: redis\.port: "),
        ("engine:\n  lane_limit: 0\n", {}, r"service_conf\.yaml:2: engine\.lane_limit: "),
        ("", {"WORKER_HEARTBEAT_TIMEOUT": "1"}, r"environment WORKER_HEARTBEAT_TIMEOUT: worker\.heartbeat_timeout: "),
    ],
)
def test_what_is_no_place_is_refused_by_its_name(load: Load, main: str, environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(main, environ)


def test_the_password_of_a_url_is_never_shown(load: Load) -> None:
    settings = load("stores:\n  catalog: postgresql://us:w%40terfall@db/docs\n", POSTGRES | {"DB_TYPE": ""})
    assert settings.shown()["stores"]["catalog"] == "postgresql://***@db/docs"
    assert "w%40terfall" not in repr(settings)
    for text in ("w@terfall", "w%40terfall", "p@ss/w:rd", "p%40ss%2Fw%3Ard"):
        assert masked_text(f"refused: {text}!") == "refused: ***!"


# -- encrypted passwords


@pytest.fixture
def seal(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("seal")
    vars(module)["decrypt"] = lambda key, text: f"{key}:{text[::-1]}"
    monkeypatch.setitem(sys.modules, "seal", module)


SEALED = "encrypt_password: true\nencrypt_module: seal#decrypt\nprivate_key: k\nmysql:\n  user: u\n  password: drow\n"


@pytest.mark.usefixtures("seal")
def test_an_encrypted_password_is_decrypted_by_the_named_function(load: Load) -> None:
    assert load(SEALED).mysql.password.get_secret_value() == "k:word"
    assert load(SEALED, {"MYSQL_PASSWORD": "cba"}).mysql.password.get_secret_value() == "k:abc"
    assert load(SEALED.replace("true", "false")).mysql.password.get_secret_value() == "drow"


@pytest.mark.usefixtures("seal")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("private_key: k\n", ""), "needs encrypt_module .* and private_key"),
        (("seal#decrypt", "seal"), "needs encrypt_module"),
        (("seal#", "sael#"), r":2: encrypt_module: No module named 'sael'"),
        (("#decrypt", "#encrypt"), r":2: encrypt_module: .*encrypt"),
    ],
)
def test_what_is_missing_for_decrypting_is_named(load: Load, change: tuple[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(SEALED.replace(*change))
