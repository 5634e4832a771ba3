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
from gristmill.base.settings.mask import is_secret
from gristmill.base.settings.model import Settings
from gristmill.base.settings.source import FOREIGN

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
}

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
    place = home or Path(environ.get(f"{PREFIX}HOME") or Path.home() / ".local" / "share" / "gristmill")
    origin = "--home" if home else f"environment {PREFIX}HOME" if environ.get(f"{PREFIX}HOME") else "default"
    tree["home"] = _Value(str(place.expanduser().absolute()), origin)
    ignored = [name for name in tree if name in FOREIGN]
    for name in ignored:
        del tree[name]
    return _validated(tree, ignored)


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
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as exc:
        raise SettingsError(f"{path}: cannot be read as YAML: {exc}") from exc
    if node is None:
        return {}
    if node.id != "mapping":
        raise SettingsError(f"{path}: must hold sections with keys and values")
    return _tree(node, path, environ, yaml)


def _tree(node: Any, path: Path, environ: Mapping[str, str], yaml: Any) -> Tree:
    tree: Tree = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in tree:
            raise SettingsError(f"{path}:{line}: {name!r} is given twice")
        if value.id == "mapping" and value.value:
            tree[name] = _tree(value, path, environ, yaml)
        else:
            loader = yaml.SafeLoader("")
            read = loader.construct_object(value, deep=True)
            tree[name] = _Value(_expanded(read, environ, yaml, f"{path}:{line}"), f"{path}:{line}")
    return tree


def _expanded(value: Any, environ: Mapping[str, str], yaml: Any, where: str) -> Any:
    """``${NAME:-default}`` replaced. A value that was nothing but one variable is read as YAML: numbers are numbers."""
    if isinstance(value, list):
        return [_expanded(item, environ, yaml, where) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        found = environ.get(match[1]) or match[2]
        if found is None:
            raise SettingsError(f"{where}: environment variable {match[1]} is not set, and there is no default")
        return found

    text = _VARIABLE.sub(replace, value)
    return yaml.safe_load(text) if _VARIABLE.fullmatch(value) and text else text


def _environment(environ: Mapping[str, str]) -> Tree:
    """Old names first, then GRISTMILL_SECTION__KEY over them."""
    tree: Tree = {}
    for name, place in OLD_NAMES.items():
        if environ.get(name):
            value = environ[name].lower() if place.startswith("stores.") else environ[name]
            _put(tree, place.split("."), _Value(value, f"environment {name}"))
    for name, value in environ.items():
        if name.startswith(PREFIX) and "__" in name:
            _put(tree, name.removeprefix(PREFIX).lower().split("__"), _Value(value, f"environment {name}"))
    return tree


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
    given = "" if is_secret(key) or "input" not in error else f" (given: {error['input']!r})"
    return f"{where}: {key}: {error['msg']}{given}"


def _known(section: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for name in section:
        inner = model.model_fields.get(name)
        if inner is None or not isinstance(inner.annotation, type) or not issubclass(inner.annotation, BaseModel):
            return []
        model = inner.annotation
    return sorted(model.model_fields)
