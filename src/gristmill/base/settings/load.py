"""Files and environment to Settings."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gristmill.base.errors import SettingsError
from gristmill.base.registry import imported
from gristmill.base.settings.mask import is_secret, masked
from gristmill.base.settings.model import Settings
from gristmill.base.settings.source import FOREIGN, SourceSections

NAME = "service_conf.yaml"
LOCAL = "local.service_conf.yaml"
PREFIX = "GRISTMILL_"

# Names of environment variables that the source knows, and where they go.
OLD_NAMES = {
    "MAX_CONCURRENT_TASKS": "worker.slots",
    "EMBEDDING_BATCH_SIZE": "pipeline.embedding_batch_size",
    "DOC_MAXIMUM_SIZE": "pipeline.doc_maximum_size",
    "MAX_CONTENT_LENGTH": "pipeline.doc_maximum_size",
    "DOC_ENGINE": "stores.docstore",
    "STORAGE_IMPL": "stores.storage",
    "DB_TYPE": "stores.catalog",
    "WORKER_HEARTBEAT_TIMEOUT": "worker.heartbeat_timeout",
    "TRACE_MALLOC_ENABLED": "worker.trace_malloc",
    "MYSQL_HOST": "mysql.host",
    "MYSQL_PORT": "mysql.port",
    "MYSQL_USER": "mysql.user",
    "MYSQL_PASSWORD": "mysql.password",
    "MYSQL_DBNAME": "mysql.name",
    "MYSQL_MAX_PACKET": "mysql.max_allowed_packet",
    "POSTGRES_HOST": "postgres.host",
    "POSTGRES_PORT": "postgres.port",
    "POSTGRES_USER": "postgres.user",
    "POSTGRES_PASSWORD": "postgres.password",
    "POSTGRES_DBNAME": "postgres.name",
    "REDIS_HOST": "redis.host",
    "REDIS_PORT": "redis.port",
    "REDIS_USERNAME": "redis.username",
    "REDIS_PASSWORD": "redis.password",
    "REDIS_DB": "redis.db",
    # OpenTelemetry's own.
    "OTEL_EXPORTER_OTLP_ENDPOINT": "telemetry.endpoint",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "telemetry.endpoint",
    "OTEL_EXPORTER_OTLP_HEADERS": "telemetry.headers",
    "OTEL_SERVICE_NAME": "telemetry.service_name",
    "OTEL_TRACES_SAMPLER_ARG": "telemetry.sample",
    "OTEL_SDK_DISABLED": "telemetry.disabled",
}
# Where an environment variable that is not set is empty, as it is in the source's template. Elsewhere it is a mistake.
_SHELL_LIKE = frozenset(SourceSections.model_fields)

_ENCRYPTED = ("mysql", "postgres", "redis", "minio")  # sections whose password may be written encrypted
_SERVICE_LINK = "tcp://"  # what Kubernetes puts into the variable REDIS_PORT where a service is called redis

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class _Value:
    """A value and where it stands."""

    value: Any
    origin: str


Tree = dict[str, "Tree | _Value"]


def load_settings(
    config: Path | None = None, *, home: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """The settings of this machine, file and environment. Nothing is created on disk.

    ``config`` is a file, or a folder with a ``service_conf.yaml``; without it ``conf/service_conf.yaml`` is read if there
    is one. Raises SettingsError, which names the key, its file and line, and what is allowed.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251  its one home
    tree: Tree = {}
    for path in _files(config, environ):
        _merge(tree, _read(path, environ))
    _merge(tree, _environment(environ))
    _place(tree, home)
    _choose_broker(tree)
    _decrypt(tree)
    ignored = [name for name in tree if name in FOREIGN]
    for name in ignored:
        del tree[name]
    return _validated(tree, ignored)


def _place(tree: Tree, home: Path | None) -> None:
    """The home as an absolute path: the one that is given, else the configured one, else the user's own."""
    found = tree.get("home")
    if home is not None:
        found = _Value(home, "--home")
    elif not isinstance(found, _Value) or not found.value:
        found = _Value(Path.home() / ".local" / "share" / "gristmill", "default")
    tree["home"] = _Value(str(Path(str(found.value)).expanduser().absolute()), found.origin)


def _choose_broker(tree: Tree) -> None:
    """A Redis that is configured is the broker, unless another one is named."""
    host = _at(tree, "redis", "host")
    broker = _at(tree, "engine", "broker")
    if host and host.value and not (broker and broker.value):
        _put(tree, ["engine", "broker"], _Value("redis", host.origin))


def _at(tree: Tree, section: str, key: str) -> _Value | None:
    inner = tree.get(section)
    found = inner.get(key) if isinstance(inner, dict) else None
    return found if isinstance(found, _Value) else None


def _decrypt(tree: Tree) -> None:
    """Passwords that were written encrypted, by the function that ``encrypt_module`` names (``module#function``)."""
    switch, module, key = (tree.get(name) for name in ("encrypt_password", "encrypt_module", "private_key"))
    if not isinstance(switch, _Value) or str(switch.value).lower() not in ("true", "1", "yes", "on"):
        return
    name, _, function = str(module.value if isinstance(module, _Value) else "").partition("#")
    if not isinstance(key, _Value) or not key.value or not function:
        raise SettingsError(
            f"{switch.origin}: encrypt_password: needs encrypt_module (module#function) and private_key"
        )
    try:
        decrypt = getattr(imported(name), function)
    except (ImportError, AttributeError) as exc:
        raise SettingsError(f"{module.origin if isinstance(module, _Value) else ''}: encrypt_module: {exc}") from exc
    for section in _ENCRYPTED:
        found = _at(tree, section, "password")
        if found and found.value:
            _put(tree, [section, "password"], _Value(decrypt(key.value, found.value), found.origin))


def _files(config: Path | None, environ: Mapping[str, str]) -> Iterator[Path]:
    asked = config or (Path(environ[f"{PREFIX}CONFIG"]) if environ.get(f"{PREFIX}CONFIG") else None)
    main = asked or Path("conf") / NAME
    if main.is_dir():
        main = main / NAME
    if asked and not main.is_file():
        raise SettingsError(f"{main}: there is no such file; name the configuration file itself, or its folder")
    for path in (main, main.with_name(LOCAL)):
        if path.is_file():
            yield path


def _read(path: Path, environ: Mapping[str, str]) -> Tree:
    yaml = imported("yaml")
    try:
        node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        if node is None:
            return {}
        if node.id != "mapping":
            raise SettingsError(f"{path}: must hold sections with keys and values")
        return _Reader(path, environ, yaml.SafeLoader("")).mapping(node)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = (
            getattr(exc, "problem", None) or getattr(exc, "reason", None) or "a character that YAML does not allow"
        )
        raise SettingsError(f"{place}: cannot be read as YAML: {problem}") from None  # its own text quotes the line
    except (UnicodeDecodeError, OSError) as exc:
        raise SettingsError(f"{path}: cannot be read: {exc}") from exc


@dataclass(frozen=True)
class _Reader:
    """A file's nodes to values, each with its line."""

    path: Path
    environ: Mapping[str, str]
    loader: Any  # yaml.SafeLoader

    def mapping(self, node: Any, section: str = "") -> Tree:
        tree: Tree = {}
        for key, value in node.value:
            name, where = str(key.value), f"{self.path}:{key.start_mark.line + 1}"
            if name in tree:
                raise SettingsError(f"{where}: {name!r} is given twice")
            if value.id == "mapping" and value.value:
                tree[name] = self.mapping(value, section or name)
            else:
                tree[name] = _Value(self.value(value, section or name, where), where)
        return tree

    def value(self, node: Any, section: str, where: str) -> Any:
        """A number that YAML would write otherwise stays as it was written: ``0123`` may be a password."""
        if node.id == "sequence":
            return [self.value(item, section, where) for item in node.value]
        read = self.loader.construct_object(node, deep=True)
        if isinstance(read, str):
            return self.expanded(read, section, where)
        return read if isinstance(read, (bool, dict)) or read is None or str(read) == node.value else node.value

    def expanded(self, text: str, section: str, where: str) -> str:
        """``${NAME:-default}`` replaced. What comes out is text; the setting's type decides what it means."""

        def replace(match: re.Match[str]) -> str:
            found = self.environ.get(match[1]) or match[2]
            if found is None and section not in _SHELL_LIKE:
                raise SettingsError(f"{where}: environment variable {match[1]} is not set, and there is no default")
            return found or ""

        return _VARIABLE.sub(replace, text)


def _environment(environ: Mapping[str, str]) -> Tree:
    """Passwords from files, old names over them, then GRISTMILL_HOME and GRISTMILL_SECTION__KEY over both."""
    tree: Tree = {}
    for name, place in OLD_NAMES.items():
        if is_secret(place) and (path := environ.get(f"{name}_FILE")):
            _put(tree, place.split("."), _Value(_secret(f"{name}_FILE", path), f"environment {name}_FILE"))
        if environ.get(name) and not environ[name].startswith(_SERVICE_LINK):
            value = environ[name].lower() if place.startswith("stores.") else environ[name]
            _put(tree, place.split("."), _Value(value, f"environment {name}"))
    for name, value in environ.items():
        if name == f"{PREFIX}HOME" or (name.startswith(PREFIX) and "__" in name):
            _put(tree, name.removeprefix(PREFIX).lower().split("__"), _Value(value, f"environment {name}"))
    return tree


def _secret(name: str, path: str) -> str:
    """What is in a file that a container was given a secret by; the line's end is none of it."""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"environment {name}: the file {path} cannot be read: {exc}") from exc


def _put(tree: Tree, place: list[str], value: _Value) -> None:
    for name in place[:-1]:
        inner = tree.setdefault(name, {})
        if isinstance(inner, _Value):
            inner = tree[name] = {}
        tree = inner
    tree[place[-1]] = value


def _merge(tree: Tree, over: Tree) -> None:
    """Deep: a local section replaces only the keys that it gives."""
    for name, value in over.items():
        below = tree.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            _merge(below, value)
        else:
            tree[name] = value


def _validated(tree: Tree, ignored: list[str]) -> Settings:
    origins = dict(_origins(tree))
    try:
        settings = Settings.model_validate(_plain(tree))
    except ValidationError as exc:
        raise SettingsError("\n".join(_said(error, origins) for error in exc.errors(include_url=False))) from exc
    settings._origins.update(origins)
    settings._ignored.extend(ignored)
    return settings


def _plain(tree: Tree) -> dict[str, Any]:
    return {name: _plain(item) if isinstance(item, dict) else item.value for name, item in tree.items()}


def _origins(tree: Tree, above: str = "") -> Iterator[tuple[str, str]]:
    for name, item in tree.items():
        if isinstance(item, dict):
            yield from _origins(item, f"{above}{name}.")
        else:
            yield f"{above}{name}", item.origin


def _said(error: Any, origins: Mapping[str, str]) -> str:
    """One mistake as a sentence: where, which key, what is allowed."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    where = next((origin for name, origin in origins.items() if name == key or name.startswith(f"{key}.")), "")
    where = where or next((origin for name, origin in origins.items() if key.startswith(f"{name}.")), "configuration")
    if error["type"] == "extra_forbidden":
        known = _known(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"
        return f"{where}: there is no setting {key!r}{hint}"
    given = "" if is_secret(key) or "input" not in error else f" (given: {masked(error['input'])!r})"
    return f"{where}: {key}: {error['msg'].removeprefix('Value error, ')}{given}"


def _known(section: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for name in section:
        inner = model.model_fields.get(name)
        if inner is None or not isinstance(inner.annotation, type) or not issubclass(inner.annotation, BaseModel):
            return []
        model = inner.annotation
    return sorted(model.model_fields)
