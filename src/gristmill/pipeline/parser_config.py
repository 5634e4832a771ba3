"""A document's ``parser_config``: the keys that are known, those that are refused with a reason, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from gristmill.base.errors import SettingsError
from gristmill.base.settings.model import Pipeline
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.parser import ReadSettings

_MODEL = "the chat model of this release is asked for keywords, questions and the fields of resumes only"
_LATER = "this release does not do it"
REFUSED = {
    "toc_extraction": _MODEL,
    "enable_metadata": _MODEL,
    "metadata": _MODEL,
    "raptor": _MODEL,
    "graphrag": _MODEL,
    "llm_id": _MODEL,
    "tag_kb_ids": "tags of one dataset are not given to the chunks of another yet",
    "filename_embd_weight": "vectors are made of the text alone",
    "analyze_hyperlink": "links are never followed",
    "layout_recognize": "documents are read by the parsers of this release only",
    "table_column_mode": "it is auto, or manual with table_column_roles",
    "image_table_context_window": "set table_context_size and image_context_size",
}
_IDLE: dict[str, tuple[Any, ...]] = {  # values that ask for nothing but what is done anyway
    "layout_recognize": ("DeepDOC", "Plain Text"),
    "table_column_mode": ("auto", "manual"),
    "topn_tags": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),  # counts with tag_kb_ids only
}
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r"}
_DELIMITERS = ("delimiter", "children_delimiter")
_PAGES = "pages"
_PICTURES = "picture_text"
_TABLES = "tables"
_OF_READING = (_PAGES, _PICTURES, _TABLES)
_MOST_RANGES = 100
_EVERY = 100_000  # the last page of the source's range of all pages, or one behind that
KNOWN = (*ChunkSettings.__struct_fields__, *_OF_READING)


def chunk_settings(config: Mapping[str, Any], base: ChunkSettings) -> ChunkSettings:
    """``base`` with what the ``parser_config`` sets. Raises SettingsError for a key or value that cannot be honoured.

    A key that is refused may be there with a value that asks for nothing (0, false, empty), as the source writes it.
    """
    wanted: dict[str, Any] = {}
    for key, value in _flat(config).items():
        if key in _OF_READING:
            continue  # see read_settings
        if key in KNOWN:
            wanted[key] = _unescaped(value) if key in _DELIMITERS else value
        elif key in REFUSED or key in _IDLE:
            if not _asks_nothing(key, value):
                raise SettingsError(f"{key}={value!r} cannot be honoured: {REFUSED.get(key, _LATER)}")
        else:
            raise SettingsError(f"there is no parameter {key!r}; known: {', '.join(KNOWN)}")
    return msgspec.structs.replace(base, **_checked(wanted))


def read_settings(config: Mapping[str, Any], base: ReadSettings) -> ReadSettings:
    """``base`` with what the ``parser_config`` sets of the reading. Raises SettingsError, as ``chunk_settings`` does."""
    plain = {key: config[key] for key in (_PICTURES, _TABLES) if key in config}
    base = msgspec.structs.replace(base, **_checked(plain))
    if _PAGES not in config:
        return base
    try:
        pages = msgspec.convert(config[_PAGES] or [], tuple[tuple[int, int], ...])
    except msgspec.ValidationError:
        pages = ((0, 0),)
    if len(pages) > _MOST_RANGES or not all(1 <= first <= last for first, last in pages):
        raise SettingsError(
            f"pages={config[_PAGES]!r}: it is a list of at most {_MOST_RANGES} ranges of pages like [[1, 3], [7, 7]], from 1"
        )
    every = any(first == 1 and last >= _EVERY for first, last in pages)
    return msgspec.structs.replace(base, pages=() if every else tuple(sorted(pages)))


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The source's groups of parents and children, and of columns, as the one parameter that they come to."""
    flat = dict(config)
    family = flat.pop("parent_child", None)
    if isinstance(family, Mapping):
        used = family.get("use_parent_child", True)
        flat.setdefault("children_delimiter", family.get("children_delimiter", "\n") if used else "")
    if flat.pop("enable_children", True) is False:
        flat["children_delimiter"] = ""
    roles = flat.get("table_column_roles")
    if flat.get("table_column_mode") == "auto":
        flat.pop("table_column_roles", None)
    elif isinstance(roles, Mapping):
        flat["table_column_roles"] = {name: "indexing" if role == "vectorize" else role for name, role in roles.items()}
    return flat


def _asks_nothing(key: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        switch = [item for name, item in value.items() if name.startswith("use_")]
        return not value or (bool(switch) and not any(switch))
    return not value or value in _IDLE.get(key, ())


def _unescaped(value: Any) -> Any:
    """Escapes as they are typed where no line can be broken."""
    if isinstance(value, str):
        for typed, meant in _ESCAPES.items():
            value = value.replace(typed, meant)
    return value


def _checked(wanted: dict[str, Any]) -> dict[str, Any]:
    """The values, of the types and within the bounds of the settings of the same names."""
    try:
        checked = Pipeline.model_validate(wanted)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{name}={first['input']!r}: {first['msg']}") from exc
    return {key: getattr(checked, key) for key in wanted}
